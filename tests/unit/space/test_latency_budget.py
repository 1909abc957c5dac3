"""Budgets of latency, and of latency and compute at once, against plain enumeration of tiny spaces."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_profile import made_profile

from octnas.architecture import Architecture
from octnas.costs.latency import DeviceProfile
from octnas.errors import BudgetError
from octnas.space import CostName, Feasible, load_space
from octnas.space.feasible import budget_ns
from octnas.space.region import FEW

if TYPE_CHECKING:
    from tests.unit.space.conftest import Tiny


@dataclass(frozen=True)
class Timed:
    """A tiny space with a profile; each member's multiply-adds and nanoseconds."""

    tiny: Tiny
    profile: DeviceProfile
    costs: dict[Architecture, tuple[int, int]]

    def feasible(
        self, gflops: float | None = None, ms: float | None = None, objective: CostName = "gflops"
    ) -> Feasible:
        return self.tiny.space.feasible(gflops, budget_ms=ms, profile=self.profile, objective=objective)

    def inside(self, feasible: Feasible) -> list[Architecture]:
        macs = feasible.budget_macs or 10**18
        ns = feasible.budget_ns or 10**18
        return [arch for arch, (a, b) in self.costs.items() if a <= macs and b <= ns]

    def quantiles(self, gflops: float, ms: float) -> tuple[float, float]:
        """Budgets that these shares of the members obey."""
        macs, ns = (sorted(column) for column in zip(*self.costs.values(), strict=True))
        place = len(self.costs) - 1
        return macs[int(gflops * place)] / 1e9, ns[int(ms * place)] / 1e6


@pytest.fixture(scope="session")
def timed(tiny: Tiny) -> Timed:
    profile = made_profile(tiny.space)
    latencies = tiny.space.feasible(99.0, profile=profile).latencies
    assert latencies is not None
    return Timed(tiny, profile, {arch: (macs, latencies.ns(arch)) for arch, macs in tiny.costs.items()})


BUDGETS = [(None, 0.0), (None, 0.1), (None, 0.6), (None, 1.0), (0.5, 0.5), (0.8, 0.3), (0.1, 0.9), (0.3, 1.0)]
"""Shares of the members that obey the budget of GFLOPs, and that of ms."""


@pytest.fixture(params=BUDGETS, ids=str)
def case(timed: Timed, request: pytest.FixtureRequest) -> tuple[Timed, Feasible, list[Architecture]]:
    """A space, what is feasible in it, and the same by enumeration."""
    first, second = request.param
    gflops, ms = timed.quantiles(first or 0.0, second)
    try:
        feasible = timed.feasible(None if first is None else gflops, ms)
    except BudgetError:
        assert not [1 for a, b in timed.costs.values() if a <= gflops * 1e9 and b <= budget_ns(ms)]
        pytest.skip("nothing is inside both")
    return timed, feasible, timed.inside(feasible)


Case = tuple[Timed, Feasible, list[Architecture]]


def test_latency_is_what_the_profile_predicts(timed: Timed) -> None:
    space, feasible = timed.tiny.space, timed.feasible(99.0)
    target = space.target
    for arch in list(timed.costs)[:: max(1, len(timed.costs) // 50)]:
        expected = timed.profile.latency_ms(arch, target.input_shape, target.classes)
        assert feasible.latency_ms(arch) == pytest.approx(expected, abs=1e-4)
        assert feasible.cost(arch) == feasible.gflops(arch) == timed.costs[arch][0] / 1e9
    assert space.feasible(99.0).latency_ms(next(iter(timed.costs))) is None


def test_the_paths_of_both_graphs_are_the_members(timed: Timed) -> None:
    feasible, space = timed.feasible(99.0), timed.tiny.space
    assert feasible.latencies is not None
    for arch, (macs, ns) in timed.costs.items():
        path = timed.tiny.indices[arch]
        first, second = feasible.latencies.graphs(arch.backbone, arch.downsample)
        assert (first.cost(path), second.cost(path)) == (macs, ns)
        assert first.size == second.size == space.members(arch.backbone).graph.size


def test_counting(case: Case) -> None:
    timed, feasible, inside = case
    assert inside
    assert set(feasible.backbones) == {arch.backbone for arch in inside}
    if feasible.estimated:
        assert len(inside) > FEW
        assert feasible.size == pytest.approx(len(inside), rel=0.1)
    else:
        assert feasible.size == len(inside)
    assert feasible.share() == feasible.size / len(timed.costs)
    assert feasible.up_to(10**6) == len(inside)
    for backbone in feasible.backbones:
        count = sum(arch.backbone == backbone for arch in inside)
        assert feasible.up_to(10**6, backbone) == count
        assert feasible.up_to(min(5, count), backbone) == min(5, count)
        walked = list(feasible.walk(backbone, np.random.default_rng(0)))
        assert len(walked) == len(set(walked)) == count
        assert set(walked) <= set(inside)


@pytest.mark.parametrize("cost", ["gflops", "latency"])
def test_spread(case: Case, cost: CostName) -> None:
    timed, feasible, inside = case
    values = np.sort([timed.costs[arch][cost == "latency"] for arch in inside])
    least, median, most = feasible.spread(cost)
    unit = 1e6 if cost == "latency" else 1e9
    span = max(float(np.ptp([costs[cost == "latency"] for costs in timed.costs.values()])), 1.0)
    limited = (feasible.budget_ns if cost == "latency" else feasible.budget_macs) is not None
    assert least * unit == pytest.approx(values[0], abs=0 if limited else 0.02 * span)
    middle = values[(len(values) - 1) // 2], values[len(values) // 2]
    assert middle[0] - 0.1 * span <= median * unit <= middle[1] + 0.1 * span
    assert most * unit <= values[-1] + 0.002 * span
    assert most * unit >= values[-1] - 0.05 * span


def test_draws_are_inside_both(case: Case) -> None:
    _, feasible, inside = case
    rng, members = np.random.default_rng(1), set(inside)
    drawn = [feasible.sample(rng) for _ in range(200)]
    assert set(drawn) <= members
    assert all(map(feasible.contains, drawn))
    for backbone in feasible.backbones:
        there = [arch for arch in inside if arch.backbone == backbone]
        draws = 30 * len(there) if len(there) <= 40 else 100
        uniform = {feasible.sample_uniform(rng, backbone) for _ in range(draws)}
        assert uniform == set(there) if len(there) <= 40 else uniform <= set(there)


def test_contains_is_being_inside_every_budget(case: Case) -> None:
    timed, feasible, inside = case
    assert {arch for arch in timed.costs if feasible.contains(arch)} == set(inside)


def test_uniform_draws_are_uniform(timed: Timed) -> None:
    feasible = timed.feasible(*timed.quantiles(0.6, 0.5))
    inside, rng = timed.inside(feasible), np.random.default_rng(2)
    for backbone in feasible.backbones:
        ways: dict[str, list[Architecture]] = {}
        for arch in inside:
            if arch.backbone == backbone:
                ways.setdefault(arch.downsample, []).append(arch)
        draws = 6000
        counts = Counter(feasible.sample_uniform(rng, backbone) for _ in range(draws))
        # Each way of downsampling as often, and each member of one as often as another.
        due = {arch: draws / len(ways) / len(found) for found in ways.values() for arch in found}
        order = sorted(due, key=lambda arch: (arch.downsample, timed.costs[arch]))
        bins = np.array_split(np.arange(len(order)), min(20, len(order)))
        seen = np.array([sum(counts[order[i]] for i in each) for each in bins])
        expected = np.array([sum(due[order[i]] for i in each) for each in bins])
        assert ((seen - expected) ** 2 / expected).sum() / max(len(bins) - 1, 1) < 2.5


def test_repair_gives_a_nearest_member_inside(case: Case) -> None:
    timed, feasible, inside = case
    rng, far = np.random.default_rng(3), []
    for backbone in feasible.backbones:
        for _ in range(12):
            values = {d.name: int(rng.integers(d.choices)) for d in feasible.dimensions(backbone)}
            wanted = feasible.decode(backbone, values)
            found = feasible.repair(backbone, values, rng)
            assert found in inside
            assert found == wanted or wanted not in inside
            ways = {arch.downsample for arch in inside if arch.backbone == backbone}
            assert found.downsample == wanted.downsample or wanted.downsample not in ways
            indices = [
                timed.tiny.indices[a]
                for a in inside
                if (a.backbone, a.downsample) == (backbone, found.downsample)
            ]
            index = np.array(timed.tiny.indices[wanted])
            least = np.abs(np.array(indices) - index).sum(axis=1).min()
            far.append(int(np.abs(np.array(timed.tiny.indices[found]) - index).sum() - least))
    if feasible.budget_gflops is None or not feasible.estimated:
        assert set(far) == {0}
    else:
        assert np.mean(far) <= 0.5  # two limits and many members: near, if not always nearest


def test_the_limit_is_the_budget_or_the_largest_of_the_space(timed: Timed) -> None:
    gflops, ms = timed.quantiles(0.5, 0.7)
    macs, ns = (max(column) for column in zip(*timed.costs.values(), strict=True))
    assert timed.feasible(gflops, ms).limit == gflops
    assert timed.feasible(gflops, ms, "latency").limit == ms
    assert timed.feasible(None, ms).limit == macs / 1e9
    weighed = timed.feasible(gflops, None, "latency")
    assert weighed.limit == ns / 1e6
    arch = next(iter(timed.costs))
    assert (weighed.cost(arch), weighed.units(arch)) == (timed.costs[arch][1] / 1e6, timed.costs[arch][1])
    inside = [timed.costs[arch][1] for arch in timed.inside(weighed)]
    assert max(inside) <= weighed.reference_units + 0.01 * ns
    assert weighed.reference_units <= ns
    assert timed.feasible(gflops).reference_units == timed.feasible(gflops).budget_macs


def test_a_budget_of_time_that_nothing_meets_names_the_fastest(timed: Timed) -> None:
    fastest = min(ns for _, ns in timed.costs.values())
    assert timed.feasible(None, fastest / 1e6).up_to(10) >= 1
    with pytest.raises(BudgetError, match=rf"{fastest / 1e6:.4f}"[:-1]) as error:
        timed.feasible(None, (fastest - 1) / 1e6)
    assert "\n" not in str(error.value)
    enough = float(str(error.value).split("raise --budget-ms to ")[1].split()[0])
    assert timed.feasible(None, enough).size >= 1


def test_two_budgets_that_nothing_meets_name_both(timed: Timed) -> None:
    with pytest.raises(BudgetError, match="smallest reachable costs") as error:
        timed.feasible(1e-6, 1e-6)
    text = str(error.value)
    gflops = float(text.split("raise --budget-gflops to ")[1].split()[0])
    ms = float(text.split("--budget-ms to ")[1].split()[0])
    assert timed.feasible(gflops).size >= 1
    assert timed.feasible(None, ms).size >= 1


def test_budgets_that_exclude_each_other_say_what_is_reachable_within_one(timed: Timed) -> None:
    macs = min(timed.costs.values())[0]
    fast = min(ns for cost, ns in timed.costs.values() if cost == macs)
    if fast == min(ns for _, ns in timed.costs.values()):
        pytest.skip("the cheapest is the fastest")
    with pytest.raises(BudgetError, match=r"within .* GFLOPs .* the smallest reachable latency") as error:
        timed.feasible(macs / 1e9, (fast - 1) / 1e6)
    enough = float(str(error.value).split("raise --budget-ms to ")[1].split()[0])
    both = timed.feasible(macs / 1e9, enough)
    assert {timed.costs[arch][0] for arch in timed.inside(both)} == {macs}


def test_a_search_has_a_budget_and_latency_a_profile() -> None:
    space = load_space("small-2d")
    with pytest.raises(BudgetError, match="must have a budget"):
        space.feasible()
    for options in ({"budget_ms": 1.0}, {"budget_gflops": 1.0, "objective": "latency"}):
        with pytest.raises(BudgetError, match="`octnas profile`"):
            space.feasible(**options)  # type: ignore[arg-type]
    for budget in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BudgetError, match="`budget_ms` must be finite and above 0"):
            space.feasible(budget_ms=budget, profile=made_profile(space))


def test_the_default_space_within_both() -> None:
    space = load_space("imagenet-2d")
    profile, rng = made_profile(space), np.random.default_rng(0)
    feasible = space.feasible(2.2, budget_ms=18.0, profile=profile)
    assert feasible.latencies is not None
    for name in space.backbones:
        _, ns = feasible.latencies.graphs(name, "pooled")
        assert max(step.states for step in ns.steps) <= 64
    for name in feasible.backbones:
        drawn = [feasible.sample(rng, name) for _ in range(20)]
        assert all(map(feasible.contains, drawn))
        assert len(set(drawn)) > 10
        plain = dict.fromkeys((d.name for d in feasible.dimensions(name)), 0)
        assert feasible.contains(feasible.repair(name, plain, rng))
    assert feasible.estimated
    assert 0 < feasible.share() < 1e-6
    assert feasible.median_gflops < 2.2
    assert feasible.spread("latency").max <= 18.0
