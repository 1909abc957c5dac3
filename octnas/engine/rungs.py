"""Early stopping on two objectives, without waiting for anybody. Pure logic; nothing here trains.

A trial that reaches a rung is ranked among all that reached it so far, by non-dominated rank of (score, cost)
and within a rank by crowding distance (Deb et al. 2002, NSGA-II). Of n candidates at a rung at most n // eta
ever go on: one that is among the best n // eta while a place is free is promoted, at once or when a later
arrival makes room for it; until then it is paused (asynchronous successive halving, Li et al. 2020, with
Pareto ranks in place of the score). Most of a noisy sample is non-dominated and crowding shifts with each
arrival, so without the limit nearly everybody would be promoted once.

Candidates that shared scores have chosen already are few and meant to be on the front: of these whoever is
non-dominated at a rung goes on as well (`front_goes_on`).

Yardsticks are ranked too, but take nobody's place: n counts candidates, and the best are the best candidates.
The rungs are at min_epochs, min_epochs * eta, min_epochs * eta^2, ... below the length of a training.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Collection, Iterable, Sequence

from octnas.record import EpochScore, Objective, TrialRecord, TrialState

__all__ = ["Point", "Rungs", "best_first", "crowding", "pareto_ranks", "rung_levels", "score_of"]

Point = tuple[float, float]
"""(score, cost): the score is maximised, the cost minimised."""


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


def best_first(points: Sequence[Point]) -> list[int]:
    """Indices of the points: lower rank first, within a rank the less crowded first, then as they came."""
    ranks = pareto_ranks(points)
    keys: list[tuple[int, float, int]] = [(0, 0.0, 0)] * len(points)
    for rank in set(ranks):
        members = [i for i, own in enumerate(ranks) if own == rank]
        for i, far in zip(members, crowding([points[i] for i in members]), strict=True):
            keys[i] = (rank, -far, i)
    return sorted(range(len(points)), key=keys.__getitem__)


class Rungs:
    """Who goes on past a rung.

    Args:
        levels: the rungs, in epochs, ascending; empty: nobody is paused.
        eta: one trial in `eta` goes on.
        rank_by: "accuracy" or "loss".
        objective: the cost in a point.
        front_goes_on: whether a candidate that none at its rung dominates goes on, however many do.
    """

    def __init__(
        self,
        levels: Sequence[int],
        *,
        eta: int,
        rank_by: str = "accuracy",
        objective: Objective = "gflops",
        front_goes_on: bool = False,
    ) -> None:
        self.levels = tuple(levels)
        self.eta = eta
        self.rank_by = rank_by
        self._objective: Objective = objective
        self._front_goes_on = front_goes_on
        self._reached: dict[int, dict[str, Point]] = {level: {} for level in self.levels}
        self._passed: dict[int, set[str]] = {level: set() for level in self.levels}
        self._yardsticks: set[str] = set()

    def decide(self, trial_id: str, level: int, point: Point) -> bool:
        """Enters a trial at a rung; says whether it is promoted at once, which one promoted before is."""
        if not math.isfinite(point[0]):
            raise ValueError(f"a score at a rung must be finite, but trial {trial_id} has {point[0]}")
        if trial_id in self._passed[level]:
            return True
        self._reached[level][trial_id] = point
        promoted = trial_id in self._promotable(level)
        if promoted:
            self._passed[level].add(trial_id)
        return promoted

    def enter(self, trial_id: str, level: int, point: Point) -> None:
        """Enters a yardstick, which is never paused: candidates are ranked beside it."""
        self._reached[level][trial_id] = point
        self._yardsticks.add(trial_id)

    def promote(self, paused: Collection[str], *, at_least: int = 0) -> str | None:
        """The paused trial that may go on now, the highest rung first; it is promoted. None: nobody may.

        Args:
            at_least: places that every rung has, for when no candidate will come any more: 1 lets the best
                one of a rung go on which fewer than eta candidates reached.
        """
        for level in reversed(self.levels):
            for trial_id in self._promotable(level, at_least=at_least):
                if trial_id in paused:
                    self._passed[level].add(trial_id)
                    return trial_id
        return None

    def replay(self, history: Iterable[TrialRecord]) -> None:
        """Takes up what a journal holds: each trial as it stood after each line about it, in their order."""
        for record in history:
            if not record.within_budget:
                continue
            for score in record.scores:
                if score.epoch not in self._reached:
                    continue
                if record.id not in self._reached[score.epoch]:
                    self._reached[score.epoch][record.id] = self.point(record, score)
                if record.yardstick is not None:
                    self._yardsticks.add(record.id)
                elif record.epochs > score.epoch or record.state is TrialState.RUNNING:
                    self._passed[score.epoch].add(record.id)

    def point(self, record: TrialRecord, score: EpochScore) -> Point:
        """What a trial is ranked by with a score, its cost the objective's."""
        return score_of(score.accuracy, score.loss, self.rank_by), record.cost(self._objective)

    def scores(self, level: int) -> dict[str, Point]:
        """Who reached a rung, with what; in order of arrival."""
        return dict(self._reached[level])

    def promoted(self, level: int) -> frozenset[str]:
        """Candidates that went on past a rung."""
        return frozenset(self._passed[level])

    def _promotable(self, level: int, *, at_least: int = 0) -> list[str]:
        """Candidates that may go on past a rung and have not yet, the best first; none where it is full."""
        reached, passed = self._reached[level], self._passed[level]
        places = max(at_least, sum(each not in self._yardsticks for each in reached) // self.eta)
        places = 0 if len(passed) >= places else places
        if not places and not self._front_goes_on:
            return []
        ids, points = list(reached), list(reached.values())
        ranks = dict(zip(ids, pareto_ranks(points), strict=True)) if self._front_goes_on else {}
        ranked = [ids[i] for i in best_first(points) if ids[i] not in self._yardsticks]
        best = [each for i, each in enumerate(ranked) if i < places or ranks.get(each) == 0]
        return [each for each in best if each not in passed]
