"""What both pictures draw: the trials sorted into layers, the lines, and the range worth showing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from octnas.front.axis import Axis
from octnas.front.cloud import Cloud, cloud_of, scored_at, widened
from octnas.front.describe import is_uniform
from octnas.front.pareto import pareto_front
from octnas.front.result import SearchResult
from octnas.record import TrialRecord, TrialState
from octnas.record.spread import on_validation

__all__ = [
    "BACKBONE_COLOURS",
    "VOLUMETRIC",
    "Confirmed",
    "Layers",
    "backbone_colours",
    "backbone_names",
    "sort_layers",
    "staircase",
]

VOLUMETRIC = "3D backbone"
"""What a picture calls the mark on trials of 3D backbones."""

BACKBONE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F5539", "#6A4C93")
"""Okabe and Ito's colours, told apart by colour-blind people too; the rest for spaces with many backbones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmed:
    """A trial with further seeds: the mean of its accuracies on validation images, and one deviation."""

    record: TrialRecord
    mean: float
    sd: float
    count: int

    @property
    def ends(self) -> tuple[float, float]:
        """Where its bar begins and ends."""
        return self.mean - self.sd, self.mean + self.sd


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    """The trials that have an accuracy, each in one group, sorted by cost, and the picture's range.

    `front` and `dominated` are complete candidates, `early` those stopped, paused or running; yardsticks are
    in `uniform`, `plain` (within the budgets) or `over` (over a budget). `slower` are those of them all that
    are predicted to be slower than plain, `volumetric` those of 3D backbones where there are 2D ones beside
    them. `uniform_line` is the non-dominated part of `uniform`, `confirmed` are those with an accuracy over
    two further seeds or more, whatever their group. `low` to `high` is the range of accuracy that shows every
    complete trial and the bars of confirming seeds, `left` to `right` the costs of what fits, with a strip
    beyond the budget. `cloud` are the shared scores, which widen a range as far as `octnas.front.cloud` lets
    them.
    """

    front: tuple[TrialRecord, ...]
    dominated: tuple[TrialRecord, ...]
    early: tuple[TrialRecord, ...]
    uniform: tuple[TrialRecord, ...]
    plain: tuple[TrialRecord, ...]
    over: tuple[TrialRecord, ...]
    slower: tuple[TrialRecord, ...]
    volumetric: tuple[TrialRecord, ...]
    front_line: tuple[TrialRecord, ...]
    uniform_line: tuple[TrialRecord, ...]
    confirmed: tuple[Confirmed, ...]
    cloud: Cloud | None
    axis: Axis
    low: float
    high: float
    left: float
    right: float

    @property
    def inside(self) -> tuple[TrialRecord, ...]:
        """The early trials that are not below `low`."""
        return tuple(record for record in self.early if not self.is_below(record))

    @property
    def below(self) -> tuple[TrialRecord, ...]:
        """The early trials below `low`."""
        return tuple(record for record in self.early if self.is_below(record))

    @property
    def early_name(self) -> str:
        """What a picture calls the early trials."""
        stopped = all(record.state is TrialState.STOPPED for record in self.early)
        return "stopped early" if stopped else "stopped or under way"

    def is_hollow(self, record: TrialRecord) -> bool:
        """Whether a trial's mark is drawn as an outline."""
        return record in self.early or record in self.over

    def is_below(self, record: TrialRecord) -> bool:
        """Whether a trial was stopped at an accuracy too low to be worth showing."""
        return (record.accuracy or 0.0) < self.low

    def is_beyond(self, record: TrialRecord) -> bool:
        """Whether a yardstick costs so much more than the budget that it is drawn at the right edge."""
        return self.axis.cost(record) > self.right

    def place(self, record: TrialRecord) -> tuple[float, float]:
        """Where a trial is drawn, (cost, accuracy): outliers at the edge of the picture."""
        edge = self.right - 0.015 * (self.right - self.left)
        return min(self.axis.cost(record), edge), max(record.accuracy or 0.0, self.low)

    def relative(self, record: TrialRecord) -> tuple[float, float]:
        """`place` in shares of the picture's width and height."""
        x, y = self.place(record)
        return (x - self.left) / (self.right - self.left), (y - self.low) / (self.high - self.low)

    @property
    def bars_name(self) -> str:
        """What a picture calls the bars of the confirming seeds."""
        counts = sorted({each.count for each in self.confirmed})
        seeds = "-".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
        return f"mean ± 1 s.d. of {seeds} fresh seeds"

    @property
    def shown(self) -> tuple[TrialRecord, ...]:
        """All trials of the picture."""
        return (*self.front, *self.dominated, *self.early, *self.uniform, *self.plain, *self.over)

    def named(self, result: SearchResult) -> list[TrialRecord]:
        """The trials that a picture names: the best candidate, then the yardsticks by cost."""
        yardsticks = sorted((*self.uniform, *self.plain, *self.over), key=self.axis.cost)
        return yardsticks if result.best is None else [result.best, *yardsticks]


def sort_layers(result: SearchResult) -> Layers:
    """Puts each trial that has an accuracy into its group."""
    axis = result.axis
    shown = sorted((each for each in result.trials if each.accuracy is not None), key=axis.cost)
    on_front = {record.id for record in result.front}
    candidates = [record for record in shown if record.yardstick is None]
    complete = [record for record in candidates if record.state is TrialState.COMPLETE]
    yardsticks = [record for record in shown if record.yardstick is not None]
    inside = [record for record in yardsticks if record.within_budget]
    uniform = tuple(record for record in inside if is_uniform(record))
    confirmed = tuple(each for each in map(_confirmed, shown) if each is not None)
    accuracies = [each.accuracy or 0.0 for each in [*complete, *yardsticks] or candidates]
    low, high = _range([*accuracies, *(end for each in confirmed for end in each.ends)])
    left, right = _costs(
        [axis.cost(each) for each in shown if each.within_budget], result.budget, result.limit
    )
    scored = scored_at(result)
    if shown:
        left, _ = widened(left, right, [cost for cost, _ in scored])
        low, high = widened(low, high, [each.accuracy for _, each in scored])
    elif scored:
        left, right = _costs([cost for cost, _ in scored], result.budget, result.limit)
        low, high = _range([each.accuracy for _, each in scored])
    return Layers(
        front=tuple(record for record in complete if record.id in on_front),
        dominated=tuple(record for record in complete if record.id not in on_front),
        early=tuple(record for record in candidates if record.state is not TrialState.COMPLETE),
        uniform=uniform,
        plain=tuple(record for record in inside if not is_uniform(record)),
        over=tuple(record for record in yardsticks if not record.within_budget),
        slower=tuple(record for record in shown if result.slower_than_plain(record)),
        volumetric=tuple(record for record in shown if result.mixed and record.architecture.dims == 3),
        front_line=tuple(result.front),
        uniform_line=tuple(pareto_front(uniform, result.limit, axis.objective)),
        confirmed=confirmed,
        cloud=cloud_of(scored, (left, right), (low, high)),
        axis=axis,
        low=low,
        high=high,
        left=left,
        right=right,
    )


def staircase(line: Iterable[TrialRecord], end: float, axis: Axis) -> tuple[list[float], list[float]]:
    """What accuracy each cost up to `end` buys, as the corners of a staircase: (costs, accuracies)."""
    xs: list[float] = []
    ys: list[float] = []
    for record in line:
        accuracy = record.accuracy or 0.0
        if ys:
            xs.append(axis.cost(record))
            ys.append(ys[-1])
        xs.append(axis.cost(record))
        ys.append(accuracy)
    if xs:
        xs.append(max(end, xs[-1]))
        ys.append(ys[-1])
    return xs, ys


def backbone_colours(result: SearchResult) -> dict[str, str]:
    """A colour for each backbone of the search, the same in every picture of it; 2D ones first."""
    dims = {each.backbone: each.dims for each in result.architectures}
    names = sorted(dims, key=lambda name: (dims[name], len(name), name))
    return {name: BACKBONE_COLOURS[index % len(BACKBONE_COLOURS)] for index, name in enumerate(names)}


def backbone_names(result: SearchResult) -> dict[str, str]:
    """What a picture calls each backbone of the search: with 2D or 3D where there are both."""
    dims = {each.backbone: f"{each.dims}D" for each in result.architectures}
    return {name: f"{name} ({each})" if result.mixed else name for name, each in dims.items()}


def _confirmed(record: TrialRecord) -> Confirmed | None:
    spread = on_validation(record)
    if spread is None or spread.sd is None:
        return None
    return Confirmed(record=record, mean=spread.mean, sd=spread.sd, count=spread.count)


def _range(accuracies: list[float]) -> tuple[float, float]:
    if not accuracies:
        return 0.0, 1.0
    margin = 0.12 * (max(accuracies) - min(accuracies)) or 0.01
    return max(0.0, min(accuracies) - margin), min(1.0, max(accuracies) + margin)


def _costs(costs: list[float], budget: float | None, limit: float) -> tuple[float, float]:
    """Left and right end of the picture; without a budget on this axis, just what the trials take."""
    if budget is None:
        low, high = min(costs, default=0.0), max(costs, default=limit or 1.0)
        margin = 0.08 * (high - low) or 0.1 * high
        return max(0.0, low - margin), high + 2 * margin
    span = budget - min([*costs, budget]) or 0.5 * budget
    return max(0.0, budget - 1.06 * span), budget + 0.25 * span
