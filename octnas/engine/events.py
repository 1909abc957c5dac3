"""What a search tells whoever listens: a progress display, the tracker, a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from octnas.record import TrialRecord

__all__ = ["Kind", "Listener", "SearchEvent"]

Kind = Literal["begin", "note", "started", "score", "finished", "end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchEvent:
    """One step of a search, with where the search stands after it."""

    kind: Kind
    name: str
    """Of the search."""
    planned: int
    """Candidates and yardsticks that the whole search trains."""
    finished: int
    """Trials that are complete, stopped or failed."""
    running: tuple[TrialRecord, ...]
    front: int
    """Members of the front so far."""
    best: TrialRecord | None
    """The most accurate complete trial within the budget."""
    epochs: int
    """Scores of a whole training."""
    seconds: float
    """Wall-clock since the search began, or was taken up again."""
    seconds_left: float | None
    """Estimate; None while nothing is known."""
    trial: TrialRecord | None = None
    text: str = ""
    """For people: what is being done (`note`) or how the search ended (`end`)."""


Listener = Callable[[SearchEvent], None]
