"""Which architectures get a shared score, in which order. Pure logic; nothing here scores.

While supernets are still being trained, idle workers score a spread of each finished backbone's members,
yardsticks first: a fifth of all. Then the search's own sampler is asked, a round at a time, told with the
shared scores as if they were trained ones. The last fifth is what a predictor ranks first of all the rest,
where it is of use (`octnas.engine.predictor`); where it is not the sampler goes on.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from octnas.architecture import Architecture
from octnas.engine.shared_jobs import BATCH
from octnas.front.smoothing import Lines
from octnas.record import SharedScore, TrialRecord, TrialState
from octnas.space import Feasible

__all__ = ["ROUND", "SPREAD", "Batch", "Batches", "Scoring", "as_record", "restricted"]

ROUND = 32
"""Architectures that are asked for from one model, at least."""
SPREAD = 5
"""One part in so many is a spread of all, and as many are left for the predictor."""
ENOUGH = 50
"""Architectures to score from which on a predictor is worth the while."""

Batch = tuple[str, tuple[Architecture, ...]]
"""A backbone and some of its target architectures."""


class Batches(Protocol):
    """What proposes many architectures at once."""

    def ask_batch(self, count: int) -> list[Architecture]: ...
    def add(self, architecture: Architecture) -> None: ...
    def tell(self, record: TrialRecord) -> None: ...


class Prediction(Protocol):
    """What a predictor says of the rest of a space."""

    @property
    def architectures(self) -> Sequence[Architecture]: ...
    @property
    def useful(self) -> bool: ...
    def to_dict(self) -> dict[str, Any]: ...


MakeBatches = Callable[[Feasible], Batches]
Predict = Callable[[Sequence[SharedScore], Feasible, int], Prediction]


class Scoring:
    """What is still to be scored.

    Args:
        feasible: the members within the budgets.
        total: architectures to score.
        seed: of the spread.
        workers: batches that are scored at once.
        events: the journal so far.
        first: members that are scored before any other of their backbones: yardsticks.
        batches: makes what proposes, for a feasible set whose backbones all have weights.
        predict: ranks the rest; None: nothing does.
        on_prediction: told what was predicted, before it is used.
    """

    def __init__(
        self,
        feasible: Feasible,
        *,
        total: int,
        seed: int,
        workers: int,
        events: Iterable[Mapping[str, Any]],
        scores: Iterable[SharedScore],
        first: Sequence[Architecture] = (),
        batches: MakeBatches,
        predict: Predict | None = None,
        on_prediction: Callable[[Prediction], None] = lambda prediction: None,
    ) -> None:
        self.total = total
        self.scores = list(scores)
        self._feasible = feasible
        self._seed = seed
        self._workers = workers
        self._first = first
        self._make = batches
        self._predict = predict if total >= ENOUGH else None
        self._on_prediction = on_prediction
        self._batches: Batches | None = None
        self._lines = Lines(())
        self._within = feasible
        self._unscored = _unscored(events)
        self._known = {each.architecture.digest for each in self.scores}
        self._known |= {each.digest for each in self._unscored}
        self._done = len(self._known)
        self._spread: dict[str, list[Architecture]] = {}
        self._queue: deque[Batch] = deque()
        self._out: dict[str, Architecture] = {}
        self._exhausted = False

    @property
    def done(self) -> int:
        """Architectures that were scored, or could not be."""
        return self._done

    @property
    def over(self) -> bool:
        """Whether nothing is left to hand out."""
        return self._exhausted or self._done >= self.total

    def next(self, ready: Sequence[str], *, whole: bool) -> Batch | None:
        """What a free worker scores now; None where there is nothing at this moment.

        Args:
            ready: backbones that have their weights.
            whole: whether no other will have them.
        """
        if not self._queue:
            self._fill(ready, whole)
        if not self._queue:
            return None
        return self._queue.popleft()

    def tell(self, score: SharedScore) -> None:
        """One more score."""
        self.scores.append(score)
        self._left(score.architecture)
        if self._batches is not None:
            self._batches.tell(as_record(score, self._feasible, self._lines))

    def fail(self, architecture: Architecture) -> None:
        """An architecture that could not be scored."""
        self._unscored.append(architecture)
        self._left(architecture)

    def give_back(self, architectures: Iterable[Architecture]) -> None:
        """Architectures that were handed out and are not scored, now."""
        for each in architectures:
            self._out.pop(each.digest, None)

    # ---------------------------------------------------------------- inside
    def _left(self, architecture: Architecture) -> None:
        self._out.pop(architecture.digest, None)
        self._known.add(architecture.digest)
        self._done = len(self._known)

    @property
    def _open(self) -> int:
        """Places that nothing is handed out for."""
        return self.total - self._done - len(self._out)

    def _fill(self, ready: Sequence[str], whole: bool) -> None:
        if self._open <= 0 or not ready:
            return
        spread = [each for name in ready for each in self._spread_of(name) if not self._has(each)]
        if spread:
            self._enqueue(spread[: self._open])
        elif whole:
            self._ask(ready)

    def _spread_of(self, backbone: str) -> list[Architecture]:
        if backbone not in self._spread:
            rng = np.random.default_rng([self._seed, 1, *backbone.encode()])
            quota = self.total // SPREAD // len(self._feasible.backbones)
            own = {each.digest: each for each in self._first if each.backbone == backbone}
            for _ in range(quota):
                drawn = self._feasible.sample(rng, backbone)
                own.setdefault(drawn.digest, drawn)
            self._spread[backbone] = list(own.values())
        return self._spread[backbone]

    def _ask(self, ready: Sequence[str]) -> None:
        if self._batches is None:
            self._begin(ready)
        assert self._batches is not None
        reserve = self.total // SPREAD if self._predict is not None else 0
        if self._predict is not None and self._open <= reserve:
            if self._out:
                return  # it learns from all there are
            predict, self._predict = self._predict, None
            prediction = predict(self.scores, self._within, self._open)
            self._on_prediction(prediction)
            found = [each for each in prediction.architectures if not self._has(each)]
            if prediction.useful and found:
                for each in found:
                    self._batches.add(each)
                self._enqueue(found[: self._open])
                return
            reserve = 0
        count = min(max(ROUND, 2 * self._workers), self._open - reserve)
        asked = self._batches.ask_batch(count)
        self._exhausted = not asked and not self._out
        self._enqueue(asked)

    def _begin(self, ready: Sequence[str]) -> None:
        """Makes the sampler, for the backbones that have weights, and tells it all there is."""
        self._within = restricted(self._feasible, ready)
        self._batches = self._make(self._within)
        self._lines = Lines(self.scores)
        for score in self.scores:
            if score.architecture.backbone in ready:
                self._batches.add(score.architecture)
                self._batches.tell(as_record(score, self._feasible, self._lines))
        for each in (*self._unscored, *self._out.values()):
            self._batches.add(each)

    def _enqueue(self, architectures: Sequence[Architecture]) -> None:
        """In batches of one backbone each, for all workers."""
        size = min(BATCH, math.ceil(len(architectures) / self._workers))
        by_backbone: dict[str, list[Architecture]] = {}
        for each in architectures:
            by_backbone.setdefault(each.backbone, []).append(each)
        for backbone, own in by_backbone.items():
            for start in range(0, len(own), size):
                self._queue.append((backbone, tuple(own[start : start + size])))
        self._out |= {each.digest: each for each in architectures}

    def _has(self, architecture: Architecture) -> bool:
        return architecture.digest in self._known or architecture.digest in self._out


def as_record(score: SharedScore, feasible: Feasible, lines: Lines) -> TrialRecord:
    """A shared score as a sampler is told of a trial, its accuracy smoothed."""
    return TrialRecord(
        id=score.architecture.digest,
        architecture=score.architecture,
        state=TrialState.COMPLETE,
        gflops=feasible.gflops(score.architecture),
        latency_ms=feasible.latency_ms(score.architecture),
        params=0,
        accuracy=lines(score),
        loss=score.loss,
        epochs=1,
    )


def restricted(feasible: Feasible, backbones: Sequence[str]) -> Feasible:
    """The part of a feasible set that has some of its backbones."""
    if set(backbones) >= set(feasible.backbones):
        return feasible
    return feasible.space.restricted(backbones=backbones).feasible(
        feasible.budget_gflops,
        budget_ms=feasible.budget_ms,
        profile=None if feasible.latencies is None else feasible.latencies.profile,
        objective=feasible.objective,
    )


def _unscored(events: Iterable[Mapping[str, Any]]) -> list[Architecture]:
    return [
        Architecture.from_json(json.dumps(event["architecture"]))
        for event in events
        if event["event"] == "shared" and event["accuracy"] is None
    ]
