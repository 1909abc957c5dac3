"""From a model of the score to the next architecture: a Thompson draw and what it says would gain most.

One function is drawn from the model, jointly for all backbones, and its exact front of score against the
objective's cost is found by dynamic programming (`octnas.space.Optimum`); where a budget of the other cost
leaves anything out, what `octnas.space.limited` finds takes its place. Of its members the one is taken that
adds most hypervolume to what was started already, both valued by the drawn function (Thompson sampling with
the hypervolume improvement as its reward, Bradford et al. 2018). The reference point is the largest cost that
counts, and the lowest drawn score of what was started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octnas.architecture import Architecture
from octnas.engine.drawn import Drawn
from octnas.engine.known import Known, Started
from octnas.engine.proposals import Unknown
from octnas.engine.surrogate import Surrogate
from octnas.space import Feasible
from octnas.space.optimum import Optimum

__all__ = ["Arm", "Started", "arms_of", "gains", "most_gained"]

Arm = tuple[str, int]
"""A backbone and the number of its way of downsampling."""

TEMPERATURES = (0.25, 0.5, 1.0, 2.0)
"""How far the draws stray from the model's mean, 1 for the posterior's own spread, one after the other until
an unknown architecture is found: with few trials in many dimensions the whole spread is explored for longer
than a search lasts."""
BEST = 24
"""Members of a drawn front, by their gain, that may be known before another function is drawn."""

Float64 = NDArray[np.float64]


def arms_of(feasible: Feasible) -> dict[str, Arm]:
    """What the model tells apart: each backbone, or each of its ways of downsampling if it has several."""
    arms: dict[str, Arm] = {}
    for name in feasible.backbones:
        ways = feasible.space.members(name).downsample
        for number in feasible.ways(name):
            arms[name if len(ways) == 1 else f"{name}, {ways[number]}"] = (name, number)
    return arms


def most_gained(
    feasible: Feasible,
    arms: Mapping[str, Arm],
    surrogate: Surrogate,
    started: Sequence[Started] | Known,
    unknown: Unknown,
    rng: np.random.Generator,
) -> Architecture | None:
    """The unknown architecture that gains most by a function drawn from the model.

    Args:
        arms: those that may be proposed, of the surrogate's.
        started: every architecture that is trained or under way; one or more.

    Returns:
        None where everything that was looked at is known.
    """
    if not isinstance(started, Known):
        known = Known(surrogate.macs, {}, rows=len(started))
        for each in started:
            known.add(each)
        started = known
    for temperature in TEMPERATURES:
        drawn = surrogate.draw(rng, temperature=temperature)
        found = _best_of(feasible, arms, drawn, started, unknown)
        if found is not None:
            return found
    return None


def _best_of(
    feasible: Feasible, arms: Mapping[str, Arm], drawn: Drawn, started: Known, unknown: Unknown
) -> Architecture | None:
    fronts = {arm: _front(feasible, where, *drawn[arm]) for arm, where in arms.items()}
    entries = [(arm, i) for arm, front in fronts.items() for i in range(len(front.costs))]
    known_costs, known_scores, lowest = started.points(drawn)
    gained = gains(
        np.concatenate([front.costs for front in fronts.values()]),
        np.concatenate([front.scores for front in fronts.values()]),
        known_costs,
        known_scores,
        reference=(float(feasible.reference_units), lowest),
    )
    for index in np.argsort(-gained, kind="stable")[:BEST]:
        arm, i = entries[index]
        backbone, way = arms[arm]
        members = feasible.space.members(backbone)
        architecture = members.architecture(fronts[arm].path(i), members.downsample[way])
        if unknown.has(architecture):
            return architecture
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Front:
    """What may be proposed of one arm."""

    costs: Float64
    """The objective's, (M,)."""
    scores: Float64
    """By the drawn function, (M,)."""
    path: Callable[[int], tuple[int, ...]]
    """The alpha indices of one of them."""


def _front(feasible: Feasible, where: Arm, intercept: float, edges: list[Float64]) -> _Front:
    axis, side = feasible.bounds(*where)
    if side is None and axis.cost == "gflops":
        optimum = Optimum(axis.graph, axis.span, edges)
        cells = optimum.steps()
        return _Front(
            costs=(axis.graph.min_cost + optimum.delta * np.array(cells)).astype(np.float64),
            scores=intercept + optimum.values[cells],
            path=lambda i: optimum.path(cells[i]),
        )
    found = feasible.front(*where, edges)
    return _Front(
        costs=found.costs.astype(np.float64),
        scores=intercept + found.scores,
        path=lambda i: tuple(found.choices[i].tolist()),
    )


def gains(
    costs: Float64,
    scores: Float64,
    known_costs: Float64,
    known_scores: Float64,
    *,
    reference: tuple[float, float],
) -> Float64:
    """The hypervolume that each point, alone, would add to the front of the known ones, (M,).

    Args:
        costs: of the points, minimised, (M,).
        scores: of the points, maximised, (M,).
        reference: the cost and score beyond which nothing counts.
    """
    order = np.lexsort((-known_scores, known_costs))
    cost, best = known_costs[order], np.maximum.accumulate(known_scores[order])
    rises = np.append(True, best[1:] > best[:-1]) & (best > reference[1]) & (cost < reference[0])
    # Between two costs of the front the level to beat is the score of the cheaper one.
    begin = np.append(-np.inf, cost[rises])
    end = np.append(cost[rises], reference[0])
    level = np.append(reference[1], best[rises])
    width = np.clip(end - np.maximum(begin, costs[:, None]), 0, None)
    height = np.clip(scores[:, None] - level, 0, None)
    gained: Float64 = (width * height).sum(axis=1)
    return gained
