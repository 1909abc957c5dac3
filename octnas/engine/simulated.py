"""A backend without training: trials are replayed on a clock that jumps from one score to the next.

The campaign is the one that `ray_adapter` drives, so sampler, rungs, journal and failures are the real ones;
only the scores come from elsewhere (a table of trainings, a formula) and no time passes. With equal scores
the same seed gives the same records, however fast or busy the machine is.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from octnas.engine.campaign import Campaign
from octnas.engine.evaluate import TrialJob, failure_reason
from octnas.engine.limits import TIME_LIMIT, Clock
from octnas.errors import SearchFailedError
from octnas.record import EpochScore

__all__ = ["Scores", "SimulatedClock", "simulate"]

Scores = Callable[[TrialJob], Iterator[EpochScore]]
"""The scores of a job, in the order of its epochs, from epoch `job.scored + 1` on. Whatever the iterator
raises is a failure of the trial."""


class SimulatedClock:
    """Seconds that pass only when a simulation says so; call it for its reading.

    Give it to the campaign as its `clock`, and to `simulate`.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._passed = 0.0
        self._offset = start

    def __call__(self) -> float:
        """The reading, in seconds."""
        return self._passed + self._offset

    @property
    def passed(self) -> float:
        """Seconds that have passed since the start, whatever the reading was set to."""
        return self._passed

    def advance(self, passed: float) -> None:
        """Lets time pass until `passed` seconds since the start; never backwards."""
        self._passed = max(self._passed, passed)

    def set_by(self, seconds: float) -> None:
        """Sets the reading ahead, or back, as a time service does; no time passes."""
        self._offset += seconds


@dataclass(slots=True)
class _Training:
    """A job on a worker, and the score that it will report next."""

    job: TrialJob
    scores: Iterator[EpochScore]
    coming: EpochScore


def simulate(
    campaign: Campaign,
    *,
    scores: Scores,
    workers: int = 1,
    clock: SimulatedClock,
    timer: Clock | None = None,
) -> None:
    """Runs a campaign to its end: until nothing runs and it has no job left, or it is halted. Unless it was
    halted, every trial is final then.

    Every free worker asks for a job, the first worker first. The scores of a job arrive one after another,
    each `score.seconds` after the one before; what comes at the same instant comes in the order of the
    workers. A worker whose trial was stopped, paused, failed or finished is free at once.

    Args:
        scores: what a job's training would report.
        workers: trainings at a time, 1 or more.
        clock: the campaign's own.
        timer: seconds, by which the campaign's own work is timed and let pass on `clock`: one driver, which
            does one thing after the other while workers wait for its answers. None: its work takes no time.

    Raises:
        OctnasError: the journal cannot be written, or the campaign gave up (`SearchFailedError`).
    """
    if workers < 1:
        raise ValueError(f"`workers` must be 1 or more, but got {workers}")
    free = list(range(workers))
    heapq.heapify(free)
    coming: list[tuple[float, int]] = []
    trainings: dict[int, _Training] = {}

    @contextlib.contextmanager
    def driving() -> Iterator[None]:
        begin = timer() if timer else 0.0
        yield
        if timer:
            clock.advance(clock.passed + timer() - begin)

    def expect(worker: int, training: _Training) -> None:
        trainings[worker] = training
        heapq.heappush(coming, (clock.passed + _duration(training.coming), worker))

    while not campaign.halted:
        while free and not campaign.halted:
            with driving():
                job = campaign.next_job()
            if job is None:
                break
            training = _begun(campaign, job, scores)
            if training is not None:
                expect(heapq.heappop(free), training)
        if not coming or campaign.halted:
            break
        passed, worker = heapq.heappop(coming)
        clock.advance(passed)
        if campaign.overdue:
            campaign.stop_running(TIME_LIMIT)
            break
        training = trainings.pop(worker)
        with driving():
            goes_on = campaign.report(training.job.id, training.coming)
        if goes_on and _next_score(campaign, training):
            expect(worker, training)
        else:
            heapq.heappush(free, worker)
    if isinstance(campaign.fault, SearchFailedError):
        campaign.stop_running("the search failed")
    if campaign.fault is not None:
        raise campaign.fault
    campaign.close()


def _duration(score: EpochScore) -> float:
    """Seconds until a score arrives; one whose seconds are no duration arrives at once, and fails its trial
    there where they are not finite."""
    return max(0.0, score.seconds) if math.isfinite(score.seconds) else 0.0


def _begun(campaign: Campaign, job: TrialJob, scores: Scores) -> _Training | None:
    """The training of a job with its first score on the way; None where it ended without one."""
    try:
        iterator = scores(job)
        first = next(iterator, None)
    except Exception as error:
        campaign.fail(job.id, failure_reason(error), traceback.format_exc())
        return None
    if first is None:
        _end(campaign, job)
        return None
    return _Training(job, iterator, first)


def _next_score(campaign: Campaign, training: _Training) -> bool:
    """Draws the next score of a training; False where there is none, after the campaign was told so."""
    try:
        score = next(training.scores, None)
    except Exception as error:
        campaign.fail(training.job.id, failure_reason(error), traceback.format_exc())
        return False
    if score is None:
        _end(campaign, training.job)
        return False
    training.coming = score
    return True


def _end(campaign: Campaign, job: TrialJob) -> None:
    # Scores that end because the campaign was halted leave a trial unfinished, as a killed worker does.
    if not campaign.halted:
        campaign.ended(job.id)
