"""The colours that both pictures are drawn in."""

from __future__ import annotations

__all__ = ["GRID", "INK", "MUTED", "OVER", "SLOWER_COLOUR"]

INK = "#1f2933"
MUTED = "#6b7785"
GRID = "#e4e8ec"
OVER = "#f4f5f7"
"""Behind what is over the budget."""
SLOWER_COLOUR = "#b00020"
