"""Who trained what when, from a run's journal: the stretches in which a worker trained a trial.

A span begins where its first epoch began (the time of that score less its seconds), so what a worker waits
between two trainings is in none. The journal's times are a wall clock's, which may be set back: a time before
the one of the line before counts as that one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Ending", "Span", "SpanReader", "spans"]

Ending = Literal["paused", "complete", "stopped", "failed", "interrupted"]
"""What a training ended as; "interrupted": its worker was lost, or the search ended or died, and the trial
went on in another span, or will when the search is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One stretch of a trial's training; times are seconds since the search's first line."""

    trial_id: str
    start: float
    end: float | None
    """None: under way, as far as the journal tells."""
    ending: Ending | None
    """None: under way."""
    worker: str | None
    """HOST/PID; None in the journals of older versions, and where a training had no score yet."""
    lane: int
    """Row of a picture, from 0: each worker's own, in the order of their first spans; after them as few as
    keep those without a worker apart."""
    confirming: bool = False
    """Whether it trained the architecture once more, to confirm a claim."""


def spans(events: Iterable[Mapping[str, Any]]) -> tuple[Span, ...]:
    """The spans of a run's journal, sorted by their starts."""
    reader = SpanReader()
    for event in events:
        reader.take(event)
    return reader.spans()


@dataclass(slots=True, kw_only=True)
class _Open:
    """A training under way."""

    trial_id: str
    asked: float
    """When it was handed out."""
    confirming: bool = False
    start: float | None = None
    """Of its first epoch; None before the first score."""
    scored: float = 0.0
    """When its last score came."""
    worker: str | None = None


@dataclass(slots=True, kw_only=True)
class _Closed:
    training: _Open
    end: float | None
    ending: Ending | None

    @property
    def start(self) -> float:
        training = self.training
        return training.asked if training.start is None else training.start


class SpanReader:
    """Takes the events of a journal one by one, in their order, and tells the spans at any moment."""

    def __init__(self) -> None:
        self._origin: float | None = None
        self._now = 0.0
        self._session = 0.0
        self._open: dict[str, _Open] = {}
        self._closed: list[_Closed] = []
        self._epochs: dict[str, int] = {}
        self._free: dict[str, float] = {}
        """When each worker ended its last span."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Takes in the next event."""
        before = self._now
        if "time" in event:
            if self._origin is None:
                self._origin = float(event["time"])
            self._now = max(before, float(event["time"]) - self._origin)
        match event["event"]:
            case "trial":
                self._trial(event["trial"])
            case "score":
                self._score(str(event["id"]), event["score"])
            case "confirming":
                key = _confirmation(event)
                self._open[key] = _Open(trial_id=str(event["id"]), asked=self._now, confirming=True)
            case "confirm":
                self._confirmed(event)
            case "unconfirmed":
                self._close(_confirmation(event), "failed")
            case "end":
                over: Ending = "stopped" if event.get("state") == "complete" else "interrupted"
                self._close_all(over, self._now)
            case "resume":
                self._close_all("interrupted", before)  # of a search that died nobody wrote that it ended
                self._session = self._now

    def spans(self) -> tuple[Span, ...]:
        """The spans so far, sorted by their starts."""
        under_way = (_Closed(training=each, end=None, ending=None) for each in self._open.values())
        found = sorted((*self._closed, *under_way), key=lambda each: each.start)
        return tuple(
            Span(
                trial_id=each.training.trial_id,
                start=round(each.start, 3),
                end=None if each.end is None else round(each.end, 3),
                ending=each.ending,
                worker=each.training.worker,
                lane=lane,
                confirming=each.training.confirming,
            )
            for each, lane in zip(found, _lanes(found), strict=True)
        )

    def _trial(self, trial: Mapping[str, Any]) -> None:
        trial_id, scores = str(trial["id"]), trial.get("scores", ())
        if scores:
            self._score(trial_id, scores[-1])
        if trial["state"] != "running":
            self._close(trial_id, trial["state"])
        elif trial_id not in self._open:
            self._open[trial_id] = _Open(trial_id=trial_id, asked=self._now)

    def _score(self, trial_id: str, score: Mapping[str, Any]) -> None:
        epoch, worker = int(score["epoch"]), score.get("worker")
        if epoch <= self._epochs.get(trial_id, 0):
            return
        self._epochs[trial_id] = epoch
        training = self._open.get(trial_id)
        if training is not None and worker != training.worker and training.start is not None:
            self._close(trial_id, "interrupted", training.scored)
            training = _Open(trial_id=trial_id, asked=training.scored)
        elif training is None:  # it goes on where a search that was resumed found it
            training = _Open(trial_id=trial_id, asked=self._session)
        if training.start is None:
            began = max(training.asked, self._now - float(score["seconds"]))
            training.start = max(began, self._free.get(worker, 0.0)) if worker else began
        training.scored, training.worker = self._now, worker
        self._open[trial_id] = training

    def _confirmed(self, event: Mapping[str, Any]) -> None:
        key, trial_id = _confirmation(event), str(event["id"])
        if key not in self._open:  # older versions did not write when it began, but the last epoch's time
            seconds = float(event.get("seconds", 0.0)) * self._epochs.get(trial_id, 1)
            began = max(self._session, self._now - seconds)
            self._open[key] = _Open(trial_id=trial_id, asked=began, confirming=True)
        self._open[key].worker = event.get("worker")
        self._close(key, "complete")

    def _close(self, key: str, ending: Ending, end: float | None = None) -> None:
        training = self._open.pop(key, None)
        if training is None:
            return
        closed = _Closed(training=training, end=self._now if end is None else end, ending=ending)
        self._closed.append(closed)
        if training.worker is not None and closed.end is not None:
            self._free[training.worker] = closed.end

    def _close_all(self, ending: Ending, end: float) -> None:
        for key in list(self._open):
            self._close(key, ending, end)


def _confirmation(event: Mapping[str, Any]) -> str:
    return f"{event['id']}.seed{event['seed']}"


def _lanes(found: list[_Closed]) -> list[int]:
    """The row of each, by their starts: a worker's own, or the lowest one that is free."""
    workers = list(dict.fromkeys(each.training.worker for each in found if each.training.worker is not None))
    own = {worker: lane for lane, worker in enumerate(workers)}
    free: list[int] = []
    taken: list[tuple[float, int]] = []
    lanes = []
    for each in found:
        if each.training.worker is not None:
            lanes.append(own[each.training.worker])
            continue
        while taken and taken[0][0] <= each.start:
            heapq.heappush(free, heapq.heappop(taken)[1])
        lane = heapq.heappop(free) if free else len(own) + len(taken)
        heapq.heappush(taken, (math.inf if each.end is None else each.end, lane))
        lanes.append(lane)
    return lanes
