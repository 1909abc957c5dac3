"""The hypervolume that a point gains, against moocore, and what a draw proposes."""

from __future__ import annotations

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import TINY_SPACE

from octnas.engine.acquisition import Started, arms_of, gains, most_gained
from octnas.engine.proposals import Unknown
from octnas.engine.surrogate import Observation, Surrogate
from octnas.space import SearchSpace, parse_space

PROXY = "proxy: {data: fashion-sample, width: 16, epochs: 1}\n"
POINTS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=12)


@given(POINTS, POINTS)
def test_a_gain_is_the_hypervolume_with_the_point_less_that_without(
    points: list[tuple[int, int]], known: list[tuple[int, int]]
) -> None:
    reference = (10.0, 2.0)

    def volume(found: list[tuple[int, int]]) -> float:
        inside = np.array([each for each in found if each[0] < 10 and each[1] > 2], dtype=np.float64)
        if not len(inside):
            return 0.0
        return float(moocore.hypervolume(inside, ref=list(reference), maximise=[False, True]))

    gained = gains(*_columns(points), *_columns(known), reference=reference)
    expected = [volume([*known, point]) - volume(known) for point in points]
    assert gained.tolist() == pytest.approx(expected)


def _columns(points: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(points, dtype=np.float64)
    return table[:, 0], table[:, 1]


def _learn(space: SearchSpace, worth: dict[str, float], budget: float = 0.04) -> list[str]:
    """The arms that are proposed when an architecture is worth its compute and its arm's bonus."""
    feasible, rng = space.feasible(budget), np.random.default_rng(0)
    arms, unknown = arms_of(feasible), Unknown(feasible)
    surrogate = Surrogate({arm: space.members(name) for arm, (name, _) in arms.items()}, epochs=1)
    started: list[Started] = []
    observations: list[Observation] = []
    proposed = []
    for number in range(24):
        if number < 8:
            architecture = feasible.sample(rng)
        else:
            surrogate.fit(observations)
            found = most_gained(feasible, arms, surrogate, started, unknown, rng)
            assert found is not None
            assert unknown.has(found)
            assert feasible.contains(found)
            architecture = found
        unknown.take(architecture)
        choices = space.members(architecture.backbone).choices(architecture)
        assert choices is not None
        way = space.downsample.index(architecture.downsample)
        arm = next(key for key, each in arms.items() if each == (architecture.backbone, way))
        started.append((arm, choices, space.macs(architecture)))
        score = 0.5 + 5 * space.gflops(architecture) + worth[arm]
        observations.append(Observation(backbone=arm, choices=choices, score=score, epoch=1))
        proposed.append(arm)
    return proposed[8:]


def test_each_backbone_is_an_arm_and_so_is_each_way_of_downsampling() -> None:
    space = parse_space(TINY_SPACE + PROXY)
    assert arms_of(space.feasible(0.04)) == {"resnet18": ("resnet18", 0), "resnet26": ("resnet26", 0)}
    both = parse_space(TINY_SPACE + "downsample: [pooled, strided]\n" + PROXY)
    assert list(arms_of(both.feasible(0.04))) == [
        "resnet18, pooled",
        "resnet18, strided",
        "resnet26, pooled",
        "resnet26, strided",
    ]


def test_the_backbone_that_is_worth_more_is_proposed() -> None:
    space = parse_space(TINY_SPACE + PROXY)
    proposed = _learn(space, {"resnet18": 0.0, "resnet26": 0.3})
    assert proposed.count("resnet26") > 0.7 * len(proposed)


def test_the_way_of_downsampling_that_is_worth_more_is_proposed() -> None:
    space = parse_space(TINY_SPACE + "downsample: [strided, pooled]\n" + PROXY)
    worth = {
        f"{name}, {way}": 0.3 * (way == "pooled") for name in space.backbones for way in space.downsample
    }
    proposed = _learn(space, worth)
    assert sum(arm.endswith("pooled") for arm in proposed) > 0.7 * len(proposed)


def test_where_everything_is_known_nothing_is_proposed() -> None:
    space = parse_space(TINY_SPACE.replace("[0, 0.25, 0.5, 0.75]", "[0, 0.5]") + PROXY)
    space = SearchSpace(space.definition.model_copy(update={"backbones": ("resnet18",)}))
    feasible = space.feasible(1.0)
    unknown, rng = Unknown(feasible), np.random.default_rng(1)
    surrogate = Surrogate({"resnet18": space.members("resnet18")}, epochs=1)
    arms = arms_of(feasible)
    started: list[Started] = []
    while unknown.left():
        architecture = unknown.draw("resnet18", rng)
        unknown.take(architecture)
        choices = space.members("resnet18").choices(architecture)
        assert choices is not None
        started.append(("resnet18", choices, space.macs(architecture)))
    assert len(started) == space.size()
    assert most_gained(feasible, arms, surrogate, started, unknown, rng) is None
