"""The Pareto front of accuracy (higher is better) against GFLOPs (lower is better), and its hypervolume.

Only complete trials within the budget take part, yardsticks among them. GFLOPs are 10^9 multiply-adds of the
target network, accuracies are shares of validation images.
"""

from __future__ import annotations

from collections.abc import Iterable

from octnas.record import TrialRecord, TrialState

__all__ = ["best", "hypervolume", "pareto_front"]


def pareto_front(records: Iterable[TrialRecord], budget: float) -> list[TrialRecord]:
    """The trials that no other beats in one of accuracy and cost without losing in the other.

    Sorted by GFLOPs. Trials with equal accuracy and equal cost do not beat each other: all of them stay. One
    sort and one pass: O(n log n).

    Args:
        records: trials in any state; those that are not complete or not within the budget are left out.
        budget: largest GFLOPs on the front.
    """
    taking_part = [record for record in records if _takes_part(record, budget)]
    front: list[TrialRecord] = []
    highest = float("-inf")
    for record in sorted(taking_part, key=lambda each: (each.gflops, -_accuracy(each))):
        accuracy = _accuracy(record)
        if accuracy > highest or (accuracy == highest and record.gflops == front[-1].gflops):
            highest = accuracy
            front.append(record)
    return front


def hypervolume(records: Iterable[TrialRecord], budget: float) -> float:
    """The share (0 to 1) of the rectangle below `budget` GFLOPs and accuracy 1 that the front dominates.

    The reference point is (budget, 0) and the volume is divided by the budget, so runs with different budgets
    can be compared. Computed by moocore.
    """
    front = pareto_front(records, budget)
    if not front:
        return 0.0
    import moocore
    import numpy as np

    points = np.array([[record.gflops, _accuracy(record)] for record in front], dtype=np.float64)
    volume = moocore.hypervolume(points, ref=[budget, 0.0], maximise=[False, True])
    return float(volume) / budget


def best(records: Iterable[TrialRecord], budget: float) -> TrialRecord | None:
    """The most accurate member of the front that is no yardstick, ties to the cheaper; None without one."""
    candidates = [record for record in pareto_front(records, budget) if record.yardstick is None]
    return max(candidates, key=lambda each: (_accuracy(each), -each.gflops), default=None)


def _takes_part(record: TrialRecord, budget: float) -> bool:
    return record.state is TrialState.COMPLETE and record.within_budget and record.gflops <= budget


def _accuracy(record: TrialRecord) -> float:
    """A complete trial has an accuracy: `TrialRecord` sees to it."""
    assert record.accuracy is not None
    return record.accuracy
