"""The part of a space inside a budget of compute, of latency, or of both: counted, sampled and repaired."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from octnas.architecture import Architecture
from octnas.costs.latency import DeviceProfile
from octnas.errors import BudgetError
from octnas.space.graph import ChoiceGraph
from octnas.space.latencies import Latencies
from octnas.space.limited import Bound, CostName, Found, best_paths, found_along
from octnas.space.members import Dimension
from octnas.space.region import Path, Region
from octnas.space.spread import Part, Spread, least_of, most_of, spread
from octnas.space.unreachable import Candidates, unreachable

if TYPE_CHECKING:
    from octnas.space.space import SearchSpace

__all__ = ["Feasible", "budget_macs", "budget_ns"]

_UNITS: dict[CostName, float] = {"gflops": 1e9, "latency": 1e6}
"""Of the graphs' whole numbers in a GFLOP (10^9 multiply-adds), and in a millisecond."""


class Feasible:
    """The members of a space whose target costs at most `budget_gflops` and takes at most `budget_ms`.

    Tables are built for a backbone when it is first drawn from. Within one budget everything is exact; within
    two see `octnas.space.region`.

    Args:
        budget_gflops: 10^9 multiply-adds; None: any.
        budget_ms: predicted milliseconds; None: any.
        profile: of the device whose latency is predicted.
        objective: the cost that accuracy is weighed against.

    Raises:
        BudgetError: there is no budget, or one of time without a profile, or no member fits; then the message
            names the smallest reachable cost of each.
    """

    def __init__(
        self,
        space: SearchSpace,
        budget_gflops: float | None = None,
        *,
        budget_ms: float | None = None,
        profile: DeviceProfile | None = None,
        objective: CostName = "gflops",
    ) -> None:
        if budget_gflops is None and budget_ms is None:
            raise BudgetError("a search must have a budget: give `budget_gflops`, `budget_ms` or both")
        if profile is None and (budget_ms is not None or objective == "latency"):
            raise BudgetError(
                "latency must be predicted by a device's profile, but got none: run `octnas profile`"
            )
        self.space = space
        self.objective: CostName = objective
        """The cost that accuracy is weighed against."""
        self.budget_gflops = None if budget_gflops is None else float(budget_gflops)
        self.budget_macs = None if budget_gflops is None else budget_macs(budget_gflops)
        self.budget_ms = None if budget_ms is None else float(budget_ms)
        self.budget_ns = None if budget_ms is None else budget_ns(budget_ms)
        self.latencies = None if profile is None else Latencies(space, profile)
        """What predicts latency; None without a profile."""
        every = {name: self._parts_of(name) for name in space.backbones}
        self._parts = {
            name: inside
            for name, parts in every.items()
            if (inside := [p for p in parts if p.region.cheapest])
        }
        self.backbones = tuple(self._parts)
        """Backbones with a member inside the budgets."""
        if not self.backbones:
            raise BudgetError(self._unreachable(space.backbones))

    @property
    def size(self) -> int:
        """Number of distinct architectures inside: exact up to 2^53, beyond that to about 13 digits; an
        estimate where `estimated` says so."""
        return sum(part.region.size * len(part.ways) for part in self._inside)

    @property
    def estimated(self) -> bool:
        """Whether `size` and `share` are estimates: below a latency, below two budgets at once, and on target
        sizes whose multiply-adds have no common quantum."""
        return not all(part.region.exact for part in self._inside)

    def share(self) -> float:
        """`size` as a share of the space's distinct architectures, 0 to 1."""
        return min(1.0, float(Fraction(self.size, self.space.size())))

    def up_to(self, limit: int, backbone: str | None = None) -> int:
        """The number of architectures inside, with one of `backbones` or all, at most `limit`; exact, and
        quick where the limit is small."""
        found = 0
        for part in self._inside if backbone is None else self._parts[backbone]:
            found += part.region.up_to(-(-(limit - found) // len(part.ways))) * len(part.ways)
            if found >= limit:
                return limit
        return found

    @property
    def min_gflops(self) -> float:
        """The cheapest member inside, in 10^9 multiply-adds."""
        return self.spread("gflops").min

    @property
    def median_gflops(self) -> float:
        """The median over the distinct members inside, in 10^9 multiply-adds; see `spread`."""
        return self.spread("gflops").median

    @property
    def max_gflops(self) -> float:
        """The dearest member inside, in 10^9 multiply-adds; see `spread`."""
        return self.spread("gflops").max

    def spread(self, cost: CostName) -> Spread:
        """Least, median and greatest cost of the members inside, in GFLOPs (10^9 multiply-adds) or ms.

        Of a cost that alone is limited by the exact count, to within one cell of its table; else greatest and
        median are estimates.
        """
        return spread(self._inside, cost, _UNITS[cost])

    @property
    def limit(self) -> float:
        """The most that the objective costs, in GFLOPs or ms: its budget, else the largest of the space."""
        budget = self.budget_gflops if self.objective == "gflops" else self.budget_ms
        return self.limit_units / _UNITS[self.objective] if budget is None else budget

    @cached_property
    def limit_units(self) -> int:
        """`limit` in multiply-adds or nanoseconds."""
        budget = self.budget_macs if self.objective == "gflops" else self.budget_ns
        if budget is not None:
            return budget
        return max(
            self._graphs(name, way)[self.objective].max_cost
            for name in self.space.backbones
            for way in range(len(self.space.members(name).downsample))
        )

    @cached_property
    def reference_units(self) -> int:
        """The cost beyond which nothing is gained, in multiply-adds or nanoseconds: `limit_units` or, where
        the other cost's budget keeps members well below it, a little more than the greatest cost inside.

        Counted from far beyond what can be reached, hypervolume would be all accuracy and no cost.
        """
        if list(self._caps()) == [self.objective]:
            return self.limit_units
        least = min(least_of(part, self.objective) for part in self._inside)
        most = max(most_of(part, self.objective) for part in self._inside)
        return min(self.limit_units, most + (most - least) // 10 + 1)

    def gflops(self, arch: Architecture) -> float:
        """10^9 multiply-adds of any architecture at the target's width and stem."""
        return self.space.gflops(arch)

    def latency_ms(self, arch: Architecture) -> float | None:
        """Predicted ms of a member or of a uniform network of the space's alphas; None without a profile."""
        return None if self.latencies is None else self.latencies.ns(arch) / _UNITS["latency"]

    def cost(self, arch: Architecture) -> float:
        """The objective's cost, in GFLOPs (10^9 multiply-adds) or ms."""
        return self.units(arch) / _UNITS[self.objective]

    def units(self, arch: Architecture) -> int:
        """The objective's cost, in multiply-adds or nanoseconds, exact."""
        if self.objective == "gflops":
            return self.space.macs(arch)
        assert self.latencies is not None
        return self.latencies.ns(arch)

    def within(self, arch: Architecture) -> bool:
        """Whether an architecture, which need not be a member, is inside every budget."""
        if self.budget_macs is not None and self.space.macs(arch) > self.budget_macs:
            return False
        return self.budget_ns is None or (
            self.latencies is not None and self.latencies.ns(arch) <= self.budget_ns
        )

    def contains(self, arch: Architecture) -> bool:
        """Whether an architecture is a member of the space inside every budget."""
        return self.space.contains(arch) and self.within(arch)

    def sample(self, rng: np.random.Generator, backbone: str | None = None) -> Architecture:
        """A random member: first a backbone, then a cost cap between its smallest cost and the budget, then
        a member drawn uniformly below the cap.

        Uniform draws from the whole would all be the deepest backbone, at a cost just under the budget.

        Args:
            backbone: draw from this one of `backbones` only.

        Raises:
            BudgetError: no member with `backbone` fits.
        """
        name = self.backbones[int(rng.integers(len(self.backbones)))] if backbone is None else backbone
        part = self._part(name, rng)
        return self._architecture(name, part, part.region.sample(rng), rng)

    def sample_uniform(self, rng: np.random.Generator, backbone: str) -> Architecture:
        """A member with `backbone`, drawn uniformly from all inside that downsample one way; see `Region`."""
        part = self._part(backbone, rng)
        return self._architecture(backbone, part, part.region.sample_uniform(rng), rng)

    def walk(self, backbone: str, rng: np.random.Generator) -> Iterator[Architecture]:
        """Every architecture of one of `backbones` inside, once, in random order."""
        members = self.space.members(backbone)
        for part in self._parts[backbone]:
            for path in part.region.walk(rng):
                for way in rng.permutation(part.ways):
                    yield members.architecture(path, members.downsample[way])

    def dimensions(self, backbone: str) -> tuple[Dimension, ...]:
        """What a sampler chooses for this backbone, in whole numbers from 0."""
        return self.space.dimensions(backbone)

    def encode(self, arch: Architecture) -> dict[str, int]:
        """The dimensions' values of a member: `decode(arch.backbone, encode(arch)) == arch`."""
        return self.space.encode(arch)

    def decode(self, backbone: str, values: Mapping[str, int]) -> Architecture:
        """The architecture that a value for each dimension spells, inside the budgets or not."""
        return self.space.decode(backbone, values)

    def repair(self, backbone: str, values: Mapping[str, int], rng: np.random.Generator) -> Architecture:
        """The architecture that `values` spell or, where it is over a budget, one of the nearest inside.

        Nearest is the least sum over layers of steps in the list of allowed alphas; `rng` chooses among
        equally near ones. Downsampling stays as it is, unless nothing inside downsamples so.
        """
        members = self.space.members(backbone)
        choices, downsample = members.decode(values)
        arch = members.architecture(choices, downsample)
        if self.within(arch):
            return arch
        way = members.downsample.index(downsample)
        parts = self._parts_inside(backbone)
        part = next((part for part in parts if way in part.ways), parts[0])
        way = way if way in part.ways else part.ways[0]
        return members.architecture(part.region.nearest(choices, rng), members.downsample[way])

    def graph(self, backbone: str, way: int) -> ChoiceGraph:
        """A backbone's choices as paths that cost multiply-adds, on the states and edges of `bounds`."""
        return self._graphs(backbone, way)["gflops"]

    def bounds(self, backbone: str, way: int) -> tuple[Bound, Bound | None]:
        """The objective's cost with `limit`, and the other cost where its budget leaves anything out.

        Args:
            way: number of a way of downsampling.
        """
        graphs = self._graphs(backbone, way)
        axis = Bound(cost=self.objective, graph=graphs[self.objective], cap=self.limit_units)
        others = [
            Bound(cost=cost, graph=graphs[cost], cap=cap)
            for cost, cap in self._caps().items()
            if cost != self.objective
        ]
        return axis, next((each for each in others if each.binds), None)

    def front(self, backbone: str, way: int, scores: Sequence[NDArray[np.float64]]) -> Found:
        """Members inside of high score at every cost of the objective, see `best_paths`; few are all given.

        Args:
            scores: for each step of `graph(backbone, way)` a score for each edge, (E,), finite.
        """
        axis, side = self.bounds(backbone, way)
        few = next(part.region.few for part in self._parts[backbone] if way in part.ways)
        return best_paths(axis, side, scores) if few is None else found_along(axis.graph, scores, few)

    def ways(self, backbone: str) -> tuple[int, ...]:
        """The numbers of the ways of downsampling that members of one of `backbones` inside have."""
        return tuple(way for part in self._parts[backbone] for way in part.ways)

    @property
    def _inside(self) -> list[Part]:
        return [part for parts in self._parts.values() for part in parts]

    def _caps(self) -> dict[CostName, int]:
        caps: dict[CostName, int | None] = {"gflops": self.budget_macs, "latency": self.budget_ns}
        return {cost: cap for cost, cap in caps.items() if cap is not None}

    def _graphs(self, backbone: str, way: int) -> dict[CostName, ChoiceGraph]:
        members = self.space.members(backbone)
        if self.latencies is None:
            return {"gflops": members.graph}
        macs, ns = self.latencies.graphs(backbone, members.downsample[way])
        return {"gflops": macs, "latency": ns}

    def _parts_of(self, backbone: str) -> list[Part]:
        """One for each way of downsampling where latency is limited; else one, as all compute the same."""
        every = tuple(range(len(self.space.members(backbone).downsample)))
        parts = []
        for ways in [every] if self.budget_ns is None else [(way,) for way in every]:
            graphs = self._graphs(backbone, ways[0])
            bounds = [Bound(cost=cost, graph=graphs[cost], cap=cap) for cost, cap in self._caps().items()]
            binding = [bound for bound in bounds if bound.binds] or bounds[:1]
            parts.append(Part(ways=ways, graphs=graphs, region=Region(*binding)))
        return parts

    def _parts_inside(self, backbone: str) -> list[Part]:
        self.space.members(backbone)
        if backbone not in self._parts:
            raise BudgetError(self._unreachable((backbone,)))
        return self._parts[backbone]

    def _part(self, backbone: str, rng: np.random.Generator) -> Part:
        parts = self._parts_inside(backbone)
        return parts[0] if len(parts) == 1 else parts[int(rng.integers(len(parts)))]

    def _architecture(self, backbone: str, part: Part, path: Path, rng: np.random.Generator) -> Architecture:
        members = self.space.members(backbone)
        return members.architecture(path, members.downsample[part.ways[int(rng.integers(len(part.ways)))]])

    def _unreachable(self, backbones: tuple[str, ...]) -> str:
        candidates = [
            Candidates(
                members=self.space.members(name),
                downsample=self.space.members(name).downsample[way],
                macs=graphs["gflops"],
                ns=graphs.get("latency"),
            )
            for name in backbones
            for way in range(len(self.space.members(name).downsample))
            for graphs in [self._graphs(name, way)]
        ]
        return unreachable(
            candidates,
            space=self.space.name,
            gflops=self.budget_gflops,
            macs=self.budget_macs,
            ms=self.budget_ms,
            ns=self.budget_ns,
        )


def budget_macs(budget_gflops: float) -> int:
    """The multiply-adds of a budget, reading the float as the decimal number that it prints as.

    Raises:
        BudgetError: not a number above 0.
    """
    return _whole("`budget_gflops`", "10^9 multiply-adds", budget_gflops, 10**9)


def budget_ns(budget_ms: float) -> int:
    """The nanoseconds of a budget in ms, read like `budget_macs`.

    Raises:
        BudgetError: not a number above 0.
    """
    return _whole("`budget_ms`", "milliseconds", budget_ms, 10**6)


def _whole(name: str, unit_name: str, budget: float, unit: int) -> int:
    value = float(budget)
    if not (math.isfinite(value) and value > 0):
        raise BudgetError(f"{name} must be finite and above 0 ({unit_name}), but got {budget}")
    return int(Fraction(repr(value)) * unit)
