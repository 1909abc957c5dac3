"""The loop of a ranking, as a `Driver`: which training comes next, and what is written of each.

A job is written down when it is done, as one line; one that a death cut off is done again, a training from
its checkpoint. Scores without training come first, then the proxies, then the full trainings seed by seed, so
that whoever stops early has whole seeds of all architectures.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from octnas.engine.driver import Stoppable
from octnas.engine.events import Kind
from octnas.engine.limits import Clock
from octnas.engine.rank_jobs import TrainingJob, UntrainedJob
from octnas.errors import SearchFailedError
from octnas.record import EpochScore, Journal
from octnas.record.ranking import Ranked, training_event

__all__ = ["RankEvent", "RankJob", "RankListener", "Ranking"]

SAME_FAILURES = 3
"""Trainings that fail for one reason, with none done, before the ranking gives up."""

RankJob = TrainingJob | UntrainedJob


@dataclass(frozen=True, slots=True, kw_only=True)
class RankEvent:
    """One step of a ranking, with where it stands after it."""

    kind: Kind
    finished: int
    """Jobs that are done, or failed."""
    planned: int
    running: tuple[str, ...]
    """Those under way: what, of which architecture, how far."""
    seconds: float
    """Wall-clock since the ranking began, or was taken up again."""
    seconds_left: float | None
    """Estimate; None while nothing is known."""
    text: str = ""
    """For people."""


RankListener = Callable[[RankEvent], None]


class Ranking(Stoppable):
    """A ranking under way; a `Driver` without a time limit.

    Args:
        ranked: what is known; it grows.
        journal: that of `ranked`, its lock held.
        jobs: in the order in which they are begun.
        labels: an architecture's name for people, by digest.
        workers: jobs at a time.
        seconds_per_step: what a step of a training takes, as far as it is known before any is done.
        remove: forgets the checkpoint of a job that is done.
        clock: seconds; another one than the wall's for tests.
    """

    def __init__(
        self,
        ranked: Ranked,
        journal: Journal,
        jobs: Iterable[RankJob],
        *,
        labels: Mapping[str, str],
        workers: int = 1,
        seconds_per_step: float | None = None,
        remove: Callable[[RankJob], None] = lambda job: None,
        listeners: Sequence[RankListener] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(clock=clock)
        self.workers = workers
        self.failures: dict[str, str] = {}
        """Reasons by what failed, in words."""
        self._ranked = ranked
        self._journal = journal
        self._waiting = list(jobs)
        self._labels = labels
        self._planned = len(self._waiting)
        self._running: dict[str, RankJob] = {}
        self._scores: dict[str, dict[int, EpochScore]] = {}
        self._rate = seconds_per_step
        self._seconds, self._steps = 0.0, 0.0
        self._remove = remove
        self._listeners = tuple(listeners)
        self._start = clock()
        self._trained = 0

    # ---------------------------------------------------------------- what a backend asks
    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the jobs under way."""
        return tuple(self._running)

    @property
    def has_work(self) -> bool:
        """Whether anything is left."""
        return bool(self._waiting or self._running)

    def next_job(self) -> RankJob | None:
        """What a free worker shall do now."""
        if self.halted or not self._waiting:
            return None
        job = self._waiting.pop(0)
        self._running[job.id] = job
        self._scores[job.id] = {}
        self._tell("started")
        return job

    def report(self, job_id: str, value: Any) -> bool:
        """Takes an `EpochScore` of a training, or [digest, proxy, value]; whether the job goes on."""
        job = self._running.get(job_id)
        if job is None:
            return False
        if isinstance(job, UntrainedJob):
            digest, proxy, number = value
            event = {"event": "value", "digest": digest, "proxy": proxy, "value": number}
            self._journal.append(event)
            self._ranked.take(event)
            return True
        return self._trains_on(job, value)

    def fail(self, job_id: str, reason: str, traceback: str = "") -> None:
        """A job raised, or its worker died for good."""
        job = self._running.pop(job_id, None)
        if job is None:
            return
        if traceback:
            self._journal.append({"event": "traceback", "id": job_id, "text": traceback})
        self._journal.append({"event": "failed", "id": job_id, "reason": reason})
        self.failures[self._words(job)] = reason
        self._tell("finished", f"{self._words(job)} failed: {reason}")
        reasons = list(self.failures.values())
        if not self._trained and len(reasons) >= SAME_FAILURES and len(set(reasons)) == 1:
            self.fault = SearchFailedError(
                f"the first {len(reasons)} trainings all failed alike: {reason}; "
                "mend the cause and rank again"
            )

    def ended(self, job_id: str) -> None:
        """The function of a job returned."""
        job = self._running.get(job_id)
        if isinstance(job, TrainingJob):
            self.fail(job_id, "the training ended early")
        elif job is not None:
            self._done(job, f"{self._words(job)}: {', '.join(job.names)}")

    def stop_running(self, reason: str) -> None:
        """What still runs is left for the next call."""
        self._running.clear()

    def note(self, text: str, kind: Kind = "note") -> None:
        """Tells the listeners what is going on."""
        self._tell(kind, text)

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the wall-clock that is left; None while nothing is known."""
        rate = self._seconds / self._steps if self._steps else self._rate
        if rate is None:
            return None
        left = sum(job.steps for job in self._waiting)
        for job in self._running.values():
            done = max(self._scores[job.id], default=0)
            epochs = job.training.epochs if isinstance(job, TrainingJob) else 1
            left += job.steps * (1 - done / epochs)
        return left * rate / self.workers

    # ---------------------------------------------------------------- inside
    def _trains_on(self, job: TrainingJob, score: EpochScore) -> bool:
        if score.non_finite:
            self.fail(job.id, f"{score.non_finite} in epoch {score.epoch}")
            return False
        known = self._scores[job.id]
        if score.epoch not in known:  # a worker that died repeats what its checkpoint had
            self._seconds += score.seconds
            self._steps += job.steps / job.training.epochs
        known[score.epoch] = score
        if score.epoch < job.training.epochs:
            self._tell("score")
            return True
        scores = [known[epoch] for epoch in sorted(known)]
        event = training_event(job.training, scores)
        self._journal.append(event)
        self._ranked.take(event)
        self._trained += 1
        spent = sum(each.seconds for each in scores)
        self._done(job, f"{self._words(job)}: accuracy {100 * score.accuracy:.2f} %, {spent:.0f} s")
        return False

    def _done(self, job: RankJob, text: str) -> None:
        del self._running[job.id]
        with contextlib.suppress(OSError):  # a file more than needed is no reason to end
            self._remove(job)
        self._tell("finished", text)

    def _words(self, job: RankJob) -> str:
        if isinstance(job, UntrainedJob):
            return f"scores without training of {len(job.models)} architectures"
        training = job.training
        kind = {"scratch": "from scratch", "warm": "warm start", "full": "full"}[training.kind]
        return f"{kind}, {self._labels[training.digest]}, seed {training.seed}"

    def _tell(self, kind: Kind, text: str = "") -> None:
        event = RankEvent(
            kind=kind,
            finished=self._planned - len(self._waiting) - len(self._running),
            planned=self._planned,
            running=tuple(map(self._progress, self._running.values())),
            seconds=self._clock() - self._start,
            seconds_left=self.seconds_left,
            text=text,
        )
        for listener in self._listeners:
            listener(event)

    def _progress(self, job: RankJob) -> str:
        if isinstance(job, UntrainedJob):
            return "scores without training"
        training, epochs = job.training, max(self._scores[job.id], default=0)
        return f"{training.kind} {self._labels[training.digest]} {epochs}/{training.epochs}"
