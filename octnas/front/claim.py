"""The one comparison that may be called a win: candidate against yardstick, over seeds, on test images.

A search picks the most accurate of many single-seed trainings, so the accuracy that it picked by flatters the
winner. Both sides of the comparison are therefore chosen by the search's accuracies and judged by others: the
same fresh seeds for both, and images that chose nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from octnas.front import pareto
from octnas.front.axis import Axis, samples
from octnas.front.describe import is_uniform
from octnas.record import Objective, TrialRecord, TrialState
from octnas.record.spread import on_test, on_validation

if TYPE_CHECKING:
    from octnas.front.result import SearchResult

__all__ = ["CONFIDENCE", "Claim", "Outcome", "choose_to_confirm", "claim", "paired_interval"]

Outcome = Literal["beats", "does not beat", "cannot be told apart"]

CONFIDENCE = 0.95
_FEWEST = 3
"""Paired seeds that an interval needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The candidate against the best uniform yardstick, at its cost or below, over the seeds of both.

    The cost is that of the search's objective; `axis` says which, and for which device.
    `candidate_accuracies` and `yardstick_accuracies` (0 to 1, in the order of `seeds`) are of test images, or
    of validation images where the data has no test images: `images` says which; `samples` says whether they
    are still images or clips. `difference` and `interval` are in percentage points, candidate less yardstick.
    The interval is about the seeds of training; that the images are a sample too is not in it. None: fewer
    than three seeds are there for both.
    """

    candidate: TrialRecord
    yardstick: TrialRecord
    images: Literal["test", "validation"]
    seeds: tuple[int, ...]
    candidate_accuracies: tuple[float, ...]
    yardstick_accuracies: tuple[float, ...]
    difference: float
    interval: tuple[float, float] | None
    axis: Axis
    samples: Literal["images", "clips"] = "images"

    @property
    def outcome(self) -> Outcome:
        """ "beats" where the interval lies above 0, "does not beat" where it lies below, else neither."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return "cannot be told apart"
        return "beats" if self.interval[0] > 0 else "does not beat"

    def to_dict(self) -> dict[str, Any]:
        """JSON values: what `search --json` and `front --json` print as "claim"."""
        return {
            "outcome": self.outcome,
            "images": self.images,
            "seeds": list(self.seeds),
            "difference_points": self.difference,
            "interval_points": None if self.interval is None else list(self.interval),
            "confidence": CONFIDENCE,
            "candidate": _side(self.candidate, self.candidate_accuracies),
            "yardstick": _side(self.yardstick, self.yardstick_accuracies),
        }


def _side(record: TrialRecord, accuracies: Sequence[float]) -> dict[str, Any]:
    return {
        "id": record.id,
        "yardstick": record.yardstick,
        "backbone": record.architecture.backbone,
        "gflops": record.gflops,
        "latency_ms": record.latency_ms,
        "accuracies": list(accuracies),
        "mean_accuracy": statistics.fmean(accuracies),
    }


def choose_to_confirm(
    records: Iterable[TrialRecord], limit: float, objective: Objective = "gflops"
) -> tuple[str, ...]:
    """Ids of the trials worth further seeds, at most three; none where there is no complete candidate.

    The best uniform yardstick within the budget, the best candidate at its cost or below, and the best
    candidate of the front where it is another one; the best is the most accurate, ties to the cheaper, then
    to the one that started first. Only states, costs and the search's own accuracies are looked at, so the
    answer stays the same while accuracies of further seeds come in.

    Args:
        records: all trials of a search.
        limit: largest cost: the budget, or the largest of the space.
        objective: which cost.
    """
    records = list(records)
    yardstick, candidate = _sides(records, limit, objective)
    top = pareto.best(records, limit, objective)
    if candidate is None and top is None:
        return ()
    chosen = (yardstick, candidate, top)
    return tuple(dict.fromkeys(each.id for each in chosen if each is not None))


def claim(result: SearchResult) -> Claim | None:
    """What the confirming seeds say of the search's candidate and the best uniform yardstick.

    None where the two of `choose_to_confirm` have no seed in common: nothing was confirmed, or there is no
    such pair.
    """
    yardstick, candidate = _sides(result.records, result.limit, result.objective)
    if yardstick is None or candidate is None:
        return None
    sides = (candidate, yardstick)
    if any(on_validation(each) is None for each in sides):
        return None
    tested = all(on_test(each) is not None for each in sides)
    ours, theirs = (
        dict(
            zip(each.confirm_seeds, each.test_accuracy_seeds if tested else each.accuracy_seeds, strict=True)
        )
        for each in sides
    )
    seeds = tuple(seed for seed in ours if seed in theirs)
    if not seeds:
        return None
    differences = [100 * (ours[seed] - theirs[seed]) for seed in seeds]
    return Claim(
        candidate=candidate,
        yardstick=yardstick,
        images="test" if tested else "validation",
        seeds=seeds,
        candidate_accuracies=tuple(ours[seed] for seed in seeds),
        yardstick_accuracies=tuple(theirs[seed] for seed in seeds),
        difference=statistics.fmean(differences),
        interval=paired_interval(differences) if len(seeds) >= _FEWEST else None,
        axis=result.axis,
        samples=samples(result.header),
    )


def paired_interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of Student's paired t test for the mean of two or more differences.

    mean -+ t(confidence, n - 1) s / sqrt(n), with s the sample standard deviation of the differences:
    Student, The Probable Error of a Mean, Biometrika 6 (1908).
    """
    from scipy.stats import t  # takes most of a second to import

    mean = statistics.fmean(differences)
    count = len(differences)
    quantile = float(t.ppf((1 + confidence) / 2, count - 1))
    half = quantile * statistics.stdev(differences) / math.sqrt(count)
    return mean - half, mean + half


def _sides(
    records: Sequence[TrialRecord], limit: float, objective: Objective
) -> tuple[TrialRecord | None, TrialRecord | None]:
    """The best uniform yardstick within the budgets, and the best candidate that costs no more."""
    done = [
        each
        for each in records
        if each.state is TrialState.COMPLETE and each.within_budget and each.cost(objective) <= limit
    ]
    yardstick = _best((each for each in done if is_uniform(each)), objective)
    if yardstick is None:
        return None, None
    most = yardstick.cost(objective)
    equal = (each for each in done if each.yardstick is None and each.cost(objective) <= most)
    return yardstick, _best(equal, objective)


def _best(records: Iterable[TrialRecord], objective: Objective) -> TrialRecord | None:
    """The most accurate, ties to the cheaper, then to the first."""
    return max(records, key=lambda each: (each.accuracy or 0.0, -each.cost(objective)), default=None)
