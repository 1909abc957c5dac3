"""Backbones of very different kinds in one space: fair shares, one budget, and graphs of many states."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from made_profile import made_profile

from octnas.errors import BudgetError
from octnas.space import Feasible, SearchSpace, load_space
from octnas.space.optimum import MAX_BYTES, Optimum


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space("imagenet-2d-all")


@pytest.fixture(scope="module")
def feasible(space: SearchSpace) -> Feasible:
    return space.feasible(3.0)


def test_backbones_are_drawn_alike_however_many_members_each_has(
    space: SearchSpace, feasible: Feasible
) -> None:
    assert set(feasible.backbones) == set(space.backbones) - {"wide_resnet50_2"}
    sizes = [space.members(name).size for name in feasible.backbones]
    assert max(sizes) > 10**30 * min(sizes)
    rng, draws = np.random.default_rng(0), 700
    archs = [feasible.sample(rng) for _ in range(draws)]
    assert all(map(feasible.contains, archs))
    share = draws / len(feasible.backbones)
    for name, count in Counter(arch.backbone for arch in archs).items():
        assert abs(count - share) < 4.5 * share**0.5, name
    with pytest.raises(BudgetError, match="wide_resnet50_2"):
        feasible.sample(rng, "wide_resnet50_2")


def test_a_backbone_with_concatenations_is_counted_drawn_and_repaired(feasible: Feasible) -> None:
    rng, name = np.random.default_rng(1), "densenet121"
    below = feasible.space.restricted(backbones=[name]).feasible(1.6)
    assert not below.estimated
    assert 0 < below.share() < 0.5
    drawn = [below.sample_uniform(rng, name) for _ in range(300)]
    assert all(map(below.contains, drawn))
    costs = np.array([below.gflops(arch) for arch in drawn])
    # Half of all are below the median, as of those drawn: 300 draws, 4.5 deviations.
    assert abs((costs <= below.median_gflops).sum() - 150) < 4.5 * 75**0.5
    assert costs.max() <= below.max_gflops <= 1.6
    plain = dict.fromkeys((d.name for d in below.dimensions(name)), 0)
    repaired = below.repair(name, plain, rng)
    assert below.contains(repaired)
    # Nothing nearer to the plain network fits, so it is hardly below the budget.
    assert below.gflops(repaired) > 1.55


def test_a_table_of_best_members_has_fewer_cells_where_states_are_many(feasible: Feasible) -> None:
    graph = feasible.graph("densenet121", 0)
    rng = np.random.default_rng(2)
    scores = [rng.normal(size=step.source.size) for step in graph.steps]
    states = 1 + sum(step.states for step in graph.steps)
    span = (graph.max_cost - graph.min_cost) // 3
    best = Optimum(graph, span, scores)
    assert len(best.values) * states * 8 <= MAX_BYTES
    for cell in best.steps()[:: max(1, len(best.steps()) // 10)]:
        path = best.path(cell)
        edges = graph.follow(path)
        assert edges is not None
        assert graph.cost(path) <= graph.min_cost + cell * best.delta
        assert best.values[cell] == pytest.approx(sum(s[e] for s, e in zip(scores, edges, strict=True)))


def test_latency_is_limited_where_layers_read_concatenations(space: SearchSpace) -> None:
    alone = space.restricted(backbones=["densenet121"])
    profile, rng = made_profile(alone), np.random.default_rng(3)
    every = alone.feasible(99.0, profile=profile)
    assert every.latencies is not None
    macs, ns = every.latencies.graphs("densenet121", "pooled")
    assert sum(step.states for step in ns.steps) < 30_000
    plain, half = alone.uniform("densenet121", 0), alone.uniform("densenet121", 0.5)
    for arch in (plain, half, every.sample(rng)):
        path = alone.members("densenet121").choices(arch)
        assert path is not None
        assert macs.cost(path) == alone.macs(arch)
        assert ns.cost(path) == every.latencies.ns(arch)
        expected = profile.latency_ms(arch, (3, 224, 224))
        assert every.latency_ms(arch) == pytest.approx(expected, abs=1e-3)
    assert every.latencies.plain_ms("densenet121", "pooled") == every.latency_ms(plain)
    ms = every.latency_ms(half)
    assert ms is not None
    below = alone.feasible(None, budget_ms=ms, profile=profile, objective="latency")
    drawn = [below.sample(rng) for _ in range(10)]
    assert all(map(below.contains, drawn))
    assert len(set(drawn)) == 10
