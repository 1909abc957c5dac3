"""The yardsticks of a search: which, in which order, and never too many."""

from __future__ import annotations

import pytest

from octnas.engine.yardsticks import choose_yardsticks, most_yardsticks
from octnas.space import SearchSpace, load_space, parse_space


def labels(space: SearchSpace, budget: float, trials: int = 24) -> list[tuple[str, str]]:
    chosen = choose_yardsticks(space, space.feasible(budget), trials=trials)
    return [(each.label, each.architecture.backbone) for each in chosen]


def test_imagenet_at_two_gflops_has_the_dearest_uniform_alpha_of_each_backbone() -> None:
    # octave.md: at 224 px resnet50 costs 1.880 at .75 and 2.367 at .5; resnet18 plain 1.814
    space = load_space("imagenet-2d")
    found = labels(space, 2.0)
    assert ("uniform-0.75", "resnet50") in found
    assert ("uniform-0", "resnet18") in found
    assert found[-2:] == [("plain-pooled", "resnet50"), ("plain", "resnet50")]
    assert len(found) == 6


@pytest.mark.parametrize("budget", [0.02, 0.03, 0.04, 0.05])
def test_each_uniform_yardstick_fits_and_the_next_dearer_alpha_does_not(
    space: SearchSpace, budget: float
) -> None:
    feasible = space.feasible(budget)
    uniform = [
        each for each in choose_yardsticks(space, feasible, trials=24) if each.label.startswith("uniform")
    ]
    for each in uniform:
        backbone = each.architecture.backbone
        mine = space.gflops(each.architecture)
        others = [space.gflops(space.uniform(backbone, alpha)) for alpha in space.alphas]
        assert mine == max(cost for cost in others if cost <= budget)
        assert each.architecture.downsample == "pooled"


def test_plain_networks_of_the_dearest_backbone_come_last_and_may_be_over_budget(space: SearchSpace) -> None:
    chosen = choose_yardsticks(space, space.feasible(0.04), trials=24)
    plain = {each.label: each.architecture for each in chosen[-2:]}
    assert list(plain) == ["plain-pooled", "plain"]
    assert plain["plain"].downsample == "strided"
    assert space.gflops(plain["plain"]) > 0.04
    assert not any(plain["plain"].low_channels)


def test_a_plain_network_that_fits_is_there_once(space: SearchSpace) -> None:
    found = labels(space, 1.0)
    assert found == [("plain-pooled", "resnet26"), ("uniform-0", "resnet18"), ("plain", "resnet26")]


@pytest.mark.parametrize(("trials", "most"), [(1, 0), (2, 1), (5, 2), (16, 8), (200, 8)])
def test_at_most_a_third_of_all_trainings_and_at_most_eight(
    space: SearchSpace, trials: int, most: int
) -> None:
    assert most_yardsticks(trials) == most
    assert len(choose_yardsticks(space, space.feasible(0.04), trials=trials)) == min(most, 4)


def test_where_they_are_cut_short_the_uniform_ones_stay(space: SearchSpace) -> None:
    assert labels(space, 0.04, trials=4) == [("uniform-0.25", "resnet26"), ("uniform-0", "resnet18")]


def test_a_single_feasible_member_is_left_to_the_candidates() -> None:
    space = parse_space(
        "name: one\ndescription: one\ngranularity: stage\nalphas: [0.5]\nbackbones: [resnet18]\n"
        "target: {input_size: 32, width: 16, stem: small}\n"
        "proxy: {data: fashion-sample, width: 16, epochs: 1}\n"
    )
    assert space.size() == 1
    assert labels(space, 1.0) == []


def test_strided_spaces_have_strided_yardsticks() -> None:
    text = load_space("small-2d").to_yaml().replace("- pooled", "- strided")
    chosen = choose_yardsticks(parse_space(text), parse_space(text).feasible(0.04), trials=24)
    assert {each.architecture.downsample for each in chosen if each.label != "plain-pooled"} == {"strided"}
