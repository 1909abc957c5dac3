"""The order of a map's channels as its two branches have them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["branch_order"]


def branch_order(parts: Iterable[tuple[int, int, int]]) -> tuple[int, ...] | None:
    """The dense channels of a map in the order of its branches: high ones first, then low ones.

    Args:
        parts: for each segment its channels, how many of them are low, and the groups of its layout.

    Returns:
        A permutation of all channels, or None where that is their own order.
    """
    segments = tuple(parts)
    if len(segments) == 1 and segments[0][2] == 1:
        return None
    high: list[int] = []
    low: list[int] = []
    start = 0
    for channels, lows, groups in segments:
        wide = channels // groups
        cut = wide - lows // groups
        for first in range(start, start + channels, wide):
            high += range(first, first + cut)
            low += range(first + cut, first + wide)
        start += channels
    order = (*high, *low)
    return None if order == tuple(range(start)) else order
