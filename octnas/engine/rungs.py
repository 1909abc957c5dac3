"""Early stopping on two objectives, without waiting for anybody. Pure logic; nothing here trains.

A trial that reaches a rung is ranked among all that reached it so far, by non-dominated rank of (score, cost)
and within a rank by crowding distance (Deb et al. 2002, NSGA-II). The best n // eta of n go on, at least one.
Yardsticks are ranked too, but take nobody's place: n counts candidates, and the best are the best candidates.
The rungs are at min_epochs, min_epochs * eta, min_epochs * eta^2, ... below the length of a training
(successive halving, Li et al. 2020, with Pareto ranks in place of the score).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from octnas.record import TrialRecord

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


def _dominates(a: Point, b: Point) -> bool:
    return a[0] >= b[0] and a[1] <= b[1] and a != b


def pareto_ranks(points: Sequence[Point]) -> list[int]:
    """Rank 0 for the points that none dominates, 1 for those left when rank 0 is taken away, and so on."""
    ranks = [-1] * len(points)
    left = set(range(len(points)))
    rank = 0
    while left:
        front = [i for i in left if not any(_dominates(points[j], points[i]) for j in left)]
        for i in front:
            ranks[i] = rank
        left.difference_update(front)
        rank += 1
    return ranks


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
        levels: the rungs, in epochs, ascending; empty: nobody is stopped.
        eta: one trial in `eta` goes on.
        rank_by: "accuracy" or "loss".
    """

    def __init__(self, levels: Sequence[int], *, eta: int, rank_by: str = "accuracy") -> None:
        self.levels = tuple(levels)
        self.eta = eta
        self.rank_by = rank_by
        self._reached: dict[int, dict[str, Point]] = {level: {} for level in self.levels}
        self._passed: dict[int, set[str]] = {level: set() for level in self.levels}
        self._yardsticks: set[str] = set()

    def decide(self, trial_id: str, level: int, point: Point) -> bool:
        """Enters a trial at a rung; says whether it goes on, which one that went on before does."""
        if not math.isfinite(point[0]):
            raise ValueError(f"a score at a rung must be finite, but trial {trial_id} has {point[0]}")
        reached = self._reached[level]
        if trial_id in self._passed[level]:
            return True
        reached[trial_id] = point
        ids = list(reached)
        ranked = [ids[i] for i in best_first(list(reached.values())) if ids[i] not in self._yardsticks]
        goes_on = trial_id in ranked[: max(1, len(ranked) // self.eta)]
        if goes_on:
            self._passed[level].add(trial_id)
        return goes_on

    def enter(self, trial_id: str, level: int, point: Point) -> None:
        """Enters a yardstick, which is never stopped: candidates are ranked beside it."""
        self._reached[level][trial_id] = point
        self._yardsticks.add(trial_id)

    def replay(self, records: Iterable[TrialRecord]) -> None:
        """Takes up what a journal holds: every score at a rung, and who was seen beyond it."""
        for record in records:
            if not record.within_budget:
                continue
            for score in record.scores:
                if score.epoch in self._reached:
                    point = (score_of(score.accuracy, score.loss, self.rank_by), record.gflops)
                    if record.yardstick is not None:
                        self.enter(record.id, score.epoch, point)
                        continue
                    self._reached[score.epoch][record.id] = point
                    if record.epochs > score.epoch:
                        self._passed[score.epoch].add(record.id)

    def scores(self, level: int) -> dict[str, Point]:
        """Who reached a rung, with what; in order of arrival."""
        return dict(self._reached[level])
