"""The Pareto front of accuracy (higher is better) against cost (lower is better), and its hypervolume.

Only complete trials within every budget take part, yardsticks among them. Cost is by the search's objective:
GFLOPs (10^9 multiply-adds) of the target network, or ms of its predicted latency. Accuracies are shares of
validation images.
"""

from __future__ import annotations

from collections.abc import Iterable

from octnas.record import Objective, TrialRecord, TrialState

__all__ = ["best", "hypervolume", "pareto_front", "takes_part"]


def pareto_front(
    records: Iterable[TrialRecord], limit: float, objective: Objective = "gflops"
) -> list[TrialRecord]:
    """The trials that no other beats in one of accuracy and cost without losing in the other.

    Sorted by cost. Trials with equal accuracy and equal cost do not beat each other: all of them stay. One
    sort and one pass: O(n log n).

    Args:
        records: trials in any state; those that are not complete or not within the budgets are left out.
        limit: largest cost on the front: the budget, or the largest of the space.
        objective: which cost.
    """
    taking_part = [record for record in records if takes_part(record, limit, objective)]
    front: list[TrialRecord] = []
    highest = float("-inf")
    for record in sorted(taking_part, key=lambda each: (each.cost(objective), -_accuracy(each))):
        accuracy = _accuracy(record)
        equal = accuracy == highest and record.cost(objective) == front[-1].cost(objective)
        if accuracy > highest or equal:
            highest = accuracy
            front.append(record)
    return front


def hypervolume(records: Iterable[TrialRecord], limit: float, objective: Objective = "gflops") -> float:
    """The share (0 to 1) of the rectangle below the cost `limit` and accuracy 1 that the front dominates.

    The reference point is (limit, 0) and the volume is divided by the limit, so runs with different budgets
    can be compared. Computed by moocore.
    """
    front = pareto_front(records, limit, objective)
    if not front:
        return 0.0
    import moocore
    import numpy as np

    points = np.array([[record.cost(objective), _accuracy(record)] for record in front], dtype=np.float64)
    volume = moocore.hypervolume(points, ref=[limit, 0.0], maximise=[False, True])
    return float(volume) / limit


def best(records: Iterable[TrialRecord], limit: float, objective: Objective = "gflops") -> TrialRecord | None:
    """The most accurate member of the front that is no yardstick, ties to the cheaper; None without one."""
    front = pareto_front(records, limit, objective)
    candidates = [record for record in front if record.yardstick is None]
    return max(candidates, key=lambda each: (_accuracy(each), -each.cost(objective)), default=None)


def takes_part(record: TrialRecord, limit: float, objective: Objective) -> bool:
    """Whether a trial may be on the front: it is complete and within every budget."""
    done = record.state is TrialState.COMPLETE and record.within_budget
    return done and record.cost(objective) <= limit


def _accuracy(record: TrialRecord) -> float:
    """A complete trial has an accuracy: `TrialRecord` sees to it."""
    assert record.accuracy is not None
    return record.accuracy
