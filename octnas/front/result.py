"""SearchResult: the trials of a search, their front and the figures read from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from octnas.front import pareto
from octnas.record import RunFolder, SearchHeader, TrialRecord

__all__ = ["SearchResult"]


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search was asked for and all its trials as they stand."""

    header: SearchHeader
    records: tuple[TrialRecord, ...]

    @classmethod
    def from_run(cls, name: str) -> SearchResult:
        """The result of a run, finished or under way, from its journal.

        Raises:
            RunError: there is no such run, or its journal cannot be read.
        """
        run = RunFolder.open(name)
        return cls(header=run.header, records=tuple(run.records()))

    @property
    def name(self) -> str:
        """The run's name."""
        return self.header.name

    @property
    def budget_gflops(self) -> float:
        """The largest cost allowed, in 10^9 multiply-adds of the target network."""
        return self.header.budget_gflops

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials that started, yardsticks among them, in the order in which they started."""
        return self.records

    @cached_property
    def front(self) -> list[TrialRecord]:
        """The non-dominated trials, sorted by GFLOPs; see `octnas.front.pareto`."""
        return pareto.pareto_front(self.records, self.budget_gflops)

    @cached_property
    def compared(self) -> list[TrialRecord]:
        """The front and the yardsticks, those over the budget too, sorted by GFLOPs."""
        front = {record.id for record in self.front}
        shown = [each for each in self.records if each.id in front or each.yardstick is not None]
        return sorted(shown, key=lambda each: (each.gflops, each.id))

    @cached_property
    def best(self) -> TrialRecord | None:
        """The most accurate member of the front that is no yardstick, ties to the cheaper."""
        return pareto.best(self.records, self.budget_gflops)

    @cached_property
    def hypervolume(self) -> float:
        """The share (0 to 1) of the area below the budget and accuracy 1 that the front dominates."""
        return pareto.hypervolume(self.records, self.budget_gflops)

    @property
    def noise_points(self) -> float | None:
        """Standard deviation of accuracy from seed to seed in percentage points, if the space's was measured.

        The search writes it into its header's options as "noise_points".
        """
        value = self.header.options.get("noise_points")
        return None if value is None else float(value)

    def to_dict(self) -> dict[str, Any]:
        """What `search --json`, `resume --json` and `front --json` print."""
        return {
            "name": self.name,
            "budget_gflops": self.budget_gflops,
            "hypervolume": self.hypervolume,
            "front": [record.id for record in self.front],
            "best": None if self.best is None else self.best.id,
            "space": self.header.space,
            "data": self.header.data,
            "seed": self.header.seed,
            "trials": [record.summary() for record in self.trials],
        }
