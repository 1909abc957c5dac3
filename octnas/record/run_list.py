"""What `octnas list` shows: each run of the home folder in a line, damaged ones too."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from octnas.record.journal import Journal, replay
from octnas.record.runs import SearchHeader, run_events, run_names, run_path
from octnas.record.shared import supernets
from octnas.record.trial import TrialState

__all__ = ["RunSummary", "list_runs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """One line of `octnas list`. `state` is running, complete, interrupted, failed or damaged."""

    name: str
    state: str
    trials: int
    finished: int
    space: str = ""
    budget_gflops: float | None = None
    budget_ms: float | None = None
    created: str = ""
    kind: str = "search"
    """"search", or "supernet": shared weights by themselves, without trials."""
    supernets: int = 0
    """Backbones whose shared weights are trained."""
    scored: int = 0
    """Architectures that have a shared score."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return dataclasses.asdict(self)


def list_runs() -> list[RunSummary]:
    """All runs, sorted by name; those whose journal is damaged too."""
    return [_summary(name) for name in run_names()]


def _summary(name: str) -> RunSummary:
    path = run_path(name)
    try:
        header = next(run_events(path))["header"]
        found = _Found()
        if header.get("options", {}).get("networks"):
            # a user's network would have to be made, which its code may not be there for any more
            for _ in found.noted(run_events(path)):
                pass
        else:
            SearchHeader.from_dict(header)
            replay(found.noted(run_events(path)))
        return RunSummary(
            name=name,
            state="running" if Journal(path / "journal.jsonl").in_use else found.state,
            trials=len(found.states),
            finished=sum(TrialState(state).final for state in found.states.values()),
            space=str(header.get("space", "")),
            budget_gflops=_number(header["budget_gflops"]),
            budget_ms=_number(header.get("budget_ms")),
            created=str(header.get("created", "")),
            kind=str(header.get("options", {}).get("kind", "search")),
            supernets=sum(each.state == "complete" for each in supernets(found.supernets)),
            scored=found.scored,
        )
    except Exception:  # what a damaged line leads to is not foreseen
        # A list of runs must show the damaged ones too: they can be deleted.
        return RunSummary(name=name, state="damaged", trials=0, finished=0)


def _number(value: object) -> float | None:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    raise ValueError(f"a number must be there, but got {value!r}")


class _Found:
    """What a line of `octnas list` needs of the events that pass by."""

    def __init__(self) -> None:
        self.state = "interrupted"
        self.states: dict[str, str] = {}
        """Of each trial, the last."""
        self.supernets: list[dict[str, Any]] = []
        self.scored = 0

    def noted(self, events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The events, each noted."""
        for event in events:
            kind = event["event"]
            if kind == "end":
                self.state = str(event["state"])
            elif kind in ("resume", "trial", "score", "supernet", "shared"):
                self.state = "interrupted"
            if kind == "trial":
                self.states[event["trial"]["id"]] = event["trial"]["state"]
            elif kind in ("supernet", "supernet-end"):
                self.supernets.append(event)
            elif kind == "shared" and event["accuracy"] is not None:
                self.scored += 1
            yield event
