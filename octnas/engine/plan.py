"""What a search has still to start: yardsticks and candidates, in which order."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from octnas.architecture import Architecture
from octnas.record import SearchHeader, TrialRecord

__all__ = ["Plan", "Proposals"]


class Proposals(Protocol):
    """What proposes candidates."""

    def ask(self) -> Architecture | None: ...
    def add(self, architecture: Architecture) -> None: ...
    def tell(self, record: TrialRecord) -> None: ...


class Plan:
    """The trials that a search has still to start.

    Args:
        header: of the search.
        records: of the trials that it started already.
        proposer: proposes candidates; it knows the records.
    """

    def __init__(self, header: SearchHeader, records: Iterable[TrialRecord], proposer: Proposals) -> None:
        labels = {record.architecture.digest: record.yardstick for record in records}
        yardsticks = {digest for digest, label in labels.items() if label is not None}
        self.candidates = len(labels) - len(yardsticks)
        """Candidates that were started."""
        self.exhausted = False
        """Whether the space held fewer members within the budget than candidates were asked for."""
        self._proposal_seconds: float | None = None
        self._started = len(yardsticks)
        self._yardsticks = [each for each in header.yardsticks if each.architecture.digest not in yardsticks]
        self._trials = header.trials
        self._proposer = proposer

    @property
    def left(self) -> int:
        """Trials to come, as far as is known."""
        candidates = 0 if self.exhausted else max(0, self._trials - self.candidates)
        return len(self._yardsticks) + candidates

    @property
    def more_candidates(self) -> bool:
        """Whether a candidate may still be asked for."""
        return self.candidates < self._trials and not self.exhausted

    @property
    def more_yardsticks(self) -> bool:
        """Whether a yardstick may be started: each waits for its two candidates, so that at no time more than
        a third are yardsticks."""
        return bool(self._yardsticks) and 2 * (self._started + 1) <= self.candidates

    def next(self) -> tuple[Architecture, str | None] | None:
        """What is started next and its label, None for a candidate's; None where nothing is left."""
        if self.more_yardsticks:
            yardstick = self._yardsticks.pop(0)
            self._started += 1
            self._proposer.add(yardstick.architecture)
            return yardstick.architecture, yardstick.label
        if not self.more_candidates:
            return None
        began = time.perf_counter()
        proposed = self._proposer.ask()
        self._proposal_seconds = time.perf_counter() - began
        if proposed is None:
            self.exhausted = True
            return self.next()
        self.candidates += 1
        return proposed, None

    def take_proposal_seconds(self) -> float | None:
        """What the proposer took for its last answer, by the wall's clock; each is told once, then None."""
        taken, self._proposal_seconds = self._proposal_seconds, None
        return taken
