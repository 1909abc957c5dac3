"""The loop of a search, as a state that a backend drives: what to train next, and what becomes of each score.

A backend (`ray_adapter`) asks `next_job` whenever it has a free worker, hands every score to `report`, and
every failure to `fail`. The journal is written before anything is answered, so a decision that a backend saw
is a decision that `octnas resume` sees. Nothing here knows where trials run, nor what proposes them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from octnas.engine.busy import Busy
from octnas.engine.confirm import Confirmation, Confirming
from octnas.engine.driver import Stoppable
from octnas.engine.evaluate import TrialJob
from octnas.engine.events import Kind, Listener, search_event
from octnas.engine.failures import same_failure
from octnas.engine.jobs import confirming_job, new_record, trial_epochs, trial_job
from octnas.engine.kept import Kept
from octnas.engine.limits import TIME_LIMIT, Clock, TimeLimit
from octnas.engine.plan import Plan, Proposals
from octnas.engine.rungs import Rungs
from octnas.engine.standing import Standing
from octnas.record import EpochScore, RunFolder, TrialRecord, TrialState
from octnas.space import Feasible

__all__ = ["Campaign"]

PULSE_SECONDS = 5.0
"""After which listeners are told where the search stands though nothing happened."""


class Campaign(Stoppable):
    """A search under way; a `Driver`.

    Args:
        run: its folder, the journal's lock held.
        feasible: the members of the space that is searched within its budgets.
        proposer: proposes candidates; it knows the records of `run` already.
        rungs: early stopping; it knows them too.
        records: those of `run`, as they stand; None: they are read from its journal.
        workers: trials that run at once, for the estimate of the time left.
        confirm: seeds with which the winner and the yardstick next to it are trained again at the end.
        shared: accuracies on shared weights, by digest, of the architectures that have one.
        limit: when to end, None for never.
        listeners: called with each event.
        clock: seconds; another one than the wall's for a simulated search.
        start: reading of the clock at which the search began.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        feasible: Feasible,
        proposer: Proposals,
        rungs: Rungs,
        records: Iterable[TrialRecord] | None = None,
        workers: int = 1,
        confirm: Sequence[int] = (),
        shared: Mapping[str, float] | None = None,
        limit: TimeLimit | None = None,
        listeners: Iterable[Listener] = (),
        clock: Clock = time.monotonic,
        start: float | None = None,
    ) -> None:
        super().__init__(limit=limit, clock=clock)
        header = run.header
        self.run = run
        self._feasible = feasible
        self._space = feasible.space
        self._proposer = proposer
        self._rungs = rungs
        self._confirming = Confirming(limit=feasible.limit, objective=feasible.objective, seeds=confirm)
        self._shared = shared or {}
        self._listeners = tuple(listeners)
        self._busy = Busy(clock, workers)
        self._start = clock() if start is None else start
        self._epochs = trial_epochs(header, self._space.proxy)
        self._records = {each.id: each for each in (run.records() if records is None else records)}
        self._standing = Standing(limit=feasible.limit, objective=feasible.objective, header=header)
        for record in self._records.values():
            self._standing.move(None, record)
            if record.state.final:
                self._standing.finish(record)
        self._kept = Kept(run, limit=feasible.limit, objective=feasible.objective, records=self._records)
        states = {record.id: record.state for record in self._records.values()}
        self._unfinished = [each for each, state in states.items() if state is TrialState.RUNNING]
        self._paused = dict.fromkeys(each for each, state in states.items() if state is TrialState.PAUSED)
        self._plan = Plan(header, self._records.values(), proposer)
        self._running: dict[str, None] = {}
        self._told = clock()

    # ---------------------------------------------------------------- what a backend asks
    def next_job(self) -> TrialJob | None:
        """What a free worker shall train now; None where nothing is left to start at this moment.

        What a death interrupted comes first, then who is promoted from a rung, then a new trial. When all
        trials are final, what the search will claim is confirmed.
        """
        if self.halted or self._past_deadline:
            return None
        if not self._confirming.running and not self._time_to_confirm:
            record = self._interrupted() or self._promoted() or self._new_trial() or self._last_promoted()
            if record is not None:
                rungs = self._rungs.levels if record.yardstick is None else ()
                return self._begin(record, trial_job(self.run, self._space, record, rungs=rungs))
        if self._training:
            return None
        self._stop_paused()
        left = self._confirming.left(self.records)
        if not left:
            return None
        self.run.journal.append({"event": "confirming", **left[0].names})
        self._confirming.start(left[0])
        record = self._records[left[0].trial_id]
        return self._begin(record, confirming_job(self.run, self._space, record, left[0]))

    def report(self, job_id: str, score: EpochScore) -> bool:
        """Takes a score; answers whether the training goes on. The journal has it before this returns.

        A trial that shall not go on now is paused where it is or final; a worker frees itself either way.
        """
        self._busy.scored(job_id, score)
        if job_id in self._confirming:
            return self._confirmation_goes_on(job_id, score)
        record = self._records.get(job_id)
        if record is None or record.state is not TrialState.RUNNING:
            return False
        if score.epoch >= self._epochs or score.non_finite:
            scored = record.with_score(score)  # failed, where a number is not finite
            self._finish(scored if scored.state.final else scored.with_state(TrialState.COMPLETE))
            return False
        if score.epoch <= record.epochs:
            return True  # a training that is repeated after a death repeats its scores
        record = record.with_score(score)
        if not self._rungs.goes_on(record, score):
            self._pause(record)
            return False
        if score.epoch in self._rungs.levels:
            self._write(record)  # in one line: that it got here, and that it goes on
        else:
            self.run.journal.append_score(job_id, score)
            self._records[job_id] = record
        self._tell("score", record)
        if self._past_deadline and not self._lets_finish((self._epochs - score.epoch) * record.epoch_seconds):
            self._finish(record.with_state(TrialState.STOPPED, TIME_LIMIT))
            return False
        return True

    def fail(self, job_id: str, reason: str, traceback: str = "") -> None:
        """A training raised, or its worker died for good."""
        if job_id in self._confirming:
            confirmation = self._end_confirmation(job_id, failed=True)
            self.run.journal.append({"event": "unconfirmed", **confirmation.names, "reason": reason})
            what = f"trial {confirmation.trial_id} with seed {confirmation.seed}"
            self.note(f"{what} could not be confirmed: {reason}")
            return
        record = self._records[job_id]
        if record.state is not TrialState.RUNNING:
            return
        if traceback:
            self.run.journal.append({"event": "traceback", "id": job_id, "text": traceback})
        self._finish(record.failed(reason))

    def ended(self, job_id: str) -> None:
        """The training of a job returned; where its last score did not end it, it ends with what it has."""
        if job_id in self._confirming:
            self.fail(job_id, "the training ended early")
            return
        record = self._records.get(job_id)
        if record is not None and record.state is TrialState.RUNNING and job_id in self._running:
            self._finish(record.with_state(TrialState.COMPLETE))

    def stop_running(self, reason: str) -> None:
        """Ends what is still running as stopped."""
        for job_id in list(self._running):
            if job_id in self._confirming:
                self._end_confirmation(job_id)
            else:
                self._finish(self._records[job_id].with_state(TrialState.STOPPED, reason))

    def close(self) -> None:
        """Nothing will be started any more: what is paused ends as stopped, unless `resume` is to go on."""
        if not (self.halted or self._running):
            self._stop_paused()
        self._kept.close(self._records)
        if self._kept.trouble:
            self.note(self._kept.trouble)

    def leave(self) -> None:
        """Nothing of it runs on in this process, however it ended."""
        self._kept.leave()

    # ---------------------------------------------------------------- where it stands
    @property
    def workers(self) -> int:
        """Jobs that run at once; a backend on a cluster follows its nodes."""
        return self._busy.workers

    @workers.setter
    def workers(self, count: int) -> None:
        self._busy.workers = count

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the jobs that are being trained."""
        return tuple(self._running)

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All trials that started, in that order."""
        return tuple(self._records.values())

    @property
    def exhausted(self) -> bool:
        """Whether the space held fewer members within the budget than candidates were asked for."""
        return self._plan.exhausted

    @property
    def has_work(self) -> bool:
        """Whether anything is left to train."""
        return bool(
            self._unfinished
            or self._paused
            or self._plan.more_yardsticks
            or self._plan.more_candidates
            or self._confirming.left(self.records)
        )

    @property
    def ending(self) -> str:
        """In a few words, how the search ended."""
        if self._plan.exhausted:
            return f"space exhausted: {self._plan.candidates} candidates are all that fits the budget"
        return TIME_LIMIT if self._limit is not None and self.has_work else "all trials done"

    def statistics(self) -> Mapping[str, Any]:
        """Of this session, see `Busy.statistics`."""
        return self._busy.statistics()

    def pulse(self) -> None:
        """Tells the listeners where the search stands where nothing else did for a while."""
        if self._clock() >= self._told + PULSE_SECONDS:
            self._tell("pulse", None)

    def note(self, text: str, kind: Kind = "note") -> None:
        """Tells the listeners what is going on."""
        self._tell(kind, None, text)

    # ---------------------------------------------------------------- inside
    @property
    def _training(self) -> list[TrialRecord]:
        """Trials under way, without what confirms."""
        return [self._records[each] for each in self._running if each not in self._confirming]

    @property
    def _time_to_confirm(self) -> bool:
        """Whether a time limit leaves just enough to confirm what was found."""
        if self._limit is None:
            return False
        needed = self._confirming.seconds(self._standing.complete_seconds, self.workers)
        return needed > 0 and self._clock() + needed >= self._limit.deadline

    def _begin(self, record: TrialRecord, job: TrialJob) -> TrialJob:
        self._running[job.id] = None
        self._busy.started(job.id)
        self._tell("started", record)
        return job

    def _interrupted(self) -> TrialRecord | None:
        return self._records[self._unfinished.pop(0)] if self._unfinished else None

    def _promoted(self, *, at_least: int = 0) -> TrialRecord | None:
        trial_id = self._rungs.promote(self._paused, at_least=at_least) if self._paused else None
        if trial_id is None:
            return None
        del self._paused[trial_id]
        record = self._records[trial_id].with_state(TrialState.RUNNING)
        self._write(record)
        return record

    def _last_promoted(self) -> TrialRecord | None:
        """When nobody will come any more, a rung that few have reached lets its best one go on; a search that
        wanted more candidates than there are trains those it has to the end, the best first."""
        if self._running or self._plan.more_yardsticks:
            return None
        return self._promoted(at_least=len(self._records) if self._plan.exhausted else 1)

    def _pause(self, record: TrialRecord) -> None:
        record = record.with_state(TrialState.PAUSED)
        self._write(record)
        self._paused[record.id] = None
        self._leave(record.id)
        self._proposer.tell(record)
        self._tell("score", record)
        for trial_id in self._rungs.left_behind():
            if trial_id in self._paused:
                self._stop(trial_id, " when as many as are compared came after it")

    def _stop_paused(self) -> None:
        """Nobody will come any more who could let them go on."""
        for trial_id in list(self._paused):
            self._stop(trial_id)

    def _stop(self, trial_id: str, when: str = "") -> None:
        """Ends a paused trial."""
        del self._paused[trial_id]
        record = self._records[trial_id]
        reason = f"outside the best 1/{self._rungs.eta} after epoch {record.epochs}{when}"
        self._finish(record.with_state(TrialState.STOPPED, reason))

    def _new_trial(self) -> TrialRecord | None:
        known = self._plan.exhausted
        found = self._plan.next()
        if self._plan.exhausted and not known:
            self.note(self.ending)
        if found is None:
            return None
        trial_id = str(len(self._records) + 1)
        record = new_record(
            self.run,
            self._feasible,
            found[0],
            trial_id=trial_id,
            yardstick=found[1],
            shared_accuracy=self._shared.get(found[0].digest),
        )
        self._write(record)
        return record

    def _confirmation_goes_on(self, job_id: str, score: EpochScore) -> bool:
        if score.non_finite:
            self.fail(job_id, f"{score.non_finite} in epoch {score.epoch}")
            return False
        if score.epoch < self._epochs:
            return True
        confirmation = self._confirming[job_id]
        record = self._records[confirmation.trial_id]
        self.run.journal.append_confirmation(record.id, confirmation.seed, score)
        record = record.with_seed(confirmation.seed, score.accuracy, score.test_accuracy)
        self._records[record.id] = record
        self._end_confirmation(job_id)
        self._tell("confirmed", record)
        return False

    def _end_confirmation(self, job_id: str, *, failed: bool = False) -> Confirmation:
        self._leave(job_id)
        self._kept.forget(job_id)
        return self._confirming.end(job_id, failed=failed)

    def _finish(self, record: TrialRecord) -> None:
        record, gone = self._kept.end(record)
        self._write(record)
        self._kept.forget(*gone)
        self._leave(record.id)
        self._standing.finish(record)
        self._proposer.tell(record)
        self._tell("finished", record)
        if record.state is TrialState.FAILED and self._standing.only_failures:
            self.fault = self.fault or same_failure(self.records, self.run.name)

    def _leave(self, job_id: str) -> None:
        """Its worker is free."""
        self._running.pop(job_id, None)
        self._busy.ended(job_id)

    def _write(self, record: TrialRecord) -> None:
        self.run.journal.append_trial(record)
        self._standing.move(self._records.get(record.id), record)
        self._records[record.id] = record

    def _tell(self, kind: Kind, trial: TrialRecord | None, text: str = "") -> None:
        if not self._listeners:
            return
        event = search_event(
            kind,
            name=self.run.name,
            records=self._records,
            standing=self._standing,
            plan=self._plan,
            busy=self._busy,
            running=self._training,
            confirming=self._confirming.running,
            epochs=self._epochs,
            rungs=self._rungs.levels,
            seconds=self._clock() - self._start,
            bound=None if self._limit is None else max(0.0, self._limit.deadline - self._clock()),
            trial=trial,
            text=text,
        )
        self._told = self._clock()
        for listener in self._listeners:
            listener(event)
