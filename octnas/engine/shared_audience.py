"""Tells whoever listens to a search where its supernets and shared scores stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from octnas.engine.events import Kind, Listener, SearchEvent
from octnas.engine.limits import Clock, TimeLimit
from octnas.engine.scoring import Scoring
from octnas.engine.shared_progress import SharedProgress
from octnas.engine.supernets import Supernets
from octnas.record import SupernetRecord

__all__ = ["Audience", "progress_of"]


class Audience:
    """The listeners of a search before its trials.

    Args:
        name: of the search.
        start: reading of the clock at which the search began.
    """

    def __init__(
        self,
        name: str,
        listeners: Iterable[Listener],
        *,
        limit: TimeLimit | None,
        clock: Clock,
        start: float,
    ) -> None:
        self._name = name
        self._listeners = tuple(listeners)
        self._limit = limit
        self._clock = clock
        self._start = start

    def tell(
        self,
        kind: Kind,
        progress: SharedProgress,
        *,
        left: float | None,
        text: str = "",
        supernet: SupernetRecord | None = None,
    ) -> None:
        """One event; `left` is the estimate of the seconds left, which no time limit bounds yet."""
        bound = None if self._limit is None else max(0.0, self._limit.deadline - self._clock())
        bounded = [each for each in (left, bound) if each is not None]
        planned, finished = progress.to_train, progress.trained
        if progress.scoring:
            planned, finished = progress.to_score, progress.scored
        event = SearchEvent(
            kind=kind,
            name=self._name,
            planned=planned,
            finished=finished,
            running=(),
            confirming=(),
            front=0,
            best=None,
            epochs=progress.epochs,
            seconds=self._clock() - self._start,
            seconds_left=min(bounded, default=None),
            text=text,
            shared=progress,
            supernet=supernet,
        )
        for listener in self._listeners:
            listener(event)


def progress_of(supernets: Supernets | None, training: Sequence[str], scoring: Scoring) -> SharedProgress:
    """Where all stands; `training` are the backbones whose supernets are trained now."""
    if supernets is None:
        return SharedProgress(to_score=scoring.total)
    epochs = supernets.epochs
    counted = [each for each in supernets.all if each.state in ("running", "complete")]
    return SharedProgress(
        running=tuple((name, supernets[name].epochs) for name in training),
        epochs=epochs,
        trained=sum(epochs if each.state == "complete" else each.epochs for each in counted),
        to_train=epochs * len(counted),
        scored=scoring.done,
        to_score=scoring.total,
    )
