"""What a graph's states remember: as little as the terms of the costs allow, sums instead of their parts."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from octnas.backbones import Slot
from octnas.costs.flops import CostTable, Joint, Pair
from octnas.space import Members, Target, load_space
from octnas.space.choices import build_graphs
from octnas.space.counting import CountTable
from octnas.space.histogram import paths_by_cost
from octnas.space.schema import Granularity
from octnas.space.terms import Terms, macs_terms


def members_of(backbone: str, granularity: Granularity = "stage+layer") -> Members:
    space = load_space("imagenet-2d")
    return Members(
        backbone=backbone,
        granularity=granularity,
        alphas=space.alphas,
        downsample=("pooled",),
        target=Target(input_size=224),
    )


def made_up(rng: random.Random, slots: int) -> Terms:
    """Terms that no network has: any pairs, and sums of any slots with or without a later one."""
    pairs = {
        pair: tuple(tuple(rng.randrange(50) for _ in range(3)) for _ in range(3))
        for pair in rng.sample(list(itertools.combinations(range(slots), 2)), 3)
    }
    sums = {}
    for _ in range(4):
        *sources, last = sorted(rng.sample(range(slots), rng.randint(3, 4)))
        slot = last if rng.random() < 0.6 else None
        key = tuple(sources) if slot is not None else (*sources, last)
        width = 1 if slot is None else 3
        sums[key, slot] = {total: tuple(rng.randrange(90) for _ in range(width)) for total in range(60)}
    unary = {slot: tuple(rng.randrange(-99, 0) for _ in range(3)) for slot in range(slots)}
    return Terms(constant=rng.randrange(1000), unary=unary, pairs=pairs, sums=sums)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("granularity", ["stage", "block", "layer", "stage+layer"])
def test_paths_cost_what_the_terms_say(seed: int, granularity: Granularity) -> None:
    rng, count = random.Random(seed), 6
    slots = [Slot(index=i, name=f"{i}", channels=16, stage=i // 3, block=i // 2) for i in range(count)]
    lows = [tuple(sorted(rng.sample(range(15), 3))) for _ in slots]
    costs = [made_up(rng, count), made_up(rng, count)]
    graphs = build_graphs(costs, slots, lows, [True] * count, granularity)
    found = 0
    for choices in itertools.product(range(3), repeat=count):
        if not graphs[0].contains(choices):
            continue
        found += 1
        for terms, graph in zip(costs, graphs, strict=True):
            expected = terms.constant + sum(terms.unary[i][a] for i, a in enumerate(choices))
            expected += sum(table[choices[i]][choices[j]] for (i, j), table in terms.pairs.items())
            for (sources, slot), table in terms.sums.items():
                total = sum(lows[i][choices[i]] for i in sources)
                expected += table[total][0 if slot is None else choices[slot]]
            assert graph.cost(choices) == expected
    # Of three alphas a stage's largest and smallest index never differ by more than two.
    free = {"stage": 2, "block": 4, "layer": 6, "stage+layer": 6}[granularity]
    if granularity == "block":  # blocks of a stage: (0, 1), (2,), (2, 3) and (4, 5)
        free = len({(slot.stage, slot.block) for slot in slots})
    assert found == graphs[0].size == 3**free


def test_a_sum_with_one_searched_part_is_a_pair_and_with_none_a_term_of_its_own() -> None:
    costs = CostTable(
        slots=4,
        constant=1000,
        linear=np.array([-1, -2, -3, -4]),
        pairs=(Pair(0, 3, 2, 4), Pair(2, 2, 1, 1)),
        plain_activations=0,
        activation_linear=np.zeros(4, dtype=np.int64),
        joint=(Joint((0, 1, 2), 3, 5),),
    )
    lows = [(0, 4), (0, 8), (4, 8), (0, 16)]
    for octave in itertools.product((True, False), repeat=4):
        terms = macs_terms(costs, lows, octave)
        searched = sum(octave[:3])
        assert (len(terms.sums) == 1) == (octave[3] and searched > 1)
        for choices in itertools.product((0, 1), repeat=4):
            chosen = [lows[i][a] if octave[i] else 0 for i, a in enumerate(choices)]
            total = terms.constant + sum(terms.unary[i][choices[i]] for i in range(4) if octave[i])
            total += sum(table[choices[i]][choices[j]] for (i, j), table in terms.pairs.items())
            for (sources, slot), table in terms.sums.items():
                assert slot == 3
                total += table[sum(chosen[i] for i in sources)][choices[3]]
            assert total == int(costs.macs(np.array([chosen]))[0])


def test_a_densenet_remembers_how_many_low_channels_it_reads_and_not_whose() -> None:
    members = members_of("densenet121", "layer")
    graph = members.graph
    # The third stage reads 256 channels and 32 of each of 24 layers, all by eighths: at most 97 totals,
    # and between the two convolutions of a layer four alphas of the first.
    assert max(step.states for step in graph.steps) <= 97 * 4
    assert graph.size == 4**86
    stepped = members_of("densenet121")
    assert sum(step.states for step in stepped.graph.steps) < 25_000
    assert stepped.size == (2 * 3**13 - 2**13) * (2 * 3**25 - 2**25) * (2 * 3**48 - 2**48)


def test_a_depthwise_layer_depends_on_no_other() -> None:
    members = members_of("mobilenet_v1", "layer")
    depthwise = {conv.slot: conv.depthwise for conv in members.table.convs}
    assert {depthwise[step.slot] for step in members.graph.steps} == {True, False}
    for step in members.graph.steps:
        # A pointwise layer needs the depthwise one before it; nobody needs what that one reads.
        assert step.known == (() if depthwise[step.slot] else (step.slot - 1,))
        assert step.states == (1 if depthwise[step.slot] else 4)


@pytest.mark.parametrize("backbone", ["resnext50_32x4d", "densenet121", "mobilenet_v2_x1_4"])
def test_paths_are_counted_by_their_cost(backbone: str) -> None:
    members = members_of(backbone)
    by_cost = paths_by_cost(members.graph)
    assert by_cost is not None
    assert by_cost.sum() == pytest.approx(float(members.graph.size), rel=1e-12)
    assert len(by_cost) == (members.graph.max_cost - members.graph.min_cost) // members.graph.quantum + 1
    # The mean cost of paths drawn uniformly, against that of all.
    graph, rng = members.graph, np.random.default_rng(0)
    table = CountTable(graph, graph.max_cost - graph.min_cost)
    drawn = np.array([graph.cost(table.sample(table.span, rng)) for _ in range(100)])
    cost = graph.min_cost + np.arange(len(by_cost)) * float(graph.quantum)
    share = by_cost / by_cost.sum()
    mean = float(share @ cost)
    spread = float(np.sqrt(share @ (cost - mean) ** 2))
    assert abs(drawn.mean() - mean) < 4 * spread / 10
    assert table.counted
    assert table.last(table.span) == table.span
