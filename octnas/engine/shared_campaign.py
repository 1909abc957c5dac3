"""What a search with shared weights does before its trials, as a state that a backend drives: one supernet a
backbone, then the shared scores of many architectures.

As of a `Campaign`, the journal has everything before it is answered, and tells a second life where the first
one ended: supernets go on from their checkpoints, and nothing is scored twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from octnas.engine.driver import Stoppable
from octnas.engine.events import Kind, Listener
from octnas.engine.limits import TIME_LIMIT, Clock, TimeLimit
from octnas.engine.scoring import Scoring
from octnas.engine.shared_audience import Audience, progress_of
from octnas.engine.shared_jobs import PaceJob, ScoringJob, SharedJob, SupernetJob
from octnas.engine.shared_plan import Recipes, fitted_length, shortened_text
from octnas.engine.shared_progress import Durations
from octnas.engine.supernets import Supernet, Supernets
from octnas.errors import SearchFailedError
from octnas.record import EpochScore, RunFolder, SharedScore, SupernetRecord, supernets
from octnas.record.shared import SupernetState, unscored_event

__all__ = ["SharedCampaign"]

SUPERNETS_PART = 0.85
"""Of the time until the limit, after which supernets end as they are where scores are still wanted."""
FAILURES = 3
"""Batches that all fail before any was scored, after which the search has failed."""


class SharedCampaign(Stoppable):
    """Supernets and shared scores under way; a `Driver`.

    Args:
        run: its folder, the journal's lock held.
        recipes: makes the jobs.
        scoring: what is to be scored; of 0 architectures nothing is.
        costs: GFLOPs (10^9 multiply-adds) of each backbone's plain network, in the order in which supernets
            begin.
        images: validation images behind a probe's accuracy.
        drops: whether hopeless backbones may be dropped.
        length: of a supernet's training, in trainings of one proxy, where there is time.
        workers: jobs that run at once.
        limit: when to end, None for never.
        clock: seconds.
        start: reading of the clock at which the search began.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        recipes: Recipes,
        scoring: Scoring,
        costs: dict[str, float],
        images: int,
        drops: bool,
        length: float,
        workers: int = 1,
        limit: TimeLimit | None = None,
        listeners: Iterable[Listener] = (),
        clock: Clock = time.monotonic,
        start: float | None = None,
    ) -> None:
        super().__init__(limit=limit, clock=clock)
        self.run = run
        self.workers = workers
        self._recipes = recipes
        self._scoring = scoring
        self._costs = costs
        self._images = images
        self._drops = drops
        self._usual = length
        self._start = clock() if start is None else start
        self._audience = Audience(run.name, listeners, limit=limit, clock=clock, start=self._start)
        self._durations = Durations(workers, costs)
        self._running: dict[str, tuple[SharedJob, float]] = {}
        self._paces: dict[str, tuple[float, float] | None] = {}
        self._batches = self._failed_batches = 0
        self._supernets: Supernets | None = None
        self._length = length
        self._events = run.journal.read()
        self._take_up()

    # ---------------------------------------------------------------- what a backend asks
    def next_job(self) -> SharedJob | None:
        """What a free worker shall do now: time a supernet, train one, or score a batch."""
        if self.halted or self._past(1.0):
            return None
        if self._supernets is None:
            waiting = [name for name in self._costs if name not in self._paces]
            if waiting:
                self._paces[waiting[0]] = None
                return self._begin(self._recipes.pace(waiting[0]))
            if self._running:
                return None
            self._plan(self._fitted())
        return self._next_supernet() or self._next_batch()

    def report(self, job_id: str, value: Any) -> bool:
        """Takes a score, or the list that a job ends with."""
        job = self._running[job_id][0] if job_id in self._running else None
        if isinstance(job, SupernetJob):
            if isinstance(value, EpochScore):
                return self._trained(job, value)
            self._probed(job, value)
        elif isinstance(job, ScoringJob):
            self._scored(job, value)
        elif isinstance(job, PaceJob):
            self._paces[job.supernet.backbone] = (float(value[0]), float(value[1]))
            self._leave(job_id)
        return False

    def fail(self, job_id: str, reason: str, traceback: str = "") -> None:
        """A supernet that fails costs its backbone, a batch its scores."""
        if job_id not in self._running:
            return
        if traceback:
            self.run.journal.append({"event": "traceback", "id": job_id, "text": traceback})
        job = self._leave(job_id)
        if isinstance(job, SupernetJob):
            self._end(self._supernet(job), "failed", reason)
        elif isinstance(job, ScoringJob):
            for target in job.targets:
                self._unscored(target, reason)
            self.note(f"{len(job.targets)} architectures of {job.backbone} could not be scored: {reason}")
            self._failed_batches += 1
            if self._failed_batches >= FAILURES and not self._scoring.scores:
                self.fault = self.fault or SearchFailedError(
                    f"no architecture could be scored on shared weights, the last with: {reason}; mend the "
                    "cause and `octnas resume` goes on"
                )
        else:
            self.note(f"{job.supernet.backbone} could not be timed: {reason}")

    def ended(self, job_id: str) -> None:
        """A job returned; a supernet that a former life had trained to its end is complete."""
        job = self._running[job_id][0] if job_id in self._running else None
        if isinstance(job, SupernetJob):
            supernet = self._supernet(job)
            if supernet.epochs >= self._planned.epochs:
                self._leave(job_id)
                self._end(supernet, "complete")
                return
        self.fail(job_id, "the job ended early")

    def stop_running(self, reason: str) -> None:
        """Ends what is running: supernets as they are, batches without scores."""
        for job_id in list(self._running):
            job = self._leave(job_id)
            if isinstance(job, SupernetJob):
                self._cut(self._supernet(job))
            elif isinstance(job, ScoringJob):
                self._scoring.give_back(job.targets)

    def close(self) -> None:
        """Nothing will be started any more: what a time limit left ends as it is."""
        if self.halted or self._supernets is None:
            return
        for supernet in self._supernets.unended:
            self._cut(supernet)

    # ---------------------------------------------------------------- where it stands
    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the jobs under way."""
        return tuple(self._running)

    @property
    def has_work(self) -> bool:
        """Whether anything is left to train or to score."""
        if self._past(1.0):
            return False
        if self._supernets is None or self._supernets.unended:
            return True
        return bool(self._supernets.complete) and not self._scoring.over

    @property
    def scores(self) -> tuple[SharedScore, ...]:
        """All shared scores so far."""
        return tuple(self._scoring.scores)

    @property
    def supernets(self) -> tuple[SupernetRecord, ...]:
        """Each backbone's, the dearest first."""
        if self._supernets is None:
            return tuple(Supernet(name).record for name in self._costs)
        return tuple(each.record for each in self._supernets.all)

    def note(self, text: str, kind: Kind = "note") -> None:
        """Tells the listeners what is going on."""
        self._tell(kind, text=text)

    # ---------------------------------------------------------------- inside
    def _take_up(self) -> None:
        """Where a former life ended. Without a time limit supernets have their usual length."""
        planned = [event["length"] for event in self._events if event["event"] == "supernet-plan"]
        known = supernets(self._events)
        over = {each.backbone for each in known if each.state != "running"} >= set(self._costs)
        if planned or over:
            self._length = float(planned[-1]) if planned else self._usual
            self._supernets = self._made()
        elif self._limit is None:
            self._plan(self._usual)

    def _plan(self, length: float) -> None:
        self.run.journal.append({"event": "supernet-plan", "length": length})
        self._length = length
        self._supernets = self._made()

    def _made(self) -> Supernets:
        return Supernets(
            list(self._costs),
            epochs=self._recipes.epochs(self._length),
            drops=self._drops,
            images=self._images,
            events=self._events,
        )

    def _fitted(self) -> float:
        """The usual length, or less where there is no time for it."""
        assert self._limit is not None
        paces = [each for each in self._paces.values() if each is not None]
        if not paces:
            return self._usual
        length = fitted_length(
            paces,
            usual=self._usual,
            score=self._scoring.total,
            workers=self.workers,
            seconds=(SUPERNETS_PART if self._scoring.total else 1.0) * (self._limit.deadline - self._clock()),
        )
        if length < self._usual:
            self.note(shortened_text(length, self._usual))
        return length

    @property
    def _planned(self) -> Supernets:
        assert self._supernets is not None
        return self._supernets

    def _supernet(self, job: SupernetJob) -> Supernet:
        return self._planned[job.backbone]

    def _past(self, part: float) -> bool:
        """Whether that part of the time until the limit is over."""
        if self._limit is None:
            return False
        return self._clock() >= self._start + part * (self._limit.deadline - self._start)

    @property
    def _time_to_score(self) -> bool:
        return self._past(SUPERNETS_PART if self._scoring.total else 1.0)

    def _next_supernet(self) -> SharedJob | None:
        planned = self._planned
        while (supernet := planned.next()) is not None:
            reason = planned.hopeless(supernet)
            if reason is not None:
                self._end(supernet, "dropped", reason)
            elif self._time_to_score:
                self._cut(supernet)
            else:
                supernet.under_way = True
                probed = planned.lacks_probes(supernet)
                until = planned.until(supernet)
                job = self._recipes.supernet(supernet, length=self._length, until=until, probed=probed)
                return self._begin(job)
        return None

    def _next_batch(self) -> SharedJob | None:
        planned = self._planned
        found = self._scoring.next(planned.complete, whole=not planned.unended)
        if found is None:
            return None
        self._batches += 1
        return self._begin(self._recipes.scoring(self._batches, *found))

    def _begin(self, job: SharedJob) -> SharedJob:
        self._running[job.id] = job, self._clock()
        self._tell("started")
        return job

    def _leave(self, job_id: str) -> SharedJob:
        job, _ = self._running.pop(job_id)
        if isinstance(job, SupernetJob):
            self._supernet(job).under_way = False
        return job

    def _trained(self, job: SupernetJob, score: EpochScore) -> bool:
        supernet, planned = self._supernet(job), self._planned
        if score.non_finite:
            self.fail(job.id, f"{score.non_finite} in epoch {score.epoch}")
            return False
        if score.epoch > supernet.epochs:  # a training that is repeated after a death repeats its scores
            event = {"event": "supernet", "backbone": job.backbone, "score": score.to_dict()}
            self.run.journal.append(event)
            planned.take(supernet, score)
            self._durations.epoch(job.backbone, score.seconds)
        if supernet.epochs >= planned.epochs:
            self._leave(job.id)
            self._end(supernet, "complete")
            return False
        reason = planned.hopeless(supernet)
        if reason is not None or self._time_to_score:
            self._leave(job.id)
            if reason is not None:
                self._end(supernet, "dropped", reason)
            else:
                self._cut(supernet)
            return False
        self._tell("supernet", supernet=supernet.record)
        return True

    def _probed(self, job: SupernetJob, values: Sequence[Sequence[float]]) -> None:
        supernet = self._supernet(job)
        accuracies = [float(accuracy) for accuracy, _ in values]
        if not all(map(math.isfinite, accuracies)):
            self.fail(job.id, f"an accuracy of its probes is not finite: {accuracies}")
            return
        points = tuple(zip(accuracies, self._recipes.costs(job.backbone), strict=True))
        event = {"event": "probes", "backbone": job.backbone, "epoch": supernet.epochs, "points": points}
        self.run.journal.append(event)
        supernet.probes = points
        self._leave(job.id)

    def _scored(self, job: ScoringJob, values: Sequence[tuple[float | None, Any]]) -> None:
        begun = self._running[job.id][1]
        self._leave(job.id)
        for target, (accuracy, loss) in zip(job.targets, values, strict=True):
            if accuracy is None:
                self._unscored(target, str(loss))
                continue
            score = self._recipes.score(target, accuracy, loss)
            self.run.journal.append(score.to_event())
            self._scoring.tell(score)
        self._durations.scores(len(job.targets), self._clock() - begun)
        self._tell("scored")

    def _unscored(self, target: Any, reason: str) -> None:
        self.run.journal.append(unscored_event(target, reason))
        self._scoring.fail(target)

    def _cut(self, supernet: Supernet) -> None:
        """The time is over: weights that are there are used as they are."""
        if supernet.epochs and self.run.supernet(supernet.backbone).is_file():
            cut = f"{TIME_LIMIT} after epoch {supernet.epochs} of {self._planned.epochs}"
            self._end(supernet, "complete", cut)
        else:
            self._end(supernet, "dropped", TIME_LIMIT)

    def _end(self, supernet: Supernet, state: SupernetState, reason: str | None = None) -> None:
        supernet.state, supernet.reason = state, reason
        self.run.journal.append(
            {
                "event": "supernet-end",
                "backbone": supernet.backbone,
                "state": state,
                "reason": reason,
                "seconds": round(supernet.seconds, 3),
            }
        )
        self._tell("supernet", supernet=supernet.record)
        ends = {each.state for each in self._planned.all}
        if "failed" in ends and not ends & {"running", "complete"}:
            self.fault = self.fault or SearchFailedError(
                f"no backbone has shared weights: the supernet of {supernet.backbone} {state} last, with: "
                f"{reason}; mend the cause and search under another name"
            )

    def _tell(self, kind: Kind, *, text: str = "", supernet: SupernetRecord | None = None) -> None:
        training = [job.backbone for job, _ in self._running.values() if isinstance(job, SupernetJob)]
        progress = progress_of(self._supernets, training, self._scoring)
        left = self._durations.left(self._supernets, self._scoring.total - self._scoring.done)
        self._audience.tell(kind, progress, left=left, text=text, supernet=supernet)
