"""The regression on scored architectures, how far it is trusted, and what it picks from the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.stats import kendalltau

from octnas.architecture import Architecture
from octnas.engine.predictor import Prediction, Predictor, predicted_best
from octnas.engine.regression import FEWEST
from octnas.record.shared import SharedScore
from octnas.space import Feasible, SearchSpace, load_space, parse_space

SPACE = """\
name: two
description: two ResNets and an alpha a stage
granularity: stage
alphas: [0, 0.125, 0.25, 0.5, 0.625, 0.75]
backbones: [resnet18, resnet26]
downsample: [pooled]
target: {input_size: 224, channels: 3, classes: 1000, width: 64, stem: imagenet}
proxy: {data: fashion-sample, width: 8, stem: small, input_size: 32, epochs: 4}
"""

Worth = Callable[[Architecture], float]


@pytest.fixture(scope="module")
def two() -> Feasible:
    """Every member of two small backbones: 6^3 of each."""
    return parse_space(SPACE).feasible(100.0)


@pytest.fixture(scope="module")
def images_and_clips() -> Feasible:
    """2D and 3D backbones with a choice for each layer."""
    return load_space("clips-small").feasible(0.014)


def stagewise(architecture: Architecture) -> float:
    """Best near alpha .5 in the first stage and none in the later ones, which act together."""
    by_stage: dict[int, list[float]] = {}
    for slot, alpha in zip(architecture.table().slots, architecture.alphas, strict=True):
        by_stage.setdefault(slot.stage, []).append(alpha)
    first, second, third = (np.mean(by_stage[stage]) for stage in (1, 2, 3))
    deep = 0.06 if architecture.backbone.endswith(("26", "3d_18")) else 0.0
    return float(0.6 + deep - 0.1 * (first - 0.5) ** 2 - 0.05 * second * third - 0.04 * third**2)


def drawn(feasible: Feasible, count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return list(dict.fromkeys(feasible.sample(rng) for _ in range(2 * count)))[:count]


def scores(architectures: Sequence[Architecture], worth: Worth) -> list[SharedScore]:
    return [SharedScore(architecture=each, accuracy=worth(each), loss=1.0) for each in architectures]


def fitted(space: SearchSpace, architectures: Sequence[Architecture], values: Sequence[float]) -> Predictor:
    predictor = Predictor(space)
    predictor.fit(architectures, values)
    return predictor


# ---------------------------------------------------------------- the regression
def test_it_orders_members_that_it_did_not_see_of_backbones_in_2d_and_3d(images_and_clips: Feasible) -> None:
    known, others = drawn(images_and_clips, 240), drawn(images_and_clips, 240, seed=1)
    predictor = fitted(images_and_clips.space, known, [stagewise(each) for each in known])
    assert {each.dims for each in known} == {2, 3}
    for name in images_and_clips.backbones:
        unseen = [each for each in others if each.backbone == name and each not in known]
        tau = kendalltau(predictor.predict(unseen), [stagewise(each) for each in unseen]).statistic
        assert tau > 0.85, name


def test_the_held_out_tau_is_what_unseen_members_show(two: Feasible) -> None:
    """Cross-validation on 120 scores against the ranking of all others, with the same noise on both."""
    members = [each for name in two.backbones for each in two.walk(name, np.random.default_rng(0))]
    rng = np.random.default_rng(1)
    values = np.array([stagewise(each) for each in members]) + 0.004 * rng.standard_normal(len(members))
    chosen = rng.permutation(len(members))
    known, others = chosen[:120], chosen[120:]
    predictor = fitted(two.space, [members[i] for i in known], values[known].tolist())
    held_out = predictor.held_out
    tau = kendalltau(predictor.predict([members[i] for i in others]), values[others]).statistic
    assert held_out.tau_interval is not None
    assert held_out.tau_interval[0] < tau < held_out.tau_interval[1] + 0.05
    assert held_out.useful


def test_shuffled_scores_are_not_used(two: Feasible) -> None:
    known = drawn(two, 100)
    for seed in range(4):
        values = np.random.default_rng(seed).standard_normal(len(known))
        held_out = fitted(two.space, known, values.tolist()).held_out
        assert held_out.tau is not None
        assert abs(held_out.tau) < 0.25
        assert not held_out.useful


def test_scores_that_compute_explains_are_not_used(two: Feasible) -> None:
    known = drawn(two, 120)
    rng = np.random.default_rng(2)
    values = [0.02 * two.gflops(each) + 0.002 * rng.standard_normal() for each in known]
    held_out = fitted(two.space, known, values).held_out
    alone = kendalltau([two.gflops(each) for each in known], values).statistic
    assert held_out.tau is not None
    assert held_out.tau > held_out.noise + 0.3
    assert held_out.baseline >= alone - 1e-9
    assert not held_out.useful


def test_compute_of_each_backbone_is_the_baseline(two: Feasible) -> None:
    """The deeper backbone is better at any cost: no single order of GFLOPs says so."""
    known = drawn(two, 120)
    values = [0.02 * two.gflops(each) + 0.2 * (each.backbone == "resnet26") for each in known]
    held_out = fitted(two.space, known, values).held_out
    assert kendalltau([two.gflops(each) for each in known], values).statistic < 0.9
    assert held_out.baseline == pytest.approx(1.0, abs=0.01)
    assert not held_out.useful


def test_too_few_scores_and_equal_scores_say_nothing(two: Feasible) -> None:
    known = drawn(two, FEWEST)
    few = fitted(two.space, known[:-1], [stagewise(each) for each in known[:-1]])
    equal = fitted(two.space, known, [0.5] * len(known))
    enough = fitted(two.space, known, [stagewise(each) for each in known])
    assert (few.held_out.tau, equal.held_out.tau) == (None, None)
    assert not few.useful
    assert not equal.useful
    assert enough.held_out.tau is not None
    with pytest.raises(ValueError, match=f"`fit` must have {FEWEST} or more scores that differ"):
        few.predict(known)


def test_a_backbone_that_only_one_fold_has_is_no_obstacle(two: Feasible) -> None:
    known = [each for each in drawn(two, 200) if each.backbone == "resnet18"]
    other = next(each for each in drawn(two, 200) if each.backbone == "resnet26")
    held_out = fitted(two.space, [*known, other], [stagewise(each) for each in (*known, other)]).held_out
    assert held_out.useful


# ---------------------------------------------------------------- the rest of the space
def test_a_small_rest_is_ranked_whole_and_chosen_front_after_front(two: Feasible) -> None:
    known = drawn(two, 120)
    found = predicted_best(scores(known, stagewise), two, count=40, rng=np.random.default_rng(3))
    assert found.useful
    assert found.ranked == two.size - len(known)
    assert len(set(found.architectures)) == len(found.architectures) == 40
    assert not set(found.architectures) & set(known)

    members = [each for name in two.backbones for each in two.walk(name, np.random.default_rng(0))]
    rest = [each for each in members if each not in known]
    predictor = fitted(two.space, known, [stagewise(each) for each in known])
    ranks = naive_ranks(predictor.predict(rest).round(6).tolist(), [two.gflops(each) for each in rest])
    by_member = dict(zip(rest, ranks, strict=True))
    chosen = [by_member[each] for each in found.architectures]
    assert chosen == sorted(ranks)[:40]


def naive_ranks(accuracies: Sequence[float], costs: Sequence[float]) -> list[int]:
    """Peeled one front after the other, each by comparing all with all."""
    ranks = [-1] * len(costs)
    for rank in range(len(costs)):
        left = [i for i, own in enumerate(ranks) if own < 0]
        for i in left:
            if not any(
                accuracies[j] >= accuracies[i]
                and costs[j] <= costs[i]
                and (accuracies[j], costs[j]) != (accuracies[i], costs[i])
                for j in left
            ):
                ranks[i] = rank
    return ranks


def test_the_chosen_are_worth_more_than_draws(images_and_clips: Feasible) -> None:
    known = drawn(images_and_clips, 240)
    found = predicted_best(
        scores(known, stagewise), images_and_clips, count=30, rng=np.random.default_rng(4), rest=1500
    )
    assert all(images_and_clips.contains(each) for each in found.architectures)
    assert 700 < found.ranked <= 1500
    costs = sorted(images_and_clips.gflops(each) for each in found.architectures)
    assert costs[0] < 0.5 * costs[-1], "they spread over costs"
    others = drawn(images_and_clips, 300, seed=5)
    costs, worths = ([of(each) for each in others] for of in (images_and_clips.gflops, stagewise))

    def beaten(each: Architecture) -> float:
        """By how many of the draws, for less compute."""
        own = images_and_clips.gflops(each), stagewise(each)
        return sum(cost < own[0] and worth > own[1] for cost, worth in zip(costs, worths, strict=True))

    assert np.mean([beaten(each) for each in found.architectures]) < 0.1 * np.mean([*map(beaten, others)])


def test_nothing_is_chosen_by_scores_that_cannot_be_predicted(two: Feasible) -> None:
    rng = np.random.default_rng(6)
    known = scores(drawn(two, 100), lambda each: float(rng.standard_normal()))
    found = predicted_best(known, two, count=10, rng=np.random.default_rng(0))
    assert (found.ranked, found.architectures, found.accuracies) == (0, (), ())
    assert not found.useful
    assert found.to_dict()["scored"] == 100


def test_only_backbones_that_were_scored_are_ranked_and_only_members_inside_count(two: Feasible) -> None:
    tight = two.space.feasible(1.3)
    known = [each for each in drawn(two, 400) if each.backbone == "resnet18"]
    inside = [each for each in known if tight.contains(each)]
    assert 0 < len(inside) < len(known)
    found = predicted_best(scores(known, stagewise), tight, count=5, rng=np.random.default_rng(0))
    assert found.held_out.scored == len(inside)
    assert {each.backbone for each in found.architectures} == {"resnet18"}
    assert all(tight.contains(each) for each in found.architectures)


def test_one_seed_gives_one_prediction_and_json_gives_it_back(two: Feasible) -> None:
    known = scores(drawn(two, 80), stagewise)
    first, again = (predicted_best(known, two, count=7, rng=np.random.default_rng(8)) for _ in range(2))
    assert first == again
    text = json.dumps(first.to_dict(), allow_nan=False)
    assert Prediction.from_dict(json.loads(text)) == first
    few = predicted_best(known[:5], two, count=7, rng=np.random.default_rng(8))
    assert Prediction.from_dict(json.loads(json.dumps(few.to_dict()))) == few
