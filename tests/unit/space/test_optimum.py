"""The best member at every cost, against plain enumeration of tiny spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from octnas.space import Members, Optimum, load_space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.unit.space.conftest import Tiny


def scored(members: Members, seed: int) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=step.source.size) for step in members.graph.steps]


def follow(
    members: Members, scores: list[NDArray[np.float64]], choices: tuple[int, ...]
) -> tuple[float, int]:
    """Total score of a path and its multiply-adds, edge by edge."""
    state, total, macs = 0, 0.0, members.graph.constant
    for step, score, choice in zip(members.graph.steps, scores, choices, strict=True):
        edge = next(e for e in range(step.source.size) if (step.source[e], step.choice[e]) == (state, choice))
        total, macs, state = total + score[edge], macs + int(step.cost[edge]), int(step.target[edge])
    return total, macs


def members_of(tiny: Tiny, backbone: str) -> dict[tuple[int, ...], int]:
    return {tiny.indices[a]: macs for a, macs in tiny.costs.items() if a.backbone == backbone}


def test_best_at_every_cost_is_the_best_by_enumeration(tiny: Tiny) -> None:
    for seed, backbone in enumerate(tiny.space.backbones):
        members = tiny.space.members(backbone)
        graph, scores = members.graph, scored(members, seed)
        span = graph.max_cost - graph.min_cost
        best = Optimum(graph, span, scores, max_cells=span // graph.quantum)
        assert best.delta == graph.quantum
        cells, totals = [], []
        for choices, macs in members_of(tiny, backbone).items():
            total, along = follow(members, scores, choices)
            assert along == macs
            cells.append((macs - graph.min_cost) // graph.quantum)
            totals.append(total)
        expected = np.full(len(best.values), -np.inf)
        np.maximum.at(expected, cells, totals)
        np.testing.assert_allclose(best.values, np.maximum.accumulate(expected), atol=1e-12)


def test_paths_have_the_value_and_fit(tiny: Tiny) -> None:
    for seed, backbone in enumerate(tiny.space.backbones):
        members = tiny.space.members(backbone)
        graph, scores = members.graph, scored(members, seed)
        best = Optimum(graph, graph.max_cost - graph.min_cost, scores, max_cells=10**9)
        front = best.steps()
        assert front[0] == 0
        for cell in front:
            total, macs = follow(members, scores, best.path(cell))
            assert total == pytest.approx(best.values[cell], abs=1e-12)
            # No cheaper member is as good, so the path sits exactly on the cell's cost.
            assert macs == graph.min_cost + cell * best.delta
        assert np.all(np.diff(best.values) >= 0)
        assert set(front[1:]) == {
            c for c in range(1, len(best.values)) if best.values[c] > best.values[c - 1]
        }


@pytest.mark.parametrize("max_cells", [1, 7, 40])
def test_a_coarse_grid_never_exceeds_the_cap(tiny: Tiny, max_cells: int) -> None:
    for seed, backbone in enumerate(tiny.space.backbones):
        members = tiny.space.members(backbone)
        graph, scores = members.graph, scored(members, seed)
        span = (graph.max_cost - graph.min_cost) * 2 // 3
        coarse = Optimum(graph, span, scores, max_cells=max_cells)
        fine = Optimum(graph, span, scores, max_cells=10**9)
        assert len(coarse.values) <= max_cells + 1
        for cell in range(len(coarse.values)):
            total, macs = follow(members, scores, coarse.path(cell))
            assert macs <= graph.min_cost + cell * coarse.delta <= graph.min_cost + span
            assert total == pytest.approx(coarse.values[cell], abs=1e-12)
            assert total <= fine.values[cell * coarse.delta // fine.delta] + 1e-12


def test_no_span_leaves_the_cheapest(tiny: Tiny) -> None:
    for backbone in tiny.space.backbones:
        members = tiny.space.members(backbone)
        best = Optimum(members.graph, 0, scored(members, 3))
        cheapest = [c for c, macs in members_of(tiny, backbone).items() if macs == members.graph.min_cost]
        assert best.values.shape == (1,)
        assert best.path(0) in cheapest
        assert best.values[0] == pytest.approx(
            max(follow(members, scored(members, 3), c)[0] for c in cheapest)
        )


def test_ties_go_to_the_smaller_indices(tiny: Tiny) -> None:
    for backbone in tiny.space.backbones:
        members = tiny.space.members(backbone)
        graph = members.graph
        level = [np.zeros(step.source.size) for step in graph.steps]
        best = Optimum(graph, graph.max_cost - graph.min_cost, level, max_cells=10**9)
        assert best.steps() == [0]
        inside = members_of(tiny, backbone)
        for cell in {0, len(best.values) // 2, len(best.values) - 1}:
            cap = graph.min_cost + cell * best.delta
            assert best.path(cell) == min(choices for choices, macs in inside.items() if macs <= cap)


def test_a_real_space_below_a_budget() -> None:
    space = load_space("imagenet-2d")
    members = space.members("resnet50")
    graph, scores = members.graph, scored(members, 0)
    span = 2_431_000_000 - graph.min_cost
    best = Optimum(graph, span, scores)
    assert best.delta == graph.quantum
    rng, feasible = np.random.default_rng(0), space.feasible(2.431)
    for _ in range(50):
        choices = members.choices(feasible.sample(rng, "resnet50"))
        assert choices is not None
        total, macs = follow(members, scores, choices)
        assert total <= best.values[(macs - graph.min_cost) // best.delta] + 1e-12


def test_states_remember_what_the_graph_says(tiny: Tiny) -> None:
    for backbone in tiny.space.backbones:
        members = tiny.space.members(backbone)
        position = {slot.index: i for i, slot in enumerate(members.slots)}
        for choices in members_of(tiny, backbone):
            state = 0
            for step, choice in zip(members.graph.steps, choices, strict=True):
                assert step.memory.shape == (step.states, len(step.known))
                assert step.memory[state].tolist() == [choices[position[slot]] for slot in step.known]
                edge = np.flatnonzero((step.source == state) & (step.choice == choice))[0]
                state = int(step.target[edge])
