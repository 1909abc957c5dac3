"""Counting and uniform sampling below a cost, by dynamic programming over the graph of choices.

All costs of a backbone differ by multiples of one quantum, so a table over the cost in quanta is exact.
Where that would take too many cells (multiply-adds at odd input sizes, or of a DenseNet, whose graph has many
states; nanoseconds) the table is over a coarser grid: costs are rounded down edge by edge, which admits every
path below the cap and some above it; these are rejected by their exact cost, which leaves the draw exactly
uniform. After `TRIES` rejections the draw is made from the table that is rounded up, which holds no path
above the cap. The number of paths needs no table of all steps: it is exact wherever
`octnas.space.histogram` counts.

Counts are held as float64: exact below 2^53, else to about 13 digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from octnas.space.graph import ChoiceGraph
from octnas.space.histogram import paths_by_cost

__all__ = ["CountTable"]

MAX_CELLS = 20_000
"""Most cells of a table."""
MAX_BYTES = 256 * 2**20
"""Most memory of a table in bytes."""
TRIES = 50
"""Draws from a table that is rounded down before the one that is rounded up is used."""

_ESTIMATE_DRAWS = 2_000

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class CountTable:
    """Paths of `graph` whose cost is at most the smallest plus `span`.

    `max_cells` bounds the table's resolution; `MAX_BYTES` bounds it too.
    """

    graph: ChoiceGraph
    span: int
    max_cells: int = MAX_CELLS

    @cached_property
    def exact(self) -> bool:
        """Whether a cell is one quantum, so that draws need no check."""
        return self.span // self.graph.quantum <= self._cell_limit

    @property
    def counted(self) -> bool:
        """Whether `count` is exact and no estimate."""
        return self._below is not None or self.exact

    @cached_property
    def delta(self) -> int:
        """Cost of a cell."""
        return self.graph.quantum if self.exact else -(-self.span // self._cell_limit)

    def count(self, span: int, *, draws: int = _ESTIMATE_DRAWS) -> float:
        """Number of paths that cost at most the smallest plus `span` (at most `self.span`).

        Exact where `counted` says so (below 2^53); else the count of the table that is rounded down, times
        the share of `draws` seeded draws from it that lie below the cap.
        """
        if self._below is not None:
            return self.rounded_count(span)
        cell = min(span, self.span) // self.delta
        count = float(self._down[0][0, cell])
        if self.exact:
            return count
        rng = np.random.default_rng(0)
        inside = sum(self._draw(self._down, cell, self._weights, rng)[1] <= span for _ in range(draws))
        return count * inside / draws

    def sample(self, span: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Alpha indices, one a step, of a path drawn uniformly below the smallest cost plus `span`."""
        span = min(span, self.span)
        for _ in range(1 if self.exact else TRIES):
            choices, cost = self._draw(self._down, span // self.delta, self._weights, rng)
            if cost <= span:
                return choices
        return self._draw(self._up, span // self.delta, self._weights_up, rng)[0]

    def rounded_count(self, span: int) -> float:
        """`count` without the draws: with an estimate some paths just above `span` are counted too."""
        if span < 0:
            return 0.0
        if self._below is not None:
            return float(self._below[min(span, self.span) // self.graph.quantum])
        return float(self._down[0][0, min(span, self.span) // self.delta])

    def last(self, span: int) -> int:
        """The largest cost at or below `span` that a path has, above the smallest; to within one cell of a
        coarse table where nothing is counted."""
        by_cost = paths_by_cost(self.graph)
        if by_cost is not None:
            present = np.flatnonzero(by_cost[: span // self.graph.quantum + 1])
            return int(present[-1]) * self.graph.quantum
        reachable = [1]  # one bit a cell
        for step, costs in zip(reversed(self.graph.steps), reversed(self._weights), strict=True):
            before = [0] * step.states
            for source, target, cost in zip(step.source.tolist(), step.target.tolist(), costs, strict=True):
                before[source] |= reachable[target] << cost
            reachable = before
        below = reachable[0] & ((1 << (span // self.delta + 1)) - 1)
        return min(span, (below.bit_length() - 1) * self.delta)

    @cached_property
    def _below(self) -> Float64 | None:
        """The number of paths below each cost in quanta, where it is known."""
        by_cost = paths_by_cost(self.graph)
        return None if by_cost is None else np.cumsum(by_cost)

    @cached_property
    def _cell_limit(self) -> int:
        states = 1 + sum(step.states for step in self.graph.steps)
        return max(1, min(self.max_cells, MAX_BYTES // (8 * states) - 1))

    @cached_property
    def _weights(self) -> tuple[list[int], ...]:
        return tuple((costs // self.delta).tolist() for costs in self.graph.reduced)

    @cached_property
    def _weights_up(self) -> tuple[list[int], ...]:
        return tuple((-(-costs // self.delta)).tolist() for costs in self.graph.reduced)

    @cached_property
    def _down(self) -> tuple[Float64, ...]:
        return self._table(self._weights)

    @cached_property
    def _up(self) -> tuple[Float64, ...]:
        return self._table(self._weights_up)

    def _table(self, weights: tuple[list[int], ...]) -> tuple[Float64, ...]:
        """For each step, F[state, c]: how many ways on from the state cost at most c cells."""
        cells = self.span // self.delta + 1
        tables = [np.ones((1, cells))]
        for step, costs in zip(reversed(self.graph.steps), reversed(weights), strict=True):
            before = np.zeros((step.states, cells))
            after = tables[-1]
            for source, target, cost in zip(step.source.tolist(), step.target.tolist(), costs, strict=True):
                if cost < cells:
                    before[source, cost:] += after[target, : cells - cost]
            tables.append(before)
        return tuple(reversed(tables))

    def _draw(
        self, tables: tuple[Float64, ...], cell: int, weights: tuple[list[int], ...], rng: np.random.Generator
    ) -> tuple[tuple[int, ...], int]:
        """One path drawn uniformly from a table below `cell`, and its exact cost above the smallest."""
        state, cost, choices = 0, 0, []
        uniforms = rng.random(len(self.graph.steps)).tolist()
        for i, step in enumerate(self.graph.steps):
            after, costs = tables[i + 1], weights[i]
            ways = [
                (edge, float(after[step.target[edge], cell - costs[edge]]))
                for edge in self.graph.edges[i][state]
                if costs[edge] <= cell
            ]
            edge = _pick(ways, uniforms[i])
            cell -= costs[edge]
            cost += int(self.graph.reduced[i][edge])
            choices.append(int(step.choice[edge]))
            state = int(step.target[edge])
        return tuple(choices), cost


def _pick(ways: list[tuple[int, float]], uniform: float) -> int:
    """The edge in whose share of the ways on `uniform`, in [0, 1), falls; never one with no way on."""
    open_ways = [(edge, count) for edge, count in ways if count > 0]
    rest = uniform * sum(count for _, count in open_ways)
    for edge, count in open_ways:
        rest -= count
        if rest < 0:
            return edge
    return open_ways[-1][0]
