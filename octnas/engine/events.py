"""What a search tells whoever listens: a progress display, the tracker, a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from octnas.engine.busy import Busy
from octnas.engine.plan import Plan
from octnas.engine.shared_progress import SharedProgress
from octnas.engine.standing import Standing
from octnas.front import SearchResult
from octnas.record import SupernetRecord, TrialRecord, TrialState

__all__ = ["Kind", "Listener", "SearchEvent", "note_early", "search_event", "seconds_left"]

Kind = Literal[
    "begin", "note", "started", "score", "finished", "confirmed", "supernet", "scored", "pulse", "end"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchEvent:
    """One step of a search, with where the search stands after it."""

    kind: Kind
    name: str
    """Of the search."""
    planned: int
    """Candidates and yardsticks that the whole search trains. Before its trials, where it begins with shared
    weights: epochs of supernets, then architectures to score."""
    finished: int
    """Trials that are complete, stopped or failed; before them what is done of the above."""
    running: tuple[TrialRecord, ...]
    confirming: tuple[str, ...]
    """Trainings under way that confirm a claim, as TRIAL.seedSEED."""
    front: int
    """Members of the front so far."""
    best: TrialRecord | None
    """The most accurate complete trial within the budget."""
    epochs: int
    """Scores of a whole training."""
    rungs: tuple[int, ...] = ()
    """Epochs after which a candidate is compared with those before it."""
    so_far: SearchResult | None = None
    """The front and the yardsticks that are complete, without all else; the same object until they change.
    None before the trials."""
    seconds: float
    """Wall-clock since the search began, or was taken up again."""
    seconds_left: float | None
    """Estimate; None while nothing is known."""
    trial: TrialRecord | None = None
    states: Mapping[TrialState, int] = field(default_factory=dict)
    """How many trials are in each state; empty before the trials."""
    workers: int = 0
    """Jobs that run at once; 0 before the trials."""
    idle_share: float | None = None
    """Of the workers' time that was not in training steps, recently; None where it is not known."""
    images_per_second: float = 0.0
    """That all trainings under way train together."""
    proposal_seconds: float | None = None
    """What the sampler took for a proposal, where it made one since the last event."""
    text: str = ""
    """For people: what is being done (`note`) or how the search ended (`end`)."""
    shared: SharedProgress | None = None
    """Where supernets and scoring stand, before the trials."""
    supernet: SupernetRecord | None = None
    """The one that has a new score, or has ended (`supernet`)."""


Listener = Callable[[SearchEvent], None]


def note_early(listener: Listener | None, name: str, planned: int, text: str, kind: Kind = "note") -> None:
    """Tells a listener what is done before the search `name` begins."""
    if listener is None:
        return
    listener(
        SearchEvent(
            kind=kind,
            name=name,
            planned=planned,
            finished=0,
            running=(),
            confirming=(),
            front=0,
            best=None,
            epochs=0,
            seconds=0.0,
            seconds_left=None,
            text=text,
        )
    )


def search_event(
    kind: Kind,
    *,
    name: str,
    records: Mapping[str, TrialRecord],
    standing: Standing,
    plan: Plan,
    busy: Busy,
    running: Sequence[TrialRecord],
    confirming: tuple[str, ...],
    epochs: int,
    rungs: tuple[int, ...],
    seconds: float,
    bound: float | None,
    trial: TrialRecord | None,
    text: str,
) -> SearchEvent:
    """A step of the trials of a search.

    Args:
        records: of all trials that started, by their ids.
        standing: of those of them that are final.
        plan: the trials to come.
        busy: what the workers did so far.
        bound: seconds until a time limit.
    """
    planned, finished = len(records) + plan.left, standing.finished
    share = busy.recent_share()
    return SearchEvent(
        kind=kind,
        name=name,
        planned=planned,
        finished=finished,
        running=tuple(running),
        confirming=confirming,
        front=standing.front,
        best=standing.best(records),
        epochs=epochs,
        rungs=rungs,
        so_far=standing.so_far(),
        seconds=seconds,
        seconds_left=seconds_left(
            standing.seconds, trials=planned - finished, running=running, workers=busy.workers, bound=bound
        ),
        trial=trial,
        states=dict(standing.states),
        workers=busy.workers,
        idle_share=None if share is None else 1.0 - share,
        images_per_second=busy.images_per_second,
        proposal_seconds=plan.take_proposal_seconds(),
        text=text,
    )


def seconds_left(
    mean: float | None,
    *,
    trials: int,
    running: Iterable[TrialRecord],
    workers: int,
    bound: float | None,
) -> float | None:
    """Estimate from the mean wall-clock of the trials that finished; None while nothing is known.

    Args:
        mean: that; None while none finished.
        trials: those that are not final yet, started or not.
        running: those of them that have spent seconds already.
        bound: seconds until a time limit.
    """
    if mean is None:
        return bound
    under_way = sum(record.seconds for record in running)
    estimate = max(0.0, (trials * mean - under_way) / workers)
    return estimate if bound is None else min(estimate, bound)
