"""When a search must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["TIME_LIMIT", "Clock", "TimeLimit"]

TIME_LIMIT = "time limit"
"""The reason of a trial, or of a search, that the clock ended."""

Clock = Callable[[], float]
"""Seconds since any moment; it must not depend on the date, which people and networks set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """When a search must end; `deadline` is a reading of its clock, in seconds."""

    deadline: float
    grace: float
    """Seconds after the deadline in which a training that is nearly done may finish."""

    @classmethod
    def after(cls, minutes: float, *, start: float) -> TimeLimit:
        """The limit `minutes` after `start`, with a grace of 5 % of them, at least 2 s and at most 60 s."""
        seconds = 60 * minutes
        return cls(deadline=start + seconds, grace=min(60.0, max(2.0, 0.05 * seconds)))
