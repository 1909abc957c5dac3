"""How many paths of a graph have each cost, exactly, by dynamic programming from the last state to the first.

Only two steps are held at a time, and of each state only the costs that the ways on from it can have: where a
count table of all steps must be coarse (`octnas.space.counting`) the number of paths below any cost is exact
all the same.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from octnas.space.graph import ChoiceGraph

__all__ = ["paths_by_cost"]

MAX_CELLS = 500_000
"""Most quanta between the smallest and the largest cost."""
MAX_BYTES = 64 * 2**20
"""Most memory of a step in bytes."""

Float64 = NDArray[np.float64]


@lru_cache(maxsize=64)
def paths_by_cost(graph: ChoiceGraph) -> Float64 | None:
    """The number of paths that cost c quanta more than the cheapest, (cells,) for c from 0.

    float64, so exact below 2^53, else to about 13 digits. None where it would take too much.
    """
    if (graph.max_cost - graph.min_cost) // graph.quantum >= MAX_CELLS:
        return None
    # What the ways on from state s can cost begins at least[s]; its counts begin at counts[begins[s]].
    least, begins, counts = np.zeros(1, dtype=np.int64), np.array([0, 1]), np.ones(1)
    for step, reduced in zip(reversed(graph.steps), reversed(graph.reduced), strict=True):
        low = least[step.target] + reduced // graph.quantum
        widths = np.diff(begins)[step.target]
        first = np.full(step.states, np.iinfo(np.int64).max, dtype=np.int64)
        last = np.zeros(step.states, dtype=np.int64)
        np.minimum.at(first, step.source, low)
        np.maximum.at(last, step.source, low + widths)
        starts = np.concatenate([[0], np.cumsum(last - first)])
        if 8 * starts[-1] > MAX_BYTES:
            return None
        before = np.zeros(int(starts[-1]))
        rows = (starts[step.source] + low - first[step.source], begins[step.target], widths)
        for into, source, width in zip(*(row.tolist() for row in rows), strict=True):
            before[into : into + width] += counts[source : source + width]
        least, begins, counts = first, starts, before
    return counts
