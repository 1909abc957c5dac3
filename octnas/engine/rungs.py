"""Early stopping on two objectives, without waiting for anybody. Pure logic; nothing here trains.

A trial that reaches a rung is ranked among all that reached it so far, by non-dominated rank of (score, cost)
and within a rank by crowding distance (Deb et al. 2002, NSGA-II). Of n candidates at a rung at most n // eta
ever go on: one that is among the best n // eta while a place is free is promoted, at once or when a later
arrival makes room for it; until then it is paused (asynchronous successive halving, Li et al. 2020, with
Pareto ranks in place of the score). Most of a noisy sample is non-dominated and crowding shifts with each
arrival, so without the limit nearly everybody would be promoted once.

Candidates that shared scores have chosen already are few and meant to be on the front: of these whoever is
non-dominated at a rung goes on as well (`front_goes_on`).

Where more than `WINDOW` trials reached a rung, the `WINDOW` latest of them are ranked, and the best of these
go on while n // eta leaves a place: a ranking takes the same time at any n. A candidate that is paused when
as many came after it is left behind.

Yardsticks are ranked too, but take nobody's place: n counts candidates, and the best are the best candidates.
The rungs are at min_epochs, min_epochs * eta, min_epochs * eta^2, ... below the length of a training.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from octnas.record import EpochScore, Objective, TrialRecord, TrialState

__all__ = ["Point", "Rungs", "best_first", "crowding", "pareto_ranks", "rung_levels", "score_of"]

Point = tuple[float, float]
"""(score, cost): the score is maximised, the cost minimised."""

WINDOW = 1000
"""Trials of a rung that are compared: of 1,000 drawn at random the best half is told to within 3 %."""


def rung_levels(*, min_epochs: int, eta: int, max_epochs: int) -> tuple[int, ...]:
    """The epochs after which a trial is compared: min_epochs * eta^k below `max_epochs`."""
    levels = []
    level = min_epochs
    while level < max_epochs:
        levels.append(level)
        level *= eta
    return tuple(levels)


def score_of(accuracy: float, loss: float, rank_by: str) -> float:
    """What is maximised: accuracy, or minus the loss."""
    return accuracy if rank_by == "accuracy" else -loss


def pareto_ranks(points: Sequence[Point]) -> list[int]:
    """Rank 0 for the points that none dominates, 1 for those left when rank 0 is taken away, and so on.

    Two objectives need one sort (Jensen 2003): in order of cost, a point's rank is the number of ranks whose
    best score so far is no lower than its own. O(n log n).
    """
    ranks: dict[Point, int] = {}
    lowest: list[float] = []  # minus the best score of each rank, which ascends from rank to rank
    for score, cost in sorted(set(points), key=lambda point: (point[1], -point[0])):
        rank = bisect.bisect_right(lowest, -score)
        lowest[rank : rank + 1] = [-score]
        ranks[score, cost] = rank
    return [ranks[point] for point in points]


def crowding(points: Sequence[Point]) -> list[float]:
    """Crowding distance of each point of one front; the ends of the front are infinitely far from all."""
    distance = [0.0] * len(points)
    for axis in (0, 1):
        order = sorted(range(len(points)), key=lambda i: points[i][axis])
        low, high = points[order[0]][axis], points[order[-1]][axis]
        distance[order[0]] = distance[order[-1]] = math.inf
        if high > low:
            for before, i, after in zip(order, order[1:], order[2:], strict=False):
                distance[i] += (points[after][axis] - points[before][axis]) / (high - low)
    return distance


def best_first(points: Sequence[Point], ranks: Sequence[int] | None = None) -> list[int]:
    """Indices of the points: lower rank first, within a rank the less crowded first, then as they came.

    Args:
        ranks: the points' `pareto_ranks`, where they are known.
    """
    ranks = pareto_ranks(points) if ranks is None else ranks
    keys: list[tuple[int, float, int]] = [(0, 0.0, 0)] * len(points)
    fronts: dict[int, list[int]] = {}
    for i, rank in enumerate(ranks):
        fronts.setdefault(rank, []).append(i)
    for rank, members in fronts.items():
        for i, far in zip(members, crowding([points[i] for i in members]), strict=True):
            keys[i] = (rank, -far, i)
    return sorted(range(len(points)), key=keys.__getitem__)


class _Rung:
    """Who reached one rung.

    Args:
        window: trials that are compared, the latest.
    """

    def __init__(self, window: int) -> None:
        self.reached: dict[str, Point] = {}
        self.passed: set[str] = set()
        self.candidates = 0
        """Of `reached`, without yardsticks."""
        self._compared: deque[str] = deque()
        self._window = window
        self._best: list[tuple[str, int]] | None = None

    def enter(self, trial_id: str, point: Point, *, yardstick: bool) -> str | None:
        """Enters a trial, or its new point; the one that is not compared any more, if there is one."""
        known = trial_id in self.reached
        if known and self.reached[trial_id] == point:
            return None
        self.reached[trial_id] = point
        self._best = None
        if known:
            return None
        self.candidates += not yardstick
        self._compared.append(trial_id)
        return self._compared.popleft() if len(self._compared) > self._window else None

    def best(self, yardsticks: Collection[str]) -> list[tuple[str, int]]:
        """The candidates that are compared and their non-dominated ranks, the best first."""
        if self._best is None:
            ids = list(self._compared)
            points = [self.reached[each] for each in ids]
            ranks = pareto_ranks(points)
            order = best_first(points, ranks)
            self._best = [(ids[i], ranks[i]) for i in order if ids[i] not in yardsticks]
        return self._best


class Rungs:
    """Who goes on past a rung.

    Args:
        levels: the rungs, in epochs, ascending; empty: nobody is paused.
        eta: one trial in `eta` goes on.
        rank_by: "accuracy" or "loss".
        objective: the cost in a point.
        front_goes_on: whether a candidate that none at its rung dominates goes on, however many do.
        window: trials of a rung that are compared, the latest.
    """

    def __init__(
        self,
        levels: Sequence[int],
        *,
        eta: int,
        rank_by: str = "accuracy",
        objective: Objective = "gflops",
        front_goes_on: bool = False,
        window: int = WINDOW,
    ) -> None:
        self.levels = tuple(levels)
        self.eta = eta
        self.rank_by = rank_by
        self._objective: Objective = objective
        self._front_goes_on = front_goes_on
        self._rungs = {level: _Rung(window) for level in self.levels}
        self._yardsticks: set[str] = set()
        self._behind: list[str] = []

    def goes_on(self, record: TrialRecord, score: EpochScore) -> bool:
        """Whether a trial goes on at once after a score, which is entered where there is a rung."""
        if score.epoch not in self._rungs or not record.within_budget:
            return True
        point = self.point(record, score)
        if record.yardstick is not None:
            self.enter(record.id, score.epoch, point)
            return True
        return self.decide(record.id, score.epoch, point)

    def decide(self, trial_id: str, level: int, point: Point) -> bool:
        """Enters a trial at a rung; says whether it is promoted at once, which one promoted before is."""
        if not math.isfinite(point[0]):
            raise ValueError(f"a score at a rung must be finite, but trial {trial_id} has {point[0]}")
        if trial_id in self._rungs[level].passed:
            return True
        self._enter(trial_id, level, point)
        promoted = trial_id in self._promotable(level)
        if promoted:
            self._rungs[level].passed.add(trial_id)
        return promoted

    def enter(self, trial_id: str, level: int, point: Point) -> None:
        """Enters a yardstick, which is never paused: candidates are ranked beside it."""
        self._yardsticks.add(trial_id)
        self._enter(trial_id, level, point)

    def left_behind(self) -> list[str]:
        """Candidates that did not go on and are compared no more; each is told of once."""
        found, self._behind = self._behind, []
        return found

    def promote(self, paused: Collection[str], *, at_least: int = 0) -> str | None:
        """The paused trial that may go on now, the highest rung first; it is promoted. None: nobody may.

        Args:
            at_least: places that every rung has, for when no candidate will come any more: 1 lets the best
                one of a rung go on which fewer than eta candidates reached.
        """
        for level in reversed(self.levels):
            for trial_id in self._promotable(level, at_least=at_least):
                if trial_id in paused:
                    self._rungs[level].passed.add(trial_id)
                    return trial_id
        return None

    def replay(self, history: Iterable[TrialRecord]) -> None:
        """Takes up what a journal holds: each trial as it stood after each line about it, in their order."""
        for record in history:
            if not record.within_budget:
                continue
            for score in record.scores:
                if score.epoch not in self._rungs:
                    continue
                if record.yardstick is not None:
                    self._yardsticks.add(record.id)
                rung = self._rungs[score.epoch]
                if record.id not in rung.reached:
                    self._enter(record.id, score.epoch, self.point(record, score))
                if record.yardstick is None and (
                    record.epochs > score.epoch or record.state is TrialState.RUNNING
                ):
                    rung.passed.add(record.id)

    def point(self, record: TrialRecord, score: EpochScore) -> Point:
        """What a trial is ranked by with a score, its cost the objective's."""
        return score_of(score.accuracy, score.loss, self.rank_by), record.cost(self._objective)

    def scores(self, level: int) -> dict[str, Point]:
        """Who reached a rung, with what; in order of arrival."""
        return dict(self._rungs[level].reached)

    def promoted(self, level: int) -> frozenset[str]:
        """Candidates that went on past a rung."""
        return frozenset(self._rungs[level].passed)

    def _enter(self, trial_id: str, level: int, point: Point) -> None:
        rung = self._rungs[level]
        behind = rung.enter(trial_id, point, yardstick=trial_id in self._yardsticks)
        if behind is not None and behind not in rung.passed and behind not in self._yardsticks:
            self._behind.append(behind)

    def _promotable(self, level: int, *, at_least: int = 0) -> list[str]:
        """Candidates that may go on past a rung and have not yet, the best first; none where it is full."""
        rung = self._rungs[level]
        free = max(at_least, rung.candidates // self.eta) > len(rung.passed)
        if not free and not self._front_goes_on:
            return []
        best = rung.best(self._yardsticks)
        places = max(at_least, len(best) // self.eta) if free else 0
        return [
            each
            for i, (each, rank) in enumerate(best)
            if (i < places or (self._front_goes_on and rank == 0)) and each not in rung.passed
        ]
