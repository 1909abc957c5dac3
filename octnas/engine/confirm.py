"""Which trials are trained again, with which seeds, before a search claims that one beats the other.

The most accurate of many noisy trials is the luckiest as much as the best. The candidate that would be
called the winner and the yardstick next to it (`octnas.front.choose_to_confirm`) are trained again with seeds
that had no part in choosing them, the same ones for both, and scored on test images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from octnas.front import choose_to_confirm
from octnas.record import Objective, TrialRecord

__all__ = ["DEFAULT_CONFIRM", "MAX_CONFIRM", "Confirmation", "Confirming", "confirming_seeds"]

DEFAULT_CONFIRM = 3
"""Seeds: the fewest that give an interval worth the name."""
MAX_CONFIRM = 8
MOST = 3
"""Trials that `choose_to_confirm` may choose."""
_FIRST = 1000
"""Between the search's seed and the first confirming one, so that neighbouring searches share none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """One more training of a trial's architecture."""

    trial_id: str
    seed: int

    @property
    def job_id(self) -> str:
        """Of its `TrialJob`."""
        return f"{self.trial_id}.seed{self.seed}"

    @property
    def names(self) -> dict[str, Any]:
        """By which the journal tells it from others."""
        return {"id": self.trial_id, "seed": self.seed}


def confirming_seeds(seed: int, count: int) -> tuple[int, ...]:
    """The seeds with which a search of `seed` confirms."""
    return tuple((seed + _FIRST + number) % 2**63 for number in range(count))


class Confirming:
    """What is left to confirm, and what is under way.

    Args:
        limit: the most that a trial costs by the objective: GFLOPs or ms.
        objective: of the search.
        seeds: with which the chosen trials are trained again; none: nothing is confirmed.
    """

    def __init__(self, *, limit: float, seeds: Sequence[int], objective: Objective = "gflops") -> None:
        self._limit = limit
        self._objective: Objective = objective
        self._seeds = tuple(seeds)
        self._running: dict[str, Confirmation] = {}
        self._failed: set[str] = set()

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the jobs under way."""
        return tuple(self._running)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._running

    def __getitem__(self, job_id: str) -> Confirmation:
        return self._running[job_id]

    def left(self, records: Sequence[TrialRecord]) -> list[Confirmation]:
        """What may be started, once all trials are final: seed by seed, so that an early end leaves pairs."""
        if not self._seeds or not all(record.state.final for record in records):
            return []
        chosen = set(choose_to_confirm(records, self._limit, self._objective))
        every = [
            Confirmation(trial_id=record.id, seed=seed)
            for seed in self._seeds
            for record in records
            if record.id in chosen and seed not in record.confirm_seeds
        ]
        return [
            each for each in every if each.job_id not in self._running and each.job_id not in self._failed
        ]

    def start(self, confirmation: Confirmation) -> None:
        """It is under way."""
        self._running[confirmation.job_id] = confirmation

    def end(self, job_id: str, *, failed: bool = False) -> Confirmation:
        """It is over; one that failed is not tried again in this life of the search."""
        if failed:
            self._failed.add(job_id)
        return self._running.pop(job_id)

    def seconds(self, mean: float | None, workers: int) -> float:
        """Estimate of the time that confirming will take: the chosen trials are at most `MOST`.

        Args:
            mean: seconds of a complete trial; None while there is none.
        """
        rounds = -(-MOST * len(self._seeds) // max(1, workers))
        return 0.0 if mean is None else rounds * mean
