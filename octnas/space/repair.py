"""The nearest architecture inside a budget, exact, by dynamic programming over the distance.

Distance is the L1 distance of alpha indices, summed over all slots that may be split. For each state the
table holds the least cost of a way on at each distance; the least distance whose cost fits is walked
forward, choosing at random among ways that still fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octnas.space.graph import ChoiceGraph

__all__ = ["nearest"]

_NEVER = 2**62


def nearest(
    graph: ChoiceGraph, wanted: Sequence[int], span: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """Alpha indices, one a step, of a path that costs at most `span` more than the smallest cost.

    No path within `span` (0 or more) is nearer to `wanted` in L1; among equally near ones the draw is
    random, not uniform.
    """
    offsets = [np.abs(step.choice - index).tolist() for step, index in zip(graph.steps, wanted, strict=True)]
    farthest = sum(max(row) for row in offsets)
    tables = [np.full((1, farthest + 1), _NEVER, dtype=np.int64)]
    tables[0][0, 0] = 0
    for step, far, costs in zip(
        reversed(graph.steps), reversed(offsets), reversed(graph.reduced), strict=True
    ):
        before = np.full((step.states, farthest + 1), _NEVER, dtype=np.int64)
        after = tables[-1]
        rows = zip(step.source.tolist(), step.target.tolist(), far, costs.tolist(), strict=True)
        for source, target, distance, cost in rows:
            view = before[source, distance:]
            np.minimum(view, after[target, : farthest + 1 - distance] + cost, out=view)
        tables.append(np.minimum(before, _NEVER))
    tables.reverse()

    distance = int(np.flatnonzero(tables[0][0] <= span)[0])
    state, choices = 0, []
    for i, step in enumerate(graph.steps):
        costs = graph.reduced[i]
        fitting = [
            edge
            for edge in graph.edges[i][state]
            if offsets[i][edge] <= distance
            and tables[i + 1][step.target[edge], distance - offsets[i][edge]] + costs[edge] <= span
        ]
        edge = fitting[int(rng.integers(len(fitting)))]
        distance -= offsets[i][edge]
        span -= int(costs[edge])
        choices.append(int(step.choice[edge]))
        state = int(step.target[edge])
    return tuple(choices)
