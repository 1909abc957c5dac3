"""The paths of one backbone within one or two limits: counted, drawn, repaired and walked through.

Within one limit everything is exact (`octnas.space.counting`, `octnas.space.repair`). Two limits at once
would take a table too large to hold, so there draws are made below the tighter limit and rejected by the
other, the number of paths is estimated by such draws, and a repaired path is near, but may not be the
nearest. Where no more than `FEW` paths are left they are listed, and everything is exact again. Whether there
is any is known exactly where a cell of the table is one quantum, else to within a cell. Nanoseconds have no
quantum to speak of: below a limit of latency the number of paths is an estimate, unless they are few.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from octnas.space.counting import CountTable
from octnas.space.limited import Bound, best_paths, found_along
from octnas.space.optimum import Optimum
from octnas.space.repair import nearest

__all__ = ["Path", "Region"]

Path = tuple[int, ...]
"""Alpha indices, one a step of the backbone's graph."""
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FEW = 1_000
"""Paths that are listed where no table counts them."""
TRIES = 50
"""Draws that may be outside the other limit before one is repaired."""
CELLS = 5_000
"""Cells of the tables that tell whether two limits can be met together."""
ESTIMATE_DRAWS = 1_000
COARSE_CELLS = 5_000
"""Cells of a count table of nanoseconds, which no table has room for one by one."""


class Region:
    """The paths within all of one or two bounds, on graphs with the same states and edges."""

    def __init__(self, *bounds: Bound) -> None:
        # What both limits are told apart on is the cost with the larger quantum: its tables are the smaller.
        self._axis, *rest = sorted(bounds, key=lambda bound: -bound.graph.quantum)
        self._side: Bound | None = rest[0] if rest else None

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The limits."""
        return (self._axis,) if self._side is None else (self._axis, self._side)

    @cached_property
    def cheapest(self) -> tuple[Path, ...]:
        """For each bound, a path within all that costs least of what it bounds; none where no path is within
        all."""
        if any(bound.span < 0 for bound in self.bounds):
            return ()
        if self._side is None:
            return (self._axis.graph.smallest(),)
        least = self._least_side("up")
        cells = np.flatnonzero(least.values >= -self._side.span)
        if cells.size:
            return least.path(int(cells[0])), least.path(len(least.values) - 1)
        last = self._side.graph.smallest()  # a coarse table may miss it
        return (last, last) if self.contains(last) else ()

    @cached_property
    def few(self) -> Int64 | None:
        """The edges (K, steps) of all paths, by their number in each step, where no table counts them one by
        one and there are few."""
        if self._few is None:
            return None
        edges = [self._axis.graph.follow(path) or [] for path in self._few]
        return np.array(edges, dtype=np.int64).reshape(len(edges), len(self._axis.graph.steps))

    @property
    def exact(self) -> bool:
        """Whether `size` is a count and no estimate."""
        if self._side is None and (not self._axis.binds or self.table.counted):
            return True
        return self._few is not None or not self.cheapest

    @cached_property
    def size(self) -> int:
        """Number of paths; exact up to 2^53, beyond that to about 13 digits; else an estimate."""
        if not self.cheapest:
            return 0
        main = self._main
        if self._side is None and (not main.binds or self.table.counted):
            return round(self.table.count(main.span)) if main.binds else main.graph.size
        if self._few is not None:
            return len(self._few)
        whole = round(self.table.count(main.span)) if main.binds else main.graph.size
        if self._side is None:
            return whole
        rng = np.random.default_rng(0)
        draws = (self.table.sample(main.span, rng) for _ in range(ESTIMATE_DRAWS))
        return max(FEW + 1, round(whole * sum(map(self.contains, draws)) / ESTIMATE_DRAWS))

    def contains(self, path: Sequence[int]) -> bool:
        """Whether a path of the graph is within the limits."""
        return all(bound.graph.cost(path) <= bound.cap for bound in self.bounds)

    def up_to(self, limit: int) -> int:
        """The number of paths, at most `limit`; exact, and quick."""
        return sum(1 for _ in islice(self.walk(), limit))

    def sample(self, rng: np.random.Generator) -> Path:
        """A random path: a cap between the smallest cost and the limit, then uniformly below the cap.

        The cost is that of the tighter limit.
        """
        main = self._main
        least = 0
        if self._side is not None:
            least = min(main.graph.cost(path) for path in self.cheapest) - main.graph.min_cost
        return self._drawn(least + int(rng.integers(main.span - least + 1)), rng)

    def sample_uniform(self, rng: np.random.Generator) -> Path:
        """A path drawn uniformly; nearly so where two limits leave few of many, which are then repaired."""
        return self._drawn(self._main.span, rng)

    def nearest(self, wanted: Sequence[int], rng: np.random.Generator) -> Path:
        """One of the paths nearest to `wanted`, by the sum over steps of the indices' distance."""
        if self._side is None:
            return nearest(self._axis.graph, wanted, self._axis.span, rng)
        if self._few is not None:
            distances = np.abs(np.array(self._few) - np.array(wanted)).sum(axis=1)
            return self._few[int(rng.choice(np.flatnonzero(distances == distances.min())))]
        steps = self._axis.graph.steps
        noise = 0.5 / len(steps)
        return self.best(
            [
                rng.uniform(0.0, noise, step.choice.size) - np.abs(step.choice - index)
                for step, index in zip(steps, wanted, strict=True)
            ]
        )

    def best(self, scores: Sequence[Float64]) -> Path:
        """A path of high score; the highest of few, and within one limit to within its table's resolution.

        Args:
            scores: for each step a score for each edge, (E,), finite.
        """
        if self.few is not None:
            found = found_along(self._axis.graph, scores, self.few)
        else:
            found = best_paths(self._axis, self._side, scores)
        if not len(found.scores):
            return self.cheapest[0]
        return tuple(found.choices[int(found.scores.argmax())].tolist())

    def walk(self, rng: np.random.Generator | None = None) -> Iterator[Path]:
        """Every path, once; depth first, in random order with `rng`."""
        axis, side = self._axis, self._side
        if any(bound.span < 0 for bound in self.bounds):
            return
        # Without it the walk would go down every way that obeys each limit alone.
        guide = None if side is None else self._least_side("down")
        pending: list[tuple[int, int, int, Path]] = [(0, axis.span, 0 if side is None else side.span, ())]
        while pending:
            state, left, beside, choices = pending.pop()
            i = len(choices)
            if i == len(axis.graph.steps):
                yield choices
                continue
            step, costs, edges = axis.graph.steps[i], axis.graph.reduced[i], axis.graph.edges[i][state]
            for edge in edges if rng is None else rng.permutation(edges):
                rest, target, slack = left - int(costs[edge]), int(step.target[edge]), 0
                if rest < 0:
                    continue
                if side is not None and guide is not None:
                    slack = beside - int(side.graph.reduced[i][edge])
                    if -guide.rest(i + 1, target, rest) > slack:
                        continue
                pending.append((target, rest, slack, (*choices, int(step.choice[edge]))))

    def _drawn(self, span: int, rng: np.random.Generator) -> Path:
        """A path within both limits; at most `span` above the smallest cost, where such are not too rare."""
        if self._listed:
            return self._listed[int(rng.integers(bisect_right(self._listed_costs, span)))]
        if self._side is None:
            return self.table.sample(span, rng)
        for _ in range(TRIES):
            path = self.table.sample(span, rng)
            if self.contains(path):
                return path
        return self.nearest(path, rng)

    def _least_side(self, rounding: str) -> Optimum:
        """Minus the least of the other cost at every cost on the axis, both above their smallest."""
        assert self._side is not None
        return Optimum(
            self._axis.graph,
            self._axis.span,
            [-each.astype(np.float64) for each in self._side.graph.reduced],
            max_cells=CELLS,
            rounding="up" if rounding == "up" else "down",
        )

    @cached_property
    def _few(self) -> list[Path] | None:
        """The paths of `few`."""
        if self._side is None and (not self._axis.binds or self.table.exact):
            return None
        if self._side is None and self.table.counted and self.size > FEW:
            return None
        found = list(islice(self.walk(), FEW + 1))
        return found if len(found) <= FEW else None

    @cached_property
    def _listed(self) -> list[Path]:
        """The few paths in the order of cost, where draws from a coarse table would often be rejected."""
        if self._few is None:
            return []
        return sorted(self._few, key=self._main.graph.cost)

    @cached_property
    def _listed_costs(self) -> list[int]:
        return [self._main.graph.cost(path) - self._main.graph.min_cost for path in self._listed]

    @cached_property
    def _main(self) -> Bound:
        """The limit that the smaller share of all paths obeys."""
        if self._side is None:
            return self._axis

        def share(bound: Bound) -> float:
            return _table(bound).rounded_count(bound.span) / bound.graph.size

        return min(self.bounds, key=share)

    @cached_property
    def table(self) -> CountTable:
        """The paths below the limit, or the tighter of two, by what they cost."""
        return _table(self._main)


def _table(bound: Bound) -> CountTable:
    if bound.cost == "latency":
        return CountTable(bound.graph, bound.span, max_cells=COARSE_CELLS)
    return CountTable(bound.graph, bound.span)
