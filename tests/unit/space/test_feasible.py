"""Counting, sampling and repair against plain enumeration of tiny spaces."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from octnas.architecture import Architecture
from octnas.errors import BudgetError, UnknownNameError
from octnas.space import load_space
from octnas.space.counting import CountTable
from octnas.space.feasible import budget_macs

if TYPE_CHECKING:
    from tests.unit.space.conftest import Tiny


def budgets(tiny: Tiny) -> list[float]:
    costs = sorted(tiny.costs.values())
    return [
        costs[0] / 1e9,
        costs[len(costs) // 50] / 1e9,
        costs[len(costs) // 2] / 1e9,
        costs[-1] / 1e9,
        99.0,
    ]


def chi_square_per_degree(counts: Counter[Architecture], expected: dict[Architecture, float]) -> float:
    """About 1 where the draws follow `expected`; rare members are pooled to 8 draws or more a bin."""
    statistic, bins, seen, due = 0.0, 0, 0.0, 0.0
    for arch, mean in sorted(expected.items(), key=lambda item: item[1]):
        seen, due = seen + counts[arch], due + mean
        if due >= 8:
            statistic, bins, seen, due = statistic + (seen - due) ** 2 / due, bins + 1, 0.0, 0.0
    return statistic / max(bins - 1, 1)


def test_size_counts_distinct_architectures(tiny: Tiny) -> None:
    assert tiny.space.size() == len(tiny.costs)


def test_extremes_and_median_of_the_space(tiny: Tiny) -> None:
    costs, space = sorted(tiny.costs.values()), tiny.space
    assert tiny.costs[space.smallest()] == costs[0]
    assert tiny.costs[space.largest()] == costs[-1]
    assert (space.min_gflops, space.max_gflops) == (costs[0] / 1e9, costs[-1] / 1e9)
    assert space.median_gflops == costs[(len(costs) - 1) // 2] / 1e9


def test_costs_are_the_closed_form(tiny: Tiny) -> None:
    assert all(tiny.space.macs(arch) == macs for arch, macs in tiny.costs.items())


def test_count_below_a_budget(tiny: Tiny) -> None:
    for budget in budgets(tiny):
        feasible = tiny.space.feasible(budget)
        inside = sorted(macs for macs in tiny.costs.values() if macs <= budget_macs(budget))
        assert feasible.size == len(inside)
        assert feasible.share() == len(inside) / len(tiny.costs)
        assert feasible.min_gflops == inside[0] / 1e9
        assert feasible.max_gflops == inside[-1] / 1e9
        assert feasible.median_gflops == inside[(len(inside) - 1) // 2] / 1e9
        present = {arch.backbone for arch, macs in tiny.costs.items() if macs <= budget_macs(budget)}
        assert set(feasible.backbones) == present


def test_uniform_draws_are_uniform(tiny: Tiny) -> None:
    budget = budgets(tiny)[1]
    feasible, rng = tiny.space.feasible(budget), np.random.default_rng(1)
    for backbone in feasible.backbones:
        inside = [
            a for a, macs in tiny.costs.items() if a.backbone == backbone and macs <= budget_macs(budget)
        ]
        draws = min(20 * len(inside), 6000)
        counts = Counter(feasible.sample_uniform(rng, backbone) for _ in range(draws))
        assert set(counts) <= set(inside)
        assert chi_square_per_degree(counts, dict.fromkeys(inside, draws / len(inside))) < 2.5


def test_draws_follow_backbone_then_cap_then_uniform(tiny: Tiny) -> None:
    budget = budgets(tiny)[2]
    feasible, rng, draws = tiny.space.feasible(budget), np.random.default_rng(2), 4000
    expected: dict[Architecture, float] = {}
    for backbone in feasible.backbones:
        members = [(macs, a) for a, macs in tiny.costs.items() if a.backbone == backbone]
        costs = np.sort([macs for macs, _ in members])
        caps = np.arange(costs[0], min(budget_macs(budget), costs[-1]) + 1)
        density = 1 / np.searchsorted(costs, caps, side="right") / len(caps) / len(feasible.backbones)
        reach = np.concatenate([np.cumsum(density[::-1])[::-1], [0.0]])
        for macs, arch in members:
            expected[arch] = draws * reach[min(macs - costs[0], len(caps))]
    assert sum(expected.values()) == pytest.approx(draws)
    counts = Counter(feasible.sample(rng) for _ in range(draws))
    assert all(expected[arch] > 0 for arch in counts)
    assert chi_square_per_degree(counts, expected) < 2


def test_repair_gives_a_nearest_member_inside(tiny: Tiny) -> None:
    rng = np.random.default_rng(3)
    for budget in budgets(tiny)[:3]:
        feasible = tiny.space.feasible(budget)
        for backbone in feasible.backbones:
            inside = np.array(
                [
                    tiny.indices[a]
                    for a, macs in tiny.costs.items()
                    if a.backbone == backbone and macs <= budget_macs(budget)
                ]
            )
            for _ in range(12):
                values = {d.name: int(rng.integers(d.choices)) for d in feasible.dimensions(backbone)}
                wanted = feasible.decode(backbone, values)
                found = feasible.repair(backbone, values, rng)
                assert feasible.contains(found)
                assert found.downsample == wanted.downsample
                distance = np.abs(np.array(tiny.indices[found]) - tiny.indices[wanted]).sum()
                assert distance == np.abs(inside - tiny.indices[wanted]).sum(1).min()


def test_repair_leaves_members_alone(tiny: Tiny) -> None:
    budget = budgets(tiny)[2]
    feasible, rng = tiny.space.feasible(budget), np.random.default_rng(4)
    for _ in range(20):
        arch = feasible.sample(rng)
        assert feasible.repair(arch.backbone, feasible.encode(arch), rng) == arch


def test_a_seed_repeats_its_draws(tiny: Tiny) -> None:
    first, second = (tiny.space.feasible(99.0) for _ in range(2))
    one, two = np.random.default_rng(5), np.random.default_rng(5)
    assert [first.sample(one) for _ in range(10)] == [second.sample(two) for _ in range(10)]


@pytest.mark.parametrize("cells", [1, 7, 60])
def test_a_coarse_table_still_draws_uniformly_below_the_cap(
    tiny: Tiny, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny.space.backbones[0]
    graph, rng = tiny.space.members(backbone).graph, np.random.default_rng(6)
    costs = np.array(
        sorted({tiny.indices[a]: m for a, m in tiny.costs.items() if a.backbone == backbone}.values())
    )
    span = int(costs[len(costs) // 3] - costs[0])
    inside = int((costs <= costs[0] + span).sum())
    assert CountTable(graph, span, max_cells=cells).count(span) == inside
    assert (
        CountTable(graph, span, max_cells=cells).last(span)
        == costs[costs <= costs[0] + span].max() - costs[0]
    )
    with monkeypatch.context() as patch:
        patch.setattr("octnas.space.counting.paths_by_cost", lambda graph: None)
        table = CountTable(graph, span, max_cells=cells)
        # Estimated by 2,000 draws from the table that is rounded down.
        assert table.count(span) == pytest.approx(inside, rel=0.25)
        assert table.counted == table.exact
    draws = Counter(table.sample(span, rng) for _ in range(400))
    assert all(graph.contains(choices) for choices in draws)
    by_choices = {tiny.indices[a]: m for a, m in tiny.costs.items() if a.backbone == backbone}
    drawn = np.array([by_choices[choices] for choices in draws.elements()]) - costs[0]
    assert drawn.max() <= span
    if cells == 60:
        expected = (costs[costs <= costs[0] + span] - costs[0]).mean()
        assert drawn.mean() == pytest.approx(expected, abs=0.12 * span)


def test_budget_at_the_smallest_cost_is_reachable_and_below_is_refused() -> None:
    space = load_space("imagenet-2d")
    macs = space.macs(space.smallest())
    feasible = space.feasible(macs / 1e9)
    assert (feasible.backbones, feasible.size) == (("resnet18",), 1)
    assert feasible.sample(np.random.default_rng(0)) == space.smallest()
    with pytest.raises(BudgetError, match=r"smallest reachable cost of space imagenet-2d is 0\.945 GFLOPs"):
        space.feasible((macs - 1) / 1e9)


def test_the_figure_that_the_remedy_names_is_enough() -> None:
    for space in (load_space("imagenet-2d"), load_space("small-2d")):
        with pytest.raises(BudgetError) as error:
            space.feasible(1e-6)
        named = float(str(error.value).split("raise --budget-gflops to ")[1].split()[0])
        assert space.feasible(named).size >= 1
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("budget", [0, -1.0, float("nan"), float("inf")])
def test_a_budget_must_be_a_positive_number(budget: float) -> None:
    with pytest.raises(BudgetError, match="must be finite and above 0"):
        load_space("small-2d").feasible(budget)


def test_a_backbone_that_does_not_fit_is_refused_by_name() -> None:
    feasible = load_space("imagenet-2d").feasible(1.0)
    assert feasible.backbones == ("resnet18",)
    with pytest.raises(BudgetError, match=r"1\.880 GFLOPs \(multiply-adds\), resnet50"):
        feasible.sample(np.random.default_rng(0), backbone="resnet50")
    with pytest.raises(UnknownNameError, match="did you mean 'resnet50'"):
        feasible.sample(np.random.default_rng(0), backbone="resnet51")


def test_the_default_space_at_two_gflops() -> None:
    feasible, rng = load_space("imagenet-2d").feasible(2.0), np.random.default_rng(0)
    archs = [feasible.sample(rng) for _ in range(200)]
    costs = [feasible.space.gflops(arch) for arch in archs]
    assert max(costs) <= 2.0
    assert {arch.backbone for arch in archs} == {"resnet18", "resnet26", "resnet34", "resnet50"}
    # The cost cap spreads the draws: uniform ones would nearly all be within 2 % of the budget.
    assert float(np.quantile(costs, 0.1)) < 1.5
    assert 0 < feasible.share() < 1e-7
    values = {d.name: d.choices // 2 for d in feasible.dimensions("resnet50")}
    assert feasible.space.gflops(feasible.decode("resnet50", values)) > 2.0
    assert feasible.contains(feasible.repair("resnet50", values, rng))
