"""SearchResult: the trials of a search, their front and the figures read from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from octnas.architecture import Architecture
from octnas.front import pareto
from octnas.front.axis import Axis
from octnas.front.claim import Claim, claim
from octnas.front.correlation import Agreement
from octnas.front.describe import networks_document, slower_than_plain
from octnas.front.shared import Shared, own_agreement
from octnas.front.spans import Span
from octnas.front.staircase import Staircase
from octnas.front.told import Told
from octnas.front.trust import rank_warning
from octnas.record import Objective, RunFolder, SearchHeader, TrialRecord, TrialState, replay
from octnas.record.trainings import Training, trainings

__all__ = ["SearchResult"]


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search was asked for and all its trials as they stand.

    `finished` are the ids of the complete trials in the order in which they became so, as a run's journal
    tells; where it is not known it is empty, and `hypervolume_by_trial` takes the order of starting. `shared`
    is what the run knows of shared weights, `rank_warning` what `octnas rank` found against its proxy,
    `spans` which worker trained what when, `trainings` what `octnas train` made of its trials.
    """

    header: SearchHeader
    records: tuple[TrialRecord, ...]
    finished: tuple[str, ...] = field(default=(), compare=False)
    shared: Shared | None = None
    rank_warning: str | None = None
    spans: tuple[Span, ...] = field(default=(), compare=False)
    trainings: tuple[Training, ...] = field(default=(), compare=False)

    @classmethod
    def from_run(cls, name: str) -> SearchResult:
        """The result of a run, finished or under way, from its journal.

        Raises:
            RunError: there is no such run, or its journal cannot be read.
        """
        return cls.of(RunFolder.open(name))

    @classmethod
    def of(cls, run: RunFolder) -> SearchResult:
        """The result of an open run, from its journal.

        Raises:
            RunError: the journal cannot be read.
        """
        told = Told()
        records = replay(told.passing(run.journal.events()))
        return cls.told_of(run, records, told)

    @classmethod
    def told_of(cls, run: RunFolder, records: Iterable[TrialRecord], told: Told) -> SearchResult:
        """The result of an open run whose records are known, and what else its journal tells."""
        return cls(
            header=run.header,
            records=tuple(records),
            finished=told.finished,
            shared=told.shared(run.header),
            rank_warning=rank_warning(run),
            spans=told.spans(),
            trainings=trainings(run),
        )

    def __repr__(self) -> str:
        from octnas.front.inline import one_line

        return one_line(self)

    def _repr_html_(self) -> str:
        """What a notebook shows; see `octnas.front.inline`."""
        from octnas.front.inline import inline_html

        return inline_html(self)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.header.name

    @property
    def budget_gflops(self) -> float | None:
        """The most GFLOPs (10^9 multiply-adds) of the target network; None: no such limit."""
        return self.header.budget_gflops

    @property
    def budget_ms(self) -> float | None:
        """The most predicted latency of the target network in ms; None: no such limit."""
        return self.header.budget_ms

    @property
    def objective(self) -> Objective:
        """The cost on the front's axis."""
        return self.header.objective

    @property
    def axis(self) -> Axis:
        """The front's cost in words, and the device of its latencies."""
        return Axis.of(self.header)

    @property
    def device(self) -> str | None:
        """The device for which latencies are predicted; None where the search had no profile."""
        return None if self.header.profile is None else str(self.header.profile["device"])

    @property
    def budget(self) -> float | None:
        """The budget on the front's axis; None where the search's only budget is of the other cost."""
        return self.budget_gflops if self.objective == "gflops" else self.budget_ms

    @cached_property
    def limit(self) -> float:
        """The cost up to which the front is counted: the budget of its axis, else the largest of the space.

        The search writes the latter into its header's options as "limit".
        """
        if self.budget is not None:
            return self.budget
        costs = (each.cost(self.objective) for each in self.records if each.within_budget)
        # "limit" may be off by less than a trial's last digit, and no trial within the budgets is left out
        return max(float(self.header.options.get("limit", 0.0)), *costs, 0.0)

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials that started, yardsticks among them, in the order in which they started."""
        return self.records

    @cached_property
    def front(self) -> list[TrialRecord]:
        """The non-dominated trials, sorted by cost; see `octnas.front.pareto`."""
        return pareto.pareto_front(self.records, self.limit, self.objective)

    @cached_property
    def compared(self) -> list[TrialRecord]:
        """The front and the yardsticks, those over a budget too, sorted by cost."""
        front = {record.id for record in self.front}
        shown = [each for each in self.records if each.id in front or each.yardstick is not None]
        return sorted(shown, key=lambda each: (each.cost(self.objective), each.id))

    @cached_property
    def best(self) -> TrialRecord | None:
        """The most accurate member of the front that is no yardstick, ties to the cheaper."""
        return pareto.best(self.records, self.limit, self.objective)

    @cached_property
    def hypervolume(self) -> float:
        """The share (0 to 1) of the area below `limit` and accuracy 1 that the front dominates."""
        return pareto.hypervolume(self.records, self.limit, self.objective)

    @cached_property
    def hypervolume_by_trial(self) -> tuple[tuple[TrialRecord, float], ...]:
        """Each complete trial with the hypervolume once it was there, which never falls.

        In the order of finishing where `finished` tells it, else of starting. Trials that were stopped or
        failed are left out: they change no front.
        """
        place = {trial_id: number for number, trial_id in enumerate(self.finished)}
        complete = [record for record in self.records if record.state is TrialState.COMPLETE]
        complete.sort(key=lambda record: place.get(record.id, len(place)))
        known = {record.id: record for record in complete}
        front = Staircase()
        volumes: list[tuple[TrialRecord, float]] = []
        volume = 0.0
        for record in complete:
            if pareto.takes_part(record, self.limit, self.objective):
                cost, accuracy = record.cost(self.objective), record.accuracy or 0.0
                if front.add(record.id, cost, accuracy) is not None:
                    members = [known[each] for each in front]
                    volume = pareto.hypervolume(members, self.limit, self.objective)
            volumes.append((record, volume))
        return tuple(volumes)

    @cached_property
    def claim(self) -> Claim | None:
        """What may be said of candidate and yardstick after both were confirmed; see `octnas.front.claim`."""
        return claim(self)

    @property
    def init(self) -> str:
        """Where trials' weights come from: "scratch", "shared", "torchvision" or a path."""
        return str(self.header.options.get("init", "scratch"))

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """Of all trials, then of all shared scores."""
        scored = () if self.shared is None else self.shared.scores
        return (*(each.architecture for each in self.records), *(each.architecture for each in scored))

    @cached_property
    def agreement(self) -> Agreement:
        """How shared scores agree with this search's own trainings; see `octnas.front.shared`."""
        return own_agreement(self.records, () if self.shared is None else self.shared.scores)

    @property
    def timed(self) -> bool:
        """Whether latencies are known, for tables and pictures to show."""
        return any(record.latency_ms is not None for record in self.records)

    @cached_property
    def mixed(self) -> bool:
        """Whether backbones of 2D and of 3D take part, so that tables and pictures must tell them apart."""
        return len({each.dims for each in self.architectures}) > 1

    def slower_than_plain(self, record: TrialRecord) -> bool | None:
        """Whether it is predicted to be slower than its plain network; see `octnas.front.describe`."""
        return slower_than_plain(self.header, record)

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
            "budget_ms": self.budget_ms,
            "objective": self.objective,
            "limit": self.limit,
            "device": self.device,
            "hypervolume": self.hypervolume,
            "hypervolume_by_trial": [
                {"trial": record.id, "hypervolume": volume} for record, volume in self.hypervolume_by_trial
            ],
            "claim": None if self.claim is None else self.claim.to_dict(),
            "front": [record.id for record in self.front],
            "best": None if self.best is None else self.best.id,
            "space": self.header.space,
            "data": self.header.data,
            "seed": self.header.seed,
            "init": self.init,
            **networks_document(self.header),
            "shared": None if self.shared is None else self.shared.to_dict(self.agreement),
            "rank_warning": self.rank_warning,
            "trials": [
                {**record.summary(), "slower_than_plain": self.slower_than_plain(record)}
                for record in self.trials
            ],
        }
