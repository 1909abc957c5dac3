"""Letters and axes of the interactive pictures."""

from __future__ import annotations

from octnas.front.palette import GRID, INK, MUTED

__all__ = ["AXIS", "FONT"]

FONT = {"family": "system-ui, sans-serif", "size": 13, "color": INK}
AXIS = {"gridcolor": GRID, "zeroline": False, "linecolor": MUTED, "ticks": "outside"}
