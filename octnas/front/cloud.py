"""The shared scores of a picture: a faint cloud behind the trials, on the same axes."""

from __future__ import annotations

from dataclasses import dataclass

from octnas.counted import counted
from octnas.front.result import SearchResult
from octnas.record import SharedScore

__all__ = ["MOST_DRAWN", "Cloud", "cloud_of", "scored_at", "widened"]

CLOUD_SHARE = 1 / 3
"""Of the height and of the width of a picture, the most that is there for shared scores alone."""
MOST_DRAWN = 2000
"""Shared scores that are drawn; of more, each so many-th."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cloud:
    """Shared scores: what architectures reach on shared weights, before any training of their own."""

    scores: tuple[SharedScore, ...]
    """Those that are drawn: within the picture's range, at most `MOST_DRAWN`."""
    costs: tuple[float, ...]
    """Theirs, on the axis."""
    inside: int
    """Scores within the range."""
    outside: int
    ends: tuple[float, float]
    """The lowest and the highest score of all."""

    @property
    def name(self) -> str:
        """What a picture calls them."""
        count = self.inside + self.outside
        if not self.inside:
            spread = " to ".join(f"{100 * each:.1f}" for each in dict.fromkeys(self.ends))
            return f"{counted(count, 'score')} on shared weights: {spread} %, not in this range"
        drawn = f"{len(self.scores):,} of " if len(self.scores) < self.inside else ""
        beyond = f", {self.outside:,} beyond this range" if self.outside else ""
        return f"{drawn}{counted(count, 'score')} on shared weights{beyond}"


def scored_at(result: SearchResult) -> list[tuple[float, SharedScore]]:
    """The shared scores whose cost on the axis is known, with it."""
    scores = () if result.shared is None else result.shared.scores
    costs = (each.gflops if result.objective == "gflops" else each.latency_ms for each in scores)
    return [(cost, each) for cost, each in zip(costs, scores, strict=True) if cost is not None]


def widened(low: float, high: float, values: list[float]) -> tuple[float, float]:
    """A range that shows values beyond it too, as far as it keeps its share of the whole; to a side where
    that would show none it does not grow."""
    room = (high - low) * CLOUD_SHARE / (1 - CLOUD_SHARE)
    margin = 0.02 * (high - low)
    below = max((low - value + margin for value in values if low - room <= value < low), default=0.0)
    above = max((value - high + margin for value in values if high < value <= high + room), default=0.0)
    part = min(1.0, room / (below + above)) if below + above else 0.0
    return max(0.0, low - part * below), high + part * above


def cloud_of(
    scored: list[tuple[float, SharedScore]], costs: tuple[float, float], range_: tuple[float, float]
) -> Cloud | None:
    """The scores of a picture whose axes have these ranges; None without any."""
    inside = [
        (cost, each)
        for cost, each in scored
        if costs[0] <= cost <= costs[1] and range_[0] <= each.accuracy <= range_[1]
    ]
    if not scored:
        return None
    step = -(-len(inside) // MOST_DRAWN) or 1
    return Cloud(
        scores=tuple(each for _, each in inside[::step]),
        costs=tuple(cost for cost, _ in inside[::step]),
        inside=len(inside),
        outside=len(scored) - len(inside),
        ends=(min(each.accuracy for _, each in scored), max(each.accuracy for _, each in scored)),
    )
