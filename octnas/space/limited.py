"""The best paths within two limits at once.

Sums of scores are maximised exactly under one limit (`octnas.space.optimum`). A second one is put into the
scores: each unit of the second cost takes `weight` from them (Lagrangian relaxation). Weights are tried from
none to one that keeps the second limit, by bisection; all that was found on the way and lies within both
limits is kept. What is found is the best of its cost for some weight, not always the best of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from octnas.space.graph import ChoiceGraph
from octnas.space.optimum import MAX_CELLS, Optimum, Rounding

__all__ = ["Bound", "CostName", "Found", "best_paths", "found_along"]

CostName = Literal["gflops", "latency"]
"""Multiply-adds of the target network, or its predicted nanoseconds."""

LIMITED_CELLS = 500
"""Cells of a table where several weights are tried."""
RAISES = 3
"""How often a weight that breaks the second limit is multiplied by `FACTOR`."""
HALVINGS = 4
ROUNDINGS: tuple[Rounding, ...] = ("up", "nearest")
DOWN: tuple[Rounding, ...] = ("down",)
FACTOR = 32.0

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bound:
    """A cost of a backbone's paths and the most that it may be."""

    cost: CostName
    graph: ChoiceGraph
    cap: int
    """In the graph's unit; may be below what any path costs."""

    @property
    def span(self) -> int:
        """What a path may cost above the smallest cost; below 0 where none fits."""
        return min(self.cap, self.graph.max_cost) - self.graph.min_cost

    @property
    def binds(self) -> bool:
        """Whether any path costs more than it may."""
        return self.cap < self.graph.max_cost


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """K paths, those of a search within all limits."""

    choices: Int64
    """Alpha indices, (K, steps)."""
    costs: Int64
    """On the axis, (K,)."""
    scores: Float64
    """(K,)."""


def best_paths(axis: Bound, side: Bound | None, scores: Sequence[Float64]) -> Found:
    """Paths of high score at every cost on an axis, none of which breaks a limit.

    Args:
        axis: spans the front; some path is within it.
        side: a second limit, on a graph with the same states and edges; some path is within both.
        scores: for each step a score for each edge, (E,), finite.

    Returns:
        Without `side` the front, to within the resolution of its table; with it what was found, which may be
        nothing.
    """
    search = _Search(axis, side, scores)
    excess = search.run(0.0)
    if side is not None and excess > 0:
        spread = sum(float(np.ptp(each)) for each in scores) or 1.0
        high = spread / excess
        low = high / FACTOR**2
        for _ in range(RAISES):
            if search.run(high) <= 0:
                break
            low, high = high, high * FACTOR
        for _ in range(HALVINGS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if search.run(middle) > 0 else (low, middle)
    return search.found()


class _Search:
    def __init__(self, axis: Bound, side: Bound | None, scores: Sequence[Float64]) -> None:
        self._axis, self._side, self._scores = axis, side, scores
        self._edges: list[Int64] = []

    def run(self, weight: float) -> int:
        """Keeps what is best for a weight; how far the best of all breaks the second limit."""
        axis, side = self._axis, self._side
        scores = list(self._scores)
        if side is not None and weight:
            scores = [each - weight * cost for each, cost in zip(scores, side.graph.reduced, strict=True)]
        cells = MAX_CELLS if side is None else LIMITED_CELLS
        # Rounded up, a front loses its last few cells; to the nearest, paths that break the cap after all;
        # rounded down it loses none, and where there is no cap nothing breaks it.
        for rounding in ROUNDINGS if axis.binds else DOWN:
            best = Optimum(axis.graph, axis.span, scores, max_cells=cells, rounding=rounding)
            edges = best.paths(best.steps())
            self._edges.append(edges)
            if best.delta == axis.graph.quantum:
                break
        return 0 if side is None else int(_along(side.graph.reduced, edges, np.int64)[-1]) - side.span

    def found(self) -> Found:
        """All that was kept and is within the limits."""
        edges = np.concatenate(self._edges)
        inside = _along(self._axis.graph.reduced, edges, np.int64) <= self._axis.span
        if self._side is not None:
            inside &= _along(self._side.graph.reduced, edges, np.int64) <= self._side.span
        return found_along(self._axis.graph, self._scores, edges[inside])


def found_along(graph: ChoiceGraph, scores: Sequence[Float64], edges: Int64) -> Found:
    """The paths over the edges (K, steps), with what they cost on a graph, and their scores."""
    choices = [step.choice[edges[:, i]] for i, step in enumerate(graph.steps)]
    return Found(
        choices=np.stack(choices, axis=1) if choices else np.zeros((len(edges), 0), dtype=np.int64),
        costs=graph.min_cost + _along(graph.reduced, edges, np.int64),
        scores=_along(scores, edges, np.float64),
    )


def _along(values: Sequence[NDArray[Number]], edges: Int64, kind: type[Number]) -> NDArray[Number]:
    """Sums (K,) over the edges (K, steps) of each path."""
    total: NDArray[Number] = np.zeros(len(edges), dtype=kind)
    for i, each in enumerate(values):
        total += each[edges[:, i]]
    return total
