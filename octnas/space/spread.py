"""Least, median and greatest cost of the members inside a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from octnas.space.counting import CountTable
from octnas.space.graph import ChoiceGraph
from octnas.space.limited import CostName
from octnas.space.region import Region

__all__ = ["Part", "Spread", "least_of", "median_cost", "most_of", "spread"]

DRAWS = 500
"""Members whose median stands for that of all, where no table counts them by the cost that is asked for."""


class Spread(NamedTuple):
    """In the unit that was asked for."""

    min: float
    median: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """The members with one backbone that downsample in one of some ways, all of which cost the same."""

    ways: tuple[int, ...]
    graphs: Mapping[CostName, ChoiceGraph]
    """Every cost that is known, on the same states and edges."""
    region: Region


def spread(parts: Sequence[Part], cost: CostName, unit: float) -> Spread:
    """Of all members of the parts, each of which has any.

    The least cost is exact wherever `octnas.space.region` says so. Where the cost that is asked for is all
    that is limited the others are by the exact count, to within one cell of its table; else the median is
    that of `DRAWS` members, and the greatest the greatest found.

    Args:
        unit: multiply-adds or nanoseconds in one of what is returned.
    """
    own = all([bound.cost for bound in part.region.bounds] == [cost] for part in parts)
    least, most = min(least_of(part, cost) for part in parts), max(most_of(part, cost) for part in parts)
    median = median_cost([part.region.table for part in parts]) if own else _drawn(parts, cost)
    return Spread(least / unit, median / unit, most / unit)


def median_cost(tables: Sequence[CountTable]) -> int:
    """The least cost that half of all paths in the tables do not exceed, to within one cell."""
    low = min(table.graph.min_cost for table in tables)
    high = max(table.graph.min_cost + table.span for table in tables)
    half = sum(table.rounded_count(table.span) for table in tables) / 2
    while low < high:
        middle = (low + high) // 2
        below = sum(table.rounded_count(middle - table.graph.min_cost) for table in tables)
        low, high = (low, middle) if below >= half else (middle + 1, high)
    return low


def least_of(part: Part, cost: CostName) -> int:
    """The least cost of a part's members, as exact as its region."""
    graph = part.graphs[cost]
    for bound, path in zip(part.region.bounds, part.region.cheapest, strict=True):
        if bound.cost == cost:
            return graph.cost(path)
    return graph.cost(part.region.best([-step.cost.astype(np.float64) for step in graph.steps]))


def most_of(part: Part, cost: CostName) -> int:
    """The greatest cost of a part's members; the greatest that was found where another cost is limited."""
    graph, bounds = part.graphs[cost], part.region.bounds
    if not any(bound.binds for bound in bounds):
        return graph.max_cost
    if [bound.cost for bound in bounds] == [cost]:
        return graph.min_cost + part.region.table.last(bounds[0].span)
    return graph.cost(part.region.best([step.cost.astype(np.float64) for step in graph.steps]))


def _drawn(parts: Sequence[Part], cost: CostName) -> int:
    rng = np.random.default_rng(0)
    sizes = np.array([float(part.region.size * len(part.ways)) for part in parts])
    counts = rng.multinomial(DRAWS, sizes / sizes.sum())
    costs = [
        part.graphs[cost].cost(part.region.sample_uniform(rng))
        for part, count in zip(parts, counts, strict=True)
        for _ in range(count)
    ]
    return int(np.median(costs))
