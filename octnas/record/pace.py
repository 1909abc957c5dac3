"""Pace: how often something that costs time may be done beside a search."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace"]


class Pace:
    """When something may be done again: at most every `seconds`, and for at most `share` of the time.

    Args:
        seconds: between the end of one time and the begin of the next.
        first: seconds from now to the first time.
        share: of the time (0 to 1) that it may take.
        clock: seconds.
    """

    def __init__(
        self,
        seconds: float = 30.0,
        *,
        first: float = 5.0,
        share: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._share = share
        self._clock = clock
        self._next = clock() + first
        self._took = 0.0
        self._began = 0.0

    @property
    def left(self) -> float:
        """Seconds until it may be done again."""
        return max(0.0, self._next - self._clock())

    def begin(self) -> None:
        """It is being done now."""
        self._took, self._began = 0.0, self._clock()

    def go_on(self) -> None:
        """Its next part is being done now."""
        self._began = self._clock()

    def end(self) -> None:
        """It, or its part, is done, well or not."""
        now = self._clock()
        self._took += now - self._began
        self._next = now + max(self._seconds, self._took / self._share)
