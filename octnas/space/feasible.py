"""The part of a space inside a compute budget: counted, sampled and repaired exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from octnas.architecture import Architecture
from octnas.errors import BudgetError
from octnas.space.counting import CountTable
from octnas.space.members import Dimension, Members
from octnas.space.repair import nearest

if TYPE_CHECKING:
    from octnas.space.space import SearchSpace

__all__ = ["Feasible", "budget_macs", "median_macs"]


class Feasible:
    """The members of a space whose target costs at most `budget_gflops` (10^9 multiply-adds).

    Tables are built for a backbone when it is first drawn from.

    Raises:
        BudgetError: no member fits; the message names the smallest reachable cost.
    """

    def __init__(self, space: SearchSpace, budget_gflops: float) -> None:
        self.space = space
        self.budget_gflops = float(budget_gflops)
        self.budget_macs = budget_macs(budget_gflops)
        self.backbones = tuple(
            name for name in space.backbones if space.members(name).graph.min_macs <= self.budget_macs
        )
        """Backbones with a member inside the budget."""
        if not self.backbones:
            raise BudgetError(_unreachable(space, self.budget_gflops))
        self._tables: dict[str, CountTable] = {}

    @property
    def size(self) -> int:
        """Number of distinct architectures inside the budget: exact up to 2^53, beyond that to about 13
        digits; on target sizes that have no common quantum an estimate (see `octnas.space.counting`)."""
        total = 0
        for name in self.backbones:
            members, span = self.space.members(name), self._span(name)
            if span == members.graph.max_macs - members.graph.min_macs:
                total += members.size
            else:
                total += round(self._table(name).count(span)) * len(members.downsample)
        return total

    def share(self) -> float:
        """`size` as a share of the space's distinct architectures, 0 to 1."""
        return float(Fraction(self.size, self.space.size()))

    @property
    def min_gflops(self) -> float:
        """The cheapest member's 10^9 multiply-adds."""
        return min(self._min(name) for name in self.backbones) / 1e9

    @property
    def median_gflops(self) -> float:
        """The median over the distinct members inside the budget, in 10^9 multiply-adds; by the exact
        count, to within one cell of its table."""
        return median_macs({name: self._table(name) for name in self.backbones}) / 1e9

    @property
    def max_gflops(self) -> float:
        """The dearest member inside the budget, in 10^9 multiply-adds; to within one cell of its table."""
        dearest = []
        for name in self.backbones:
            graph, span = self.space.members(name).graph, self._span(name)
            if self._min(name) + span == graph.max_macs:
                dearest.append(graph.max_macs)
            else:
                dearest.append(self._min(name) + self._table(name).last(span))
        return max(dearest) / 1e9

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
        span = self._span(name)
        cap = int(rng.integers(span + 1))
        choices = self._table(name).sample(cap, rng)
        return self._architecture(name, choices, rng)

    def sample_uniform(self, rng: np.random.Generator, backbone: str) -> Architecture:
        """A member with `backbone` drawn uniformly from all that are inside the budget."""
        choices = self._table(backbone).sample(self._span(backbone), rng)
        return self._architecture(backbone, choices, rng)

    def dimensions(self, backbone: str) -> tuple[Dimension, ...]:
        """What a sampler chooses for this backbone, in whole numbers from 0."""
        return self.space.dimensions(backbone)

    def encode(self, arch: Architecture) -> dict[str, int]:
        """The dimensions' values of a member: `decode(arch.backbone, encode(arch)) == arch`."""
        return self.space.encode(arch)

    def decode(self, backbone: str, values: Mapping[str, int]) -> Architecture:
        """The architecture that a value for each dimension spells, inside the budget or not."""
        return self.space.decode(backbone, values)

    def contains(self, arch: Architecture) -> bool:
        """Whether an architecture is a member of the space inside the budget."""
        return self.space.contains(arch) and self.space.macs(arch) <= self.budget_macs

    def repair(self, backbone: str, values: Mapping[str, int], rng: np.random.Generator) -> Architecture:
        """The architecture that `values` spell or, where it is over budget, one of the nearest inside it.

        Nearest is the least sum over layers of steps in the list of allowed alphas, exact; `rng` chooses
        among equally near ones.
        """
        members = self._members(backbone)
        choices, downsample = members.decode(values)
        arch = members.architecture(choices, downsample)
        if self.space.macs(arch) <= self.budget_macs:
            return arch
        return members.architecture(nearest(members.graph, choices, self._span(backbone), rng), downsample)

    def _members(self, backbone: str) -> Members:
        members = self.space.members(backbone)
        if backbone not in self.backbones:
            raise BudgetError(_unreachable(self.space.restricted(backbones=(backbone,)), self.budget_gflops))
        return members

    def _architecture(
        self, backbone: str, choices: tuple[int, ...], rng: np.random.Generator
    ) -> Architecture:
        members = self._members(backbone)
        return members.architecture(choices, members.downsample[int(rng.integers(len(members.downsample)))])

    def _min(self, backbone: str) -> int:
        return self.space.members(backbone).graph.min_macs

    def _span(self, backbone: str) -> int:
        graph = self._members(backbone).graph
        return min(self.budget_macs, graph.max_macs) - graph.min_macs

    def _table(self, backbone: str) -> CountTable:
        if backbone not in self._tables:
            self._tables[backbone] = CountTable(self._members(backbone).graph, self._span(backbone))
        return self._tables[backbone]


def budget_macs(budget_gflops: float) -> int:
    """The multiply-adds of a budget, reading the float as the decimal number that it prints as.

    Raises:
        BudgetError: not a number above 0.
    """
    value = float(budget_gflops)
    if not (math.isfinite(value) and value > 0):
        raise BudgetError(
            f"`budget_gflops` must be finite and above 0 (10^9 multiply-adds), but got {budget_gflops}"
        )
    return int(Fraction(repr(value)) * 10**9)


def median_macs(tables: Mapping[str, CountTable]) -> int:
    """The least multiply-adds that half of all paths in the tables do not exceed, to within one cell."""
    low = min(table.graph.min_macs for table in tables.values())
    high = max(table.graph.min_macs + table.span for table in tables.values())
    half = sum(table.rounded_count(table.span) for table in tables.values()) / 2
    while low < high:
        middle = (low + high) // 2
        below = sum(table.rounded_count(middle - table.graph.min_macs) for table in tables.values())
        low, high = (low, middle) if below >= half else (middle + 1, high)
    return low


def _unreachable(space: SearchSpace, budget_gflops: float) -> str:
    arch = space.smallest()
    macs = space.macs(arch)
    # 3 decimals or, below 1, 3 significant digits; the remedy is rounded up so that it works when typed.
    digits = 3 if macs >= 10**8 else 2 + len(str(10**9 // max(macs, 1)))
    enough = -(-macs * 10**digits // 10**9) / 10**digits
    return (
        f"no member costs {budget_gflops:g} GFLOPs or less: the smallest reachable cost of space "
        f"{space.name} is {macs / 1e9:.{digits}f} GFLOPs (multiply-adds), {arch.backbone} with alphas up to "
        f"{max(arch.alphas):g}: raise --budget-gflops to {enough:.{digits}f} or more, or choose a smaller "
        "--space or --backbone"
    )
