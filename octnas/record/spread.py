"""How the accuracy of one architecture varies over its confirming seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from octnas.record.trial import TrialRecord

__all__ = ["Spread", "on_test", "on_validation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Mean and sample standard deviation (divided by n - 1) of accuracies, 0 to 1; one seed has no `sd`."""

    mean: float
    sd: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one value or more."""
        sd = statistics.stdev(values) if len(values) > 1 else None
        return cls(mean=statistics.fmean(values), sd=sd, count=len(values))


def on_validation(record: TrialRecord) -> Spread | None:
    """The spread on validation images; None where the trial was not confirmed.

    Accuracies without their seeds, as an old journal may have them, confirm nothing.
    """
    if not record.confirm_seeds or len(record.accuracy_seeds) != len(record.confirm_seeds):
        return None
    return Spread.of(record.accuracy_seeds)


def on_test(record: TrialRecord) -> Spread | None:
    """The spread on test images; None where the trial was not confirmed or its data has none."""
    if not record.confirm_seeds or len(record.test_accuracy_seeds) != len(record.confirm_seeds):
        return None
    return Spread.of(record.test_accuracy_seeds)
