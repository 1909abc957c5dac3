"""The best members within two limits, and rounding, against plain enumeration of tiny spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_profile import made_profile

from octnas.space.graph import ChoiceGraph
from octnas.space.limited import Bound, best_paths
from octnas.space.optimum import Optimum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.unit.space.conftest import Tiny

Paths = list[tuple[int, ...]]


@pytest.fixture(scope="session")
def twins(tiny: Tiny) -> tuple[ChoiceGraph, ChoiceGraph, Paths]:
    """The graphs of multiply-adds and of nanoseconds of one backbone, and all of its paths."""
    backbone, profile = tiny.space.backbones[-1], made_profile(tiny.space, seed=1)
    latencies = tiny.space.feasible(99.0, profile=profile).latencies
    assert latencies is not None
    macs, ns = latencies.graphs(backbone, "pooled")
    return macs, ns, sorted({path for arch, path in tiny.indices.items() if arch.backbone == backbone})


def scored(graph: ChoiceGraph, seed: int) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=step.source.size) for step in graph.steps]


def totals(graph: ChoiceGraph, scores: list[NDArray[np.float64]], paths: Paths) -> NDArray[np.float64]:
    follow = (graph.follow(path) for path in paths)
    return np.array([sum(s[e] for s, e in zip(scores, edges or (), strict=True)) for edges in follow])


def costs(graph: ChoiceGraph, paths: Paths) -> NDArray[np.int64]:
    return np.array([graph.cost(path) for path in paths])


def test_within_one_limit_the_front_is_that_of_enumeration(
    twins: tuple[ChoiceGraph, ChoiceGraph, Paths],
) -> None:
    macs, _, paths = twins
    scores, cost = scored(macs, 0), costs(macs, paths)
    total, cap = totals(macs, scores, paths), int(np.quantile(cost, 0.6))
    found = best_paths(Bound(cost="gflops", graph=macs, cap=cap), None, scores)
    assert found.costs.tolist() == [macs.cost(path) for path in found.choices.tolist()]
    assert found.costs.max() <= cap
    np.testing.assert_allclose(found.scores, totals(macs, scores, [*map(tuple, found.choices.tolist())]))
    for value, score in zip(found.costs, found.scores, strict=True):
        # The grid has as many cells as the costs have quanta, so nothing at this cost is better.
        assert score == pytest.approx(total[cost <= value].max())
    assert found.scores.max() == pytest.approx(total[cost <= cap].max())


def test_nanoseconds_are_told_apart_to_within_a_few_cells(
    twins: tuple[ChoiceGraph, ChoiceGraph, Paths],
) -> None:
    _, ns, paths = twins
    scores, cost = scored(ns, 1), costs(ns, paths)
    total, cap = totals(ns, scores, paths), int(np.quantile(cost, 0.6))
    found = best_paths(Bound(cost="latency", graph=ns, cap=cap), None, scores)
    assert found.costs.max() <= cap
    assert found.costs.tolist() == [ns.cost(path) for path in found.choices.tolist()]
    slack = len(ns.steps) * ((cap - ns.min_cost) // 2_000 + 1)
    assert found.scores.max() >= total[cost <= cap - slack].max() - 1e-9


@pytest.mark.parametrize("shares", [(0.3, 0.8), (0.5, 0.5), (0.8, 0.2)])
@pytest.mark.parametrize("latency", [False, True])
def test_within_two_limits_what_is_found_is_inside_and_near_the_best(
    twins: tuple[ChoiceGraph, ChoiceGraph, Paths], shares: tuple[float, float], latency: bool
) -> None:
    macs, ns, paths = twins
    bounds = [
        Bound(cost="gflops", graph=macs, cap=int(np.quantile(costs(macs, paths), shares[0]))),
        Bound(cost="latency", graph=ns, cap=int(np.quantile(costs(ns, paths), shares[1]))),
    ]
    inside = np.all([costs(each.graph, paths) <= each.cap for each in bounds], axis=0)
    if not inside.any():
        pytest.skip("nothing is inside both")
    axis, side = reversed(bounds) if latency else bounds
    short = []
    for seed in range(8):
        scores = scored(macs, seed)
        found = best_paths(axis, side, scores)
        total = totals(macs, scores, paths)
        for path in map(tuple, found.choices.tolist()):
            assert all(each.graph.cost(path) <= each.cap for each in bounds)
        best = found.scores.max() if len(found.scores) else total[inside].min()
        assert best <= total[inside].max() + 1e-9
        short.append((total[inside].max() - best) / np.ptp(total))
    if inside.sum() > 100:  # few are listed instead
        assert np.mean(short) < 0.05


@pytest.mark.parametrize("max_cells", [3, 40])
def test_rounding_bounds_the_best_from_both_sides(
    twins: tuple[ChoiceGraph, ChoiceGraph, Paths], max_cells: int
) -> None:
    _, ns, paths = twins
    scores, cost = scored(ns, 2), costs(ns, paths)
    total, span = totals(ns, scores, paths), (ns.max_cost - ns.min_cost) // 2
    up, near, down = (
        Optimum(ns, span, scores, max_cells=max_cells, rounding=rounding)
        for rounding in ("up", "nearest", "down")
    )
    assert up.delta == near.delta == down.delta
    for cell in range(len(up.values)):
        exact = total[cost <= ns.min_cost + cell * up.delta].max()
        assert up.values[cell] <= exact + 1e-9
        assert down.values[cell] >= exact - 1e-9
    for table in (up, near, down):
        cells = list(range(len(table.values)))
        edges = table.paths(cells)
        for cell in cells:
            path = table.path(cell)
            assert ns.follow(path) == edges[cell].tolist()
            assert table.rest(0, 0, cell * table.delta) == table.values[cell]
        assert table.rest(len(ns.steps), 0, 0) == 0.0


def test_what_a_way_on_scores_is_the_best_of_all_ways_on(
    twins: tuple[ChoiceGraph, ChoiceGraph, Paths],
) -> None:
    macs, _, paths = twins
    scores = scored(macs, 3)
    table = Optimum(macs, macs.max_cost - macs.min_cost, scores, max_cells=10**9)
    best: dict[tuple[int, int], float] = {}
    for path in paths:
        edges = macs.follow(path)
        assert edges is not None
        states = [0, *(int(step.target[e]) for step, e in zip(macs.steps, edges, strict=True))]
        for i, state in enumerate(states):
            rest = sum(float(s[e]) for s, e in zip(scores[i:], edges[i:], strict=True))
            best[i, state] = max(best.get((i, state), -np.inf), rest)
    for (i, state), score in best.items():
        assert table.rest(i, state, macs.max_cost - macs.min_cost) == pytest.approx(score, abs=1e-9)
