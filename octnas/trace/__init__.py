"""A user's own network: read by torch.fx, taken apart into a layer table, and plugged into octnas."""

from __future__ import annotations

from octnas.trace.plug import check_cost, convert, stays_plain
from octnas.trace.symbolic import plain

__all__ = ["check_cost", "convert", "plain", "stays_plain"]
