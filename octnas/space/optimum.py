"""The best architecture at every cost, by dynamic programming over the graph of choices.

For scores that are sums over the edges of a path this is the max-plus twin of `octnas.space.counting`:

    V[i][s, c] = max over edges e out of s with w(e) <= c of  score(e) + V[i + 1][target(e), c - w(e)]

where V[i][s, c] is the best score of any way on from state s before step i that costs at most c cells more
than the cheapest one, and w(e) is the edge's reduced cost in cells. V[0][0, :] is the whole front.

A cell is one quantum of the costs where that takes at most `max_cells` cells, and then everything is exact.
Else a cell is a multiple of the quantum and w is rounded, edge by edge. Rounded up, every path found still is
inside its cap, but a path just below a cap may be missed; rounded down, none is missed, but some found are
above theirs; rounded to the nearest, a path found may be a cell or two above or below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from octnas.space.graph import ChoiceGraph

__all__ = ["Optimum", "Rounding"]

MAX_CELLS = 2_000
"""Most cells of a table by default: a compromise between resolution and the milliseconds of a suggestion."""
MAX_BYTES = 128 * 2**20
"""Most memory of a table's values in bytes: graphs with many states have fewer cells."""

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Rounding = Literal["up", "nearest", "down"]


class Optimum:
    """The best member at every cost, for scores that are sums over the edges of a backbone's graph.

    Args:
        graph: the backbone's choices.
        span: how much more than the smallest cost a member may cost, 0 or more.
        edge_scores: for each step of the graph a score for each edge, (E,), finite.
        max_cells: bounds the resolution; `MAX_BYTES` bounds it too.
        rounding: of the costs, where the resolution does not do to tell all of them apart.
    """

    def __init__(
        self,
        graph: ChoiceGraph,
        span: int,
        edge_scores: Sequence[Float64],
        *,
        max_cells: int = MAX_CELLS,
        rounding: Rounding = "up",
    ) -> None:
        self._graph = graph
        self._grid = grid = _grid(graph, span, max_cells, rounding)
        self.delta: int = grid.delta
        """Cost of a cell."""
        self._tables: list[Float64] = [_padded(np.zeros((1, grid.cells)), grid.pads[-1])]
        self._scores: list[Float64] = []
        for layer, scores in zip(reversed(grid.layers), reversed(edge_scores), strict=True):
            ranked = np.append(scores, 0.0)[layer.edge]
            flat = self._tables[-1]
            windows = as_strided(
                flat,
                (flat.size - grid.cells + 1, grid.cells),
                (flat.itemsize, flat.itemsize),
                writeable=False,
            )
            ways = windows[layer.start]
            ways += ranked[:, :, None]
            self._scores.append(ranked)
            self._tables.append(_padded(ways.max(axis=0), layer.pad))
        self._tables.reverse()
        self._scores.reverse()

    @property
    def values(self) -> Float64:
        """Best total score among the members found that cost at most the smallest cost plus `cell * delta`,
        (cells,) with cells = 1 + span // delta; never falls."""
        return self._tables[0][: self._grid.cells]

    def steps(self) -> list[int]:
        """The cells at which `values` rises, the first one included: the front of score against cost."""
        return [0, *(np.flatnonzero(np.diff(self.values) > 0) + 1).tolist()]

    def path(self, cell: int) -> tuple[int, ...]:
        """Alpha indices, one a step, of a best member at `cell`; of equal ones the first in the order of
        the indices."""
        state, choices = 0, []
        for layer, scores, table, step in zip(
            self._grid.layers, self._scores, self._tables[1:], self._graph.steps, strict=True
        ):
            ways = table[layer.start[:, state] + cell] + scores[:, state]
            edge = int(layer.edge[int(ways.argmax()), state])
            cell -= int(layer.weight[edge])
            choices.append(int(step.choice[edge]))
            state = int(step.target[edge])
        return tuple(choices)

    def paths(self, cells: Sequence[int]) -> Int64:
        """The edges (K, steps) of a best member at each of K cells, by their number in each step."""
        left = np.array(cells, dtype=np.int64)
        state = np.zeros(len(left), dtype=np.int64)
        edges = np.zeros((len(left), len(self._graph.steps)), dtype=np.int64)
        rows = np.arange(len(left))
        for i, (layer, scores, table, step) in enumerate(
            zip(self._grid.layers, self._scores, self._tables[1:], self._graph.steps, strict=True)
        ):
            ways = table[layer.start[:, state] + left] + scores[:, state]
            edge = layer.edge[:, state][ways.argmax(axis=0), rows]
            edges[:, i] = edge
            left = left - layer.weight[edge]
            state = step.target[edge]
        return edges

    def rest(self, step: int, state: int, left: int) -> float:
        """Best score of the ways on from a state before `step` that cost at most `left` more than the
        cheapest one; minus infinity where there is none."""
        pad = self._grid.pads[step]
        return float(self._tables[step][state * (pad + self._grid.cells) + pad + left // self.delta])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One step laid out for numpy: the r-th usable edge out of each state s, (R, S).

    A table over the states is a flat row of numbers: for each state `pad` times minus infinity, then its
    values; last another row of minus infinity. The window of `cells` numbers from `start` is the next
    table's row of the edge's target, moved right by the edge's weight.
    """

    edge: Int64
    """Index of the edge in the step; the number of edges where a state has fewer, (R, S)."""
    start: Int64
    """Where the window begins in the next step's table, (R, S)."""
    weight: Int64
    """Reduced cost of each edge in cells, (E,)."""
    pad: int
    """Largest usable weight of the edges into the states of this step: what this table is padded with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """What a table below a span needs to know that does not depend on the scores."""

    cells: int
    delta: int
    layers: tuple[_Layer, ...]
    pads: tuple[int, ...]
    """What the table before each step is padded with, and the one after the last."""


def _padded(values: Float64, pad: int) -> Float64:
    """The flat row of a table's values (S, cells)."""
    states, cells = values.shape
    table = np.full((states + 1, pad + cells), -np.inf)
    table[:-1, pad:] = values
    return table.ravel()


@lru_cache(maxsize=32)
def _grid(graph: ChoiceGraph, span: int, max_cells: int, rounding: Rounding) -> _Grid:
    quanta = span // graph.quantum
    states = 1 + sum(step.states for step in graph.steps)
    most = max(1, min(max_cells, MAX_BYTES // (8 * states) - 1))
    delta = graph.quantum * max(1, -(-quanta // most))
    cells = span // delta + 1
    ahead = {"up": delta - 1, "nearest": delta // 2, "down": 0}[rounding]
    weights = [(costs + ahead) // delta for costs in graph.reduced]
    usable = _usable(graph, weights, cells)
    pads = [0, *(int(weight[use].max()) for weight, use in zip(weights, usable, strict=True))]
    layers = []
    for i, step in enumerate(graph.steps):
        edges = np.flatnonzero(usable[i])
        sources = step.source[edges]
        rank = np.arange(edges.size) - np.searchsorted(sources, sources)
        last = i + 1 == len(graph.steps)
        after = 1 if last else graph.steps[i + 1].states
        width = pads[i + 1] + cells
        shape = (int(rank.max()) + 1, step.states)
        edge = np.full(shape, step.source.size, dtype=np.int64)
        start = np.full(shape, after * width, dtype=np.int64)
        edge[rank, sources] = edges
        start[rank, sources] = step.target[edges] * width + pads[i + 1] - weights[i][edges]
        layers.append(_Layer(edge=edge, start=start, weight=weights[i], pad=pads[i]))
    return _Grid(cells=cells, delta=delta, layers=tuple(layers), pads=tuple(pads))


def _usable(graph: ChoiceGraph, weights: Sequence[Int64], cells: int) -> list[NDArray[np.bool_]]:
    """For each step, the edges that lie on a path inside the table."""
    usable, least = [], np.zeros(1, dtype=np.int64)
    for i, step in enumerate(graph.steps):
        cost = least[step.source] + weights[i]
        use = cost < cells
        usable.append(use)
        after = graph.steps[i + 1].states if i + 1 < len(graph.steps) else 1
        least = np.full(after, cells, dtype=np.int64)
        np.minimum.at(least, step.target[use], cost[use])
    return usable
