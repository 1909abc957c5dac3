"""The front as it grows: one point added at a time, in O(log n) and what it removes.

Same rules as `octnas.front.pareto`: accuracy is maximised, cost minimised; points that are equal in both do
not beat each other, and all of them stay.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator

__all__ = ["Staircase"]


class Staircase:
    """The points that no other beats in one of accuracy and cost without losing in the other."""

    def __init__(self) -> None:
        # In order of cost, and so of accuracy; each step has the ids of all points that lie there.
        self._costs: list[float] = []
        self._accuracies: list[float] = []
        self._ids: list[list[str]] = []
        self._length = 0

    def add(self, trial_id: str, cost: float, accuracy: float) -> list[str] | None:
        """Adds a point.

        Args:
            trial_id: of a trial that was not added before.
            cost: finite, in any unit.
            accuracy: finite.

        Returns:
            The ids of the points that it beats, which are members no more; None where it is beaten itself
            and is no member.
        """
        at = bisect.bisect_left(self._costs, cost)
        if at and self._accuracies[at - 1] >= accuracy:
            return None
        if at < len(self._costs) and self._costs[at] == cost:
            if self._accuracies[at] > accuracy:
                return None
            if self._accuracies[at] == accuracy:
                self._ids[at].append(trial_id)
                self._length += 1
                return []
        end = bisect.bisect_right(self._accuracies, accuracy, lo=at)
        removed = [each for step in self._ids[at:end] for each in step]
        self._costs[at:end], self._accuracies[at:end], self._ids[at:end] = [cost], [accuracy], [[trial_id]]
        self._length += 1 - len(removed)
        return removed

    def __len__(self) -> int:
        """Members."""
        return self._length

    def __iter__(self) -> Iterator[str]:
        """The members' ids, by cost; equal points as they came."""
        return (each for step in self._ids for each in step)

    def steps(self) -> Iterator[tuple[str, ...]]:
        """The ids of the points at each step, the most accurate (and dearest) first."""
        return (tuple(step) for step in reversed(self._ids))
