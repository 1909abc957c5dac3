"""How busy the workers of a search are."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from octnas.engine.limits import Clock
from octnas.record import EpochScore

__all__ = ["RECENT_SECONDS", "Busy"]

RECENT_SECONDS = 60.0
"""What is recent, at least; where epochs take longer, `EPOCHS` of the longest."""
EPOCHS = 3
_SAMPLES = 12
"""Of what is recent, so that a question costs the same at any number of scores."""


class _Sample(NamedTuple):
    """What was known at one moment, in seconds."""

    at: float
    offered: float
    trained: float


class Busy:
    """The share of the workers' time that is in training steps, between the first start and the last end, and
    recently; the images that they train a second."""

    def __init__(self, clock: Clock, workers: int) -> None:
        self._workers = workers
        self._clock = clock
        self._train_seconds = 0.0
        self._phase: tuple[float, float] | None = None
        self._counted = 0.0
        self._offered = 0.0
        self._offered_at_end = 0.0
        self._longest = 0.0
        self._samples: deque[_Sample] = deque()
        self._rates: dict[str, float] = {}
        self._freed: list[float] = []
        """Rates of trainings that ended, for those that begin in their place."""
        self._rate = 0.0

    @property
    def workers(self) -> int:
        """How many there are; of a cluster the number changes."""
        return self._workers

    @workers.setter
    def workers(self, count: int) -> None:
        if count != self._workers:
            self._count()
            self._workers = count

    @property
    def images_per_second(self) -> float:
        """Of all trainings under way together, each as its last score tells; before its first as the training
        in whose place it began."""
        return self._rate

    def started(self, job_id: str) -> None:
        """A training was started."""
        self._rates[job_id] = self._freed.pop() if self._freed else 0.0
        self._rate += self._rates[job_id]
        if self._phase is None:
            self._counted = self._clock()
            self._phase = (self._counted, self._counted)
            self._samples.append(_Sample(self._counted, 0.0, 0.0))

    def scored(self, job_id: str, score: EpochScore) -> None:
        """An epoch of a training is over."""
        self._train_seconds += score.train_seconds
        self._longest = max(self._longest, score.seconds)
        self._rate += score.images_per_second - self._rates.get(job_id, 0.0)
        self._rates[job_id] = score.images_per_second

    def ended(self, job_id: str) -> None:
        """A training left its worker."""
        if job_id in self._rates:
            self._freed.append(self._rates.pop(job_id))
            self._rate -= self._freed[-1]
        if not self._rates:
            self._rate = 0.0  # and not what was rounded off so far
        if self._phase is not None:
            self._phase = (self._phase[0], self._count())
            self._offered_at_end = self._offered

    def recent_share(self) -> float | None:
        """The share of the last `RECENT_SECONDS` or more; None before the first score.

        An epoch counts when its score comes, so the share of few workers with long epochs moves in steps.
        """
        if not self._train_seconds or self._phase is None:
            return None
        now, samples = self._count(), self._samples
        recent = max(RECENT_SECONDS, EPOCHS * self._longest)
        while len(samples) > 1 and samples[1].at <= now - recent:
            samples.popleft()
        offered = self._offered - samples[0].offered
        trained = self._train_seconds - samples[0].trained
        if now - samples[-1].at >= recent / _SAMPLES:
            samples.append(_Sample(now, self._offered, self._train_seconds))
        return min(1.0, trained / offered) if offered > 0 else None

    def statistics(self) -> Mapping[str, Any]:
        """Seconds in training steps and of the trial phase, workers and their busy share (None: no time)."""
        begin, end = self._phase or (0.0, 0.0)
        whole = self._offered_at_end
        return {
            "train_seconds": round(self._train_seconds, 3),
            "phase_seconds": round(end - begin, 3),
            "workers": self.workers,
            "busy_share": round(self._train_seconds / whole, 4) if whole > 0 else None,
        }

    def _count(self) -> float:
        """Adds the workers' time since the last count; the time now."""
        now = self._clock()
        if self._phase is not None:
            self._offered += self._workers * (now - self._counted)
            self._counted = now
        return now
