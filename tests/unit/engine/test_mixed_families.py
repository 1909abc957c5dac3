"""One sampler over backbones of very different depth, and over 2D and 3D ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from octnas.architecture import Architecture
from octnas.engine.observations import Observation
from octnas.engine.optuna_adapter import Proposer
from octnas.engine.proposals import ROUND_ROBIN
from octnas.engine.surrogate import Surrogate
from octnas.record import EpochScore, TrialRecord, TrialState
from octnas.space import SearchSpace, load_space

DEEP = ("resnet18", "resnet101", "densenet121")
"""16, 99 and 119 layers to choose for."""


@pytest.fixture(scope="module")
def deep() -> SearchSpace:
    return load_space("imagenet-2d-all").restricted(backbones=DEEP)


@pytest.fixture(scope="module")
def clips() -> SearchSpace:
    return load_space("clips-small")


def complete(number: int, architecture: Architecture, gflops: float, accuracy: float) -> TrialRecord:
    score = EpochScore(
        epoch=4, accuracy=accuracy, loss=1 - accuracy, train_loss=1.0, seconds=1.0, train_seconds=1.0,
        images_per_second=1.0,
    )  # fmt: skip
    return TrialRecord(
        id=str(number), architecture=architecture, state=TrialState.COMPLETE, gflops=gflops, params=1,
        accuracy=accuracy, loss=1 - accuracy, epochs=4, scores=(score,),
    )  # fmt: skip


def proposed(
    space: SearchSpace, budget: float, count: int, accuracy: Callable[[Architecture], float]
) -> list[Architecture]:
    """What is proposed one after the other where these accuracies come back."""
    proposer = Proposer(space.feasible(budget), sampler="thompson", seed=0)
    found = []
    for number in range(count):
        architecture = proposer.ask()
        assert architecture is not None
        found.append(architecture)
        gflops = space.gflops(architecture)
        proposer.tell(complete(number, architecture, gflops, accuracy(architecture)))
    return found


def test_deep_backbones_take_no_more_than_their_share_before_promise_decides(deep: SearchSpace) -> None:
    found = proposed(deep, 8.0, 9, lambda architecture: 0.5)
    assert Counter(each.backbone for each in found[: 3 * ROUND_ROBIN]) == dict.fromkeys(DEEP, ROUND_ROBIN)
    assert len({each.digest for each in found}) == 9
    assert all(deep.gflops(each) <= 8.0 and deep.contains(each) for each in found)


def test_the_backbone_with_the_front_is_proposed_most_and_its_layers_learnt(deep: SearchSpace) -> None:
    """Accurate are DenseNets with few low channels in their third stage; the rest is 20 points behind."""
    stages = np.array([slot.stage for slot in deep.members("densenet121").table.slots])

    def accuracy(architecture: Architecture) -> float:
        alphas = np.array(architecture.alphas)
        if architecture.backbone != "densenet121":
            return 0.5 + 0.01 * float(alphas.mean())
        return 0.7 + 0.1 * (1 - float(alphas[stages == 3].mean()))

    found = proposed(deep, 8.0, 24, accuracy)
    later = found[12:]
    chosen = [each for each in later if each.backbone == "densenet121"]
    assert len(chosen) > len(later) / 2

    def third(each: Architecture) -> float:
        return float(np.array(each.alphas)[stages == 3].mean())

    first = [third(each) for each in found[:9] if each.backbone == "densenet121"]
    assert np.mean([third(each) for each in chosen]) < np.mean(first)


@pytest.mark.parametrize("flat", [0.45, 0.9])
def test_2d_and_3d_backbones_keep_their_own_levels(clips: SearchSpace, flat: float) -> None:
    """Scores of 3D backbones are .9, those of 2D ones another level: neither lifts the other."""
    rng = np.random.default_rng(0)
    members = {name: clips.members(name) for name in clips.backbones}
    level = {name: flat if clips.members(name).table.dims == 2 else 0.9 for name in clips.backbones}
    feasible = clips.feasible(1.0)
    seen, held_out = [], []
    for name in clips.backbones:
        for number in range(7):
            choices = members[name].choices(feasible.sample(rng, name))
            assert choices is not None
            if number < 5:
                score = level[name] + 0.01 * float(rng.normal())
                seen.append(Observation(backbone=name, choices=choices, score=score, epoch=8))
            else:
                held_out.append((name, choices))
    surrogate = Surrogate(members, epochs=8)
    surrogate.fit(seen)
    for name, choices in held_out:
        assert surrogate.predict(name, choices)[0] == pytest.approx(level[name], abs=0.06), name


def test_clips_that_only_time_tells_apart_are_searched_in_3d(clips: SearchSpace) -> None:
    """As clips-motion has it: 2D backbones know half of the answers, whatever they cost."""

    def accuracy(architecture: Architecture) -> float:
        return 0.45 if architecture.dims == 2 else 0.95 - 0.1 * float(np.mean(architecture.alphas))

    found = proposed(clips, 1.0, 24, accuracy)
    assert sum(each.dims == 3 for each in found[8:]) > 10
    costs = {dims: [clips.gflops(each) for each in found if each.dims == dims] for dims in (2, 3)}
    # 2D ones are proposed as the cheapest end of the front, if at all.
    assert np.median(costs[2]) < np.median(costs[3])
