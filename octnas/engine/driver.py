"""What a backend that runs jobs (`ray_adapter`) asks of whatever hands them out: a search, a supernet phase.

A backend asks `next_job` whenever it has a free worker, hands every value that a job reports to `report`, and
every failure to `fail`. What a driver was told is written down before it answers, so that nothing is lost
whenever the process dies.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from octnas.engine.events import Kind
from octnas.engine.limits import Clock, TimeLimit

__all__ = ["Driver", "Job", "Stoppable"]


class Job(Protocol):
    """What a worker is given: a picklable dataclass.

    A job may also have `initial`, the path of a file or None: the backend reads each such file once, and a
    worker finds its bytes in the path's place.
    """

    @property
    def id(self) -> str:
        """Unlike that of every job that is under way."""
        ...

    @property
    def threads(self) -> int:
        """Processor threads that the job may use."""
        ...


class Driver(Protocol):
    """Hands out jobs and hears what becomes of them."""

    workers: int
    """Jobs that run at once."""
    fault: BaseException | None
    """Why it cannot go on; the backend stops when it sees one, and sets it where a call here raises."""

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        ...

    @property
    def halted(self) -> bool:
        """Whether the backend must stop now, and leave what runs as it is."""
        ...

    @property
    def overdue(self) -> bool:
        """Whether even the grace after a time limit is over: what runs is ended by `stop_running`."""
        ...

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the jobs under way."""
        ...

    @property
    def has_work(self) -> bool:
        """Whether anything is left to run."""
        ...

    def next_job(self) -> Job | None:
        """What a free worker shall do now; None where nothing is to be started at this moment. With nothing
        running, None means the end."""
        ...

    def report(self, job_id: str, value: Any) -> bool:
        """Takes what a job reported, an `EpochScore` or a list; answers whether the job goes on. After False
        the job is over, and its worker free."""
        ...

    def fail(self, job_id: str, reason: str, traceback: str = "") -> None:
        """A job raised, or its worker died for good."""
        ...

    def ended(self, job_id: str) -> None:
        """The function of a job returned, after no report or one that was answered by True."""
        ...

    def stop_running(self, reason: str) -> None:
        """Ends what is still running."""
        ...

    def interrupt(self) -> None:
        """Asks for an end from outside (Ctrl-C)."""
        ...

    def pulse(self) -> None:
        """The backend is alive: called many times a minute, whether or not anything happens."""
        ...

    def note(self, text: str, kind: Kind = "note") -> None:
        """Tells whoever listens what is going on."""
        ...


class Stoppable:
    """What stops a driver: a fault, Ctrl-C, the end of a time limit.

    Args:
        limit: when to end, None for never.
        clock: seconds; another one than the wall's for a simulated search.
    """

    def __init__(self, *, limit: TimeLimit | None = None, clock: Clock = time.monotonic) -> None:
        self.fault: BaseException | None = None
        self.interrupted = False
        self._limit = limit
        self._clock = clock

    def interrupt(self) -> None:
        """Asks for an end from outside (Ctrl-C); what runs stays unfinished, to be taken up again later."""
        self.interrupted = True

    def pulse(self) -> None:
        """Nothing."""

    @property
    def halted(self) -> bool:
        """Whether the backend must stop now, at the next safe moment."""
        return self.interrupted or self.fault is not None

    @property
    def overdue(self) -> bool:
        """Whether even the grace after the time limit is over."""
        return not self._lets_finish(0.0)

    @property
    def _past_deadline(self) -> bool:
        return self._limit is not None and self._clock() >= self._limit.deadline

    def _lets_finish(self, needed: float) -> bool:
        """Whether what needs these seconds ends in time, the grace included."""
        return self._limit is None or self._clock() + needed <= self._limit.deadline + self._limit.grace
