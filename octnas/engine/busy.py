"""How busy the workers of a search are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from octnas.engine.limits import Clock

__all__ = ["Busy"]


class Busy:
    """The share of the workers' time, between the first start and the last end, that is in training steps."""

    def __init__(self, clock: Clock, workers: int) -> None:
        self._workers = workers
        self._clock = clock
        self._train_seconds = 0.0
        self._phase: tuple[float, float] | None = None
        self._counted = 0.0
        self._offered = 0.0
        self._offered_at_end = 0.0

    @property
    def workers(self) -> int:
        """How many there are; of a cluster the number changes."""
        return self._workers

    @workers.setter
    def workers(self, count: int) -> None:
        if count != self._workers:
            self._count()
            self._workers = count

    def started(self) -> None:
        """A training was started."""
        if self._phase is None:
            self._counted = self._clock()
            self._phase = (self._counted, self._counted)

    def ended(self) -> None:
        """A training left its worker."""
        if self._phase is not None:
            self._phase = (self._phase[0], self._count())
            self._offered_at_end = self._offered

    def trained(self, seconds: float) -> None:
        """Seconds of training steps that a score tells of."""
        self._train_seconds += seconds

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
