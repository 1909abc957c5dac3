"""The architectures that are trained or under way, kept so that a drawn function is quick on all of them.

The first `rows` are kept as they are. Beyond that the alpha indices of several layers are packed into one
number, and a function's values are looked up in one table for each such group of layers: exact, a few
milliseconds at 100,000 architectures, and some 40 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from octnas.engine.drawn import Drawn, Layers

__all__ = ["Known", "Started"]

Float64 = NDArray[np.float64]

Started = tuple[str, tuple[int, ...], int]
"""An architecture: the name of its arm, its alpha indices and the objective's cost: multiply-adds or ns."""

ENTRIES = 4096
"""Most entries of a table of several layers."""
CELLS = 2048
"""Of the cost's range, in which most of what is dominated is found without a sort."""


class Known:
    """Started architectures and their values by a drawn function.

    Args:
        macs: multiply-adds of an architecture, from its arm and alpha indices.
        alphas: alpha indices that a layer may have, by arm.
        rows: how many are kept as they are.
    """

    def __init__(
        self, macs: Callable[[str, Sequence[int]], int], alphas: Mapping[str, int], *, rows: int
    ) -> None:
        self._macs = macs
        self._alphas = alphas
        self._most = rows
        self._rows: list[Started] | None = []
        self._packed: dict[str, _Packed] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, started: Started) -> None:
        """Adds an architecture; one that is there already does no harm."""
        self._count += 1
        if self._rows is None:
            self._pack(started)
            return
        self._rows.append(started)
        if len(self._rows) > self._most:
            for each in self._rows:
                self._pack(each)
            self._rows = None

    def points(self, drawn: Drawn) -> tuple[Float64, Float64, float]:
        """Costs and drawn scores (K,) of those that may be on the drawn front, and the lowest score of all.

        One or more must have been added.
        """
        if self._rows is not None:
            costs = np.array([cost for _, _, cost in self._rows], dtype=np.float64)
            scores = np.array([drawn.value(arm, choices) for arm, choices, _ in self._rows])
            return costs, scores, float(scores.min())
        costs = np.concatenate([each.costs for each in self._packed.values()])
        scores = np.concatenate([each.values(drawn.layers(arm)) for arm, each in self._packed.items()])
        kept = _not_dominated_by_cheaper_cells(costs, scores)
        return costs[kept], scores[kept], float(scores.min())

    def _pack(self, started: Started) -> None:
        arm, choices, cost = started
        if arm not in self._packed:
            self._packed[arm] = _Packed(layers=len(choices), alphas=self._alphas[arm])
        self._packed[arm].add(choices, cost=cost, macs=self._macs(arm, choices))


class _Packed:
    """The architectures of one arm, in arrays that double when they are full."""

    def __init__(self, *, layers: int, alphas: int) -> None:
        size = 1
        while alphas > 1 and alphas ** (size + 1) <= ENTRIES:
            size += 1
        self._alphas = alphas
        self._groups = [slice(at, min(at + size, layers)) for at in range(0, layers, size)]
        self._codes: NDArray[np.uint16] = np.zeros((len(self._groups), 64), dtype=np.uint16)
        self._costs: Float64 = np.zeros(64)
        self._macs: Float64 = np.zeros(64)
        self._count = 0

    @property
    def costs(self) -> Float64:
        """The objective's, (n,)."""
        return self._costs[: self._count]

    def add(self, choices: Sequence[int], *, cost: int, macs: int) -> None:
        at = self._count
        if at == len(self._costs):
            self._codes = np.concatenate([self._codes, np.zeros_like(self._codes)], axis=1)
            self._costs = np.concatenate([self._costs, np.zeros_like(self._costs)])
            self._macs = np.concatenate([self._macs, np.zeros_like(self._macs)])
        for row, group in enumerate(self._groups):
            code = 0
            for choice in reversed(choices[group]):
                code = code * self._alphas + choice
            self._codes[row, at] = code
        self._costs[at], self._macs[at] = cost, macs
        self._count += 1

    def values(self, function: Layers) -> Float64:
        """Of all, (n,)."""
        found: Float64 = function.intercept + function.per_mac * self._macs[: self._count]
        for row, group in enumerate(self._groups):
            table = np.zeros(1)
            for layer in function.table[group]:
                table = np.add.outer(layer, table).ravel()
            found += table[self._codes[row, : self._count]]
        return found


def _not_dominated_by_cheaper_cells(costs: Float64, scores: Float64) -> NDArray[np.int64]:
    """Indices that hold the whole front: all but those which a point in a cell of lower costs matches."""
    low, high = float(costs.min()), float(costs.max())
    cells = ((costs - low) * ((CELLS - 1) / (high - low or 1.0))).astype(np.int64)
    best = np.full(CELLS + 1, -np.inf)
    np.maximum.at(best, cells + 1, scores)
    return np.flatnonzero(scores > np.maximum.accumulate(best)[cells])
