"""The loop of a search, as a state that a backend drives: what to train next, and what becomes of each score.

A backend (`ray_adapter`) asks `next_job` whenever it has a free worker, hands every score to `report`, and
every failure to `fail`. The journal is written before anything is answered, so a decision that a backend saw
is a decision that `octnas resume` sees. Nothing here knows where trials run, nor what proposes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.engine.evaluate import TrialJob, scores_of
from octnas.engine.events import Kind, Listener, SearchEvent
from octnas.engine.rungs import Rungs, score_of
from octnas.errors import SearchFailedError
from octnas.front import best, pareto_front
from octnas.record import EpochScore, RunFolder, TrialRecord, TrialState, Yardstick
from octnas.space import SearchSpace
from octnas.space.feasible import budget_macs

__all__ = ["SAME_FAILURES", "TIME_LIMIT", "Campaign", "Clock", "Proposals", "TimeLimit"]

SAME_FAILURES = 5
"""A search whose first trials, this many, all fail for one reason is stopped."""
TIME_LIMIT = "time limit"

Clock = Callable[[], float]


class Proposals(Protocol):
    """What proposes candidates."""

    def ask(self) -> Architecture | None: ...
    def add(self, architecture: Architecture) -> None: ...
    def tell(self, record: TrialRecord) -> None: ...


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


class Campaign:
    """A search under way.

    Args:
        run: its folder, the journal's lock held.
        space: the space that is searched.
        proposer: proposes candidates; it knows the records of `run` already.
        rungs: early stopping; it knows them too.
        workers: trials that run at once, for the estimate of the time left.
        limit: when to end, None for never.
        listeners: called with each event.
        clock: seconds; another one than the wall's for a simulated search.
        start: reading of the clock at which the search began.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        space: SearchSpace,
        proposer: Proposals,
        rungs: Rungs,
        workers: int = 1,
        limit: TimeLimit | None = None,
        listeners: Iterable[Listener] = (),
        clock: Clock = time.monotonic,
        start: float | None = None,
    ) -> None:
        header = run.header
        self.run = run
        self.workers = workers
        self.fault: BaseException | None = None
        """Why the search cannot go on; the backend stops when it sees one."""
        self.interrupted = False
        """Whether `interrupt` was called: the backend stops at the next safe moment."""
        self._space = space
        self._budget = header.budget_gflops
        self._trials = header.trials
        self._proposer = proposer
        self._rungs = rungs
        self._limit = limit
        self._listeners = tuple(listeners)
        self._clock = clock
        self._start = clock() if start is None else start
        self._epochs = scores_of(space.proxy)
        self._records = {record.id: record for record in run.records()}
        self._unfinished = [record.id for record in self._records.values() if not record.state.final]
        started = {each.architecture.digest for each in self._records.values() if each.yardstick is not None}
        self._yardsticks = [each for each in header.yardsticks if each.architecture.digest not in started]
        self._running: dict[str, None] = {}
        self._exhausted = False
        self._train_seconds = 0.0
        self._phase: tuple[float, float] | None = None

    # ---------------------------------------------------------------- what a backend asks
    def next_job(self) -> TrialJob | None:
        """What a free worker shall train now; None where nothing is left to start."""
        if self.halted or self._past_deadline:
            return None
        if self._unfinished:
            record = self._records[self._unfinished.pop(0)]
        else:
            new = self._new_trial()
            if new is None:
                return None
            record = new
            self._write(record)
        self._running[record.id] = None
        now = self._clock()
        self._phase = (now, now) if self._phase is None else self._phase
        self._tell("started", record)
        return self._job(record)

    def report(self, trial_id: str, score: EpochScore) -> bool:
        """Takes a score; answers whether the trial goes on. The journal has it before this returns."""
        record = self._records[trial_id]
        if record.state.final:
            return False
        self._train_seconds += score.train_seconds
        seen = score.epoch <= record.epochs
        if score.epoch >= self._epochs or score.non_finite:
            scored = record.with_score(score)  # failed, where a number is not finite
            self._finish(scored if scored.state.final else scored.with_state(TrialState.COMPLETE))
            return False
        if not seen:  # a training that is repeated after a death repeats its scores
            self.run.journal.append_score(trial_id, score)
            record = record.with_score(score)
            self._records[trial_id] = record
            self._tell("score", record)
        if not self._goes_on(record, score):
            reason = f"outside the best 1/{self._rungs.eta} after epoch {score.epoch}"
            self._finish(record.with_state(TrialState.STOPPED, reason))
            return False
        if self._past_deadline and not self._nearly_done(record, score.epoch):
            self._finish(record.with_state(TrialState.STOPPED, TIME_LIMIT))
            return False
        return True

    def fail(self, trial_id: str, reason: str, traceback: str = "") -> None:
        """A trial raised, or its worker died for good."""
        record = self._records[trial_id]
        if record.state.final:
            return
        if traceback:
            self.run.journal.append({"event": "traceback", "id": trial_id, "text": traceback})
        self._finish(record.failed(reason))

    def ended(self, trial_id: str) -> None:
        """The training of a trial returned; where its last score did not end it, it ends with what it has."""
        record = self._records[trial_id]
        if not record.state.final:
            self._finish(record.with_state(TrialState.COMPLETE))

    def stop_running(self, reason: str) -> None:
        """Ends what is still running as stopped."""
        for trial_id in list(self._running):
            self._finish(self._records[trial_id].with_state(TrialState.STOPPED, reason))

    def interrupt(self) -> None:
        """Asks for an end from outside (Ctrl-C); what is running stays unfinished, for `octnas resume`."""
        self.interrupted = True

    # ---------------------------------------------------------------- where it stands
    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the trials that are being trained."""
        return tuple(self._running)

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All trials that started, in that order."""
        return tuple(self._records.values())

    @property
    def halted(self) -> bool:
        """Whether the backend must stop now."""
        return self.interrupted or self.fault is not None

    @property
    def overdue(self) -> bool:
        """Whether even the grace after the time limit is over."""
        return self._limit is not None and self._clock() > self._limit.deadline + self._limit.grace

    @property
    def exhausted(self) -> bool:
        """Whether the space held fewer members within the budget than candidates were asked for."""
        return self._exhausted

    @property
    def has_work(self) -> bool:
        """Whether anything is left to train."""
        return bool(self._unfinished) or self._more_yardsticks or self._more_candidates

    @property
    def ending(self) -> str:
        """In a few words, how the search ended."""
        if self._past_deadline and self.has_work:
            return TIME_LIMIT
        if self._exhausted:
            return f"space exhausted: {self._candidates} candidates are all that fits the budget"
        return "all trials done"

    def statistics(self) -> Mapping[str, Any]:
        """Of this session: seconds in training steps and of the trial phase, workers and their busy share.

        The share is the time in training steps over the time of all workers, between the first start and
        the last end.
        """
        begin, end = self._phase or (0.0, 0.0)
        whole = self.workers * (end - begin)
        return {
            "train_seconds": round(self._train_seconds, 3),
            "phase_seconds": round(end - begin, 3),
            "workers": self.workers,
            "busy_share": round(self._train_seconds / whole, 4) if whole > 0 else None,
        }

    def note(self, text: str, kind: Kind = "note") -> None:
        """Tells the listeners what is going on."""
        self._tell(kind, None, text)

    # ---------------------------------------------------------------- inside
    @property
    def _candidates(self) -> int:
        return sum(record.yardstick is None for record in self._records.values())

    @property
    def _more_candidates(self) -> bool:
        return self._candidates < self._trials and not self._exhausted

    @property
    def _more_yardsticks(self) -> bool:
        """A yardstick waits for its two candidates, so that at no time more than a third are yardsticks."""
        started = len(self._records) - self._candidates
        return bool(self._yardsticks) and 2 * (started + 1) <= self._candidates

    @property
    def _past_deadline(self) -> bool:
        return self._limit is not None and self._clock() >= self._limit.deadline

    def _new_trial(self) -> TrialRecord | None:
        yardstick: Yardstick | None = None
        if self._more_yardsticks:
            yardstick = self._yardsticks.pop(0)
            architecture = yardstick.architecture
            self._proposer.add(architecture)
        elif self._more_candidates:
            proposed = self._proposer.ask()
            if proposed is None:
                self._exhausted = True
                self.note(self.ending)
                return self._new_trial()
            architecture = proposed
        else:
            return None
        target = self._space.target
        shape = (target.channels, target.input_size, target.input_size)
        counted = cost(architecture, input_shape=shape, num_classes=target.classes)
        return TrialRecord(
            id=str(len(self._records) + 1),
            architecture=architecture,
            state=TrialState.RUNNING,
            gflops=counted.gflops,
            params=counted.params,
            yardstick=None if yardstick is None else yardstick.label,
            within_budget=self._space.macs(architecture) <= budget_macs(self._budget),
            seed=self.run.header.seed,
        )

    def _job(self, record: TrialRecord) -> TrialJob:
        return TrialJob(
            id=record.id,
            architecture=record.architecture,
            gflops=record.gflops,
            proxy_architecture=self._space.proxy_architecture(record.architecture),
            proxy=self._space.proxy,
            epochs=self._epochs,
            seed=record.seed,
            checkpoint=self.run.checkpoint(record.id),
            threads=max(1, int(self.run.header.cpus_per_trial)),
        )

    def _goes_on(self, record: TrialRecord, score: EpochScore) -> bool:
        if score.epoch not in self._rungs.levels or not record.within_budget:
            return True
        point = (score_of(score.accuracy, score.loss, self._rungs.rank_by), record.gflops)
        if record.yardstick is not None:
            self._rungs.enter(record.id, score.epoch, point)
            return True
        return self._rungs.decide(record.id, score.epoch, point)

    def _nearly_done(self, record: TrialRecord, epoch: int) -> bool:
        assert self._limit is not None
        needed = (self._epochs - epoch) * record.seconds / max(1, record.epochs)
        return self._clock() + needed <= self._limit.deadline + self._limit.grace

    def _finish(self, record: TrialRecord) -> None:
        checkpoint = self.run.checkpoint(record.id)
        if record.state is TrialState.COMPLETE and checkpoint.is_file():
            record = replace(record, checkpoint=str(checkpoint.relative_to(self.run.path)))
        self._write(record)
        self._running.pop(record.id, None)
        if self._phase is not None:
            self._phase = (self._phase[0], self._clock())
        self._proposer.tell(record)
        self._tell("finished", record)
        self._look_for_one_failure()

    def _look_for_one_failure(self) -> None:
        final = [record for record in self._records.values() if record.state.final]
        reasons = {record.reason if record.state is TrialState.FAILED else None for record in final}
        if len(final) >= SAME_FAILURES and len(reasons) == 1 and None not in reasons and self.fault is None:
            self.fault = SearchFailedError(
                f"the first {len(final)} trials all failed alike: {reasons.pop()}; "
                f"their rows are in {self.run.name!r}, mend the cause and search under another name"
            )

    def _write(self, record: TrialRecord) -> None:
        self.run.journal.append_trial(record)
        self._records[record.id] = record

    def _tell(self, kind: Kind, trial: TrialRecord | None, text: str = "") -> None:
        if not self._listeners:
            return
        records = self.records
        finished = sum(record.state.final for record in records)
        left = len(self._yardsticks) + (0 if self._exhausted else max(0, self._trials - self._candidates))
        event = SearchEvent(
            kind=kind,
            name=self.run.name,
            planned=len(records) + left,
            finished=finished,
            running=tuple(self._records[trial_id] for trial_id in self._running),
            front=len(pareto_front(records, self._budget)),
            best=best(records, self._budget),
            epochs=self._epochs,
            seconds=self._clock() - self._start,
            seconds_left=self._seconds_left(len(records) + left - finished),
            trial=trial,
            text=text,
        )
        for listener in self._listeners:
            listener(event)

    def _seconds_left(self, trials: int) -> float | None:
        """From the mean wall-clock of the trials that finished, bounded by the time limit."""
        spent = [record.seconds for record in self._records.values() if record.state.final and record.epochs]
        under_way = sum(self._records[trial_id].seconds for trial_id in self._running)
        bound = None if self._limit is None else max(0.0, self._limit.deadline - self._clock())
        if not spent:
            return bound
        estimate = max(0.0, (trials * sum(spent) / len(spent) - under_way) / self.workers)
        return estimate if bound is None else min(estimate, bound)
