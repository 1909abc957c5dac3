"""How busy the workers of a search are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from octnas.engine.limits import Clock

__all__ = ["Busy"]


class Busy:
    """The share of the workers' time, between the first start and the last end, that is in training steps."""

    def __init__(self, clock: Clock, workers: int) -> None:
        self.workers = workers
        self._clock = clock
        self._train_seconds = 0.0
        self._phase: tuple[float, float] | None = None

    def started(self) -> None:
        """A training was started."""
        if self._phase is None:
            now = self._clock()
            self._phase = (now, now)

    def ended(self) -> None:
        """A training left its worker."""
        if self._phase is not None:
            self._phase = (self._phase[0], self._clock())

    def trained(self, seconds: float) -> None:
        """Seconds of training steps that a score tells of."""
        self._train_seconds += seconds

    def statistics(self) -> Mapping[str, Any]:
        """Seconds in training steps and of the trial phase, workers and their busy share (None: no time)."""
        begin, end = self._phase or (0.0, 0.0)
        whole = self.workers * (end - begin)
        return {
            "train_seconds": round(self._train_seconds, 3),
            "phase_seconds": round(end - begin, 3),
            "workers": self.workers,
            "busy_share": round(self._train_seconds / whole, 4) if whole > 0 else None,
        }
