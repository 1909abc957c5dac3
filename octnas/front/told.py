"""What a run's journal tells beside its trials' records: in which order they were complete, who trained what
when, and what is known of shared weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from octnas.front.shared import Shared, shared_of
from octnas.front.spans import Span, SpanReader
from octnas.record import SearchHeader, TrialState
from octnas.record.journal import TRIAL_EVENTS

__all__ = ["Told"]


class Told:
    """Takes the events of a journal in their order, and tells what is known at any moment."""

    def __init__(self) -> None:
        self._finished: dict[str, None] = {}
        self._others: list[Mapping[str, Any]] = []
        self._spans = SpanReader()

    def take(self, event: Mapping[str, Any]) -> None:
        """Takes in the next event."""
        if event["event"] == "trial":
            if event["trial"]["state"] == str(TrialState.COMPLETE):
                self._finished[str(event["trial"]["id"])] = None
        elif event["event"] not in TRIAL_EVENTS:
            self._others.append(event)
        self._spans.take(event)

    def passing(self, events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The same events, each taken in before it goes on."""
        for event in events:
            self.take(event)
            yield event

    @property
    def finished(self) -> tuple[str, ...]:
        """Ids of the complete trials, in the order in which they became so."""
        return tuple(self._finished)

    def spans(self) -> tuple[Span, ...]:
        """Who trained what when, so far."""
        return self._spans.spans()

    def shared(self, header: SearchHeader) -> Shared | None:
        """What is known of shared weights; None where the search has none."""
        return shared_of(header, self._others)
