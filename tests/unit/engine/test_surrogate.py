"""The model of the scores against Gaussian process regression written out from its formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from octnas.engine.observations import Observation, final_scores
from octnas.engine.posterior import SHAPE, condition
from octnas.engine.surrogate import ENOUGH, START, Surrogate
from octnas.space import Members, Optimum, SearchSpace, parse_space

Point = tuple[str, tuple[int, ...]]

TEXT = """
name: tiny
description: for tests
granularity: {granularity}
alphas: [0, 0.25, 0.75]
backbones: [resnet18, resnet26]
downsample: [pooled]
target: {{input_size: 16, channels: 1, classes: 4, width: 8, stem: small}}
proxy: {{data: fashion, width: 8, stem: small, input_size: 16, epochs: 4}}
"""


def tiny(granularity: str = "layer") -> SearchSpace:
    return parse_space(TEXT.format(granularity=granularity))


def members_of(space: SearchSpace) -> dict[str, Members]:
    return {name: space.members(name) for name in space.backbones}


def points(space: SearchSpace, count: int, seed: int) -> list[Point]:
    rng, feasible = np.random.default_rng(seed), space.feasible(99)
    assert count <= space.size()
    drawn: dict[Point, None] = {}
    while len(drawn) < count:
        architecture = feasible.sample(rng)
        choices = space.members(architecture.backbone).choices(architecture)
        assert choices is not None
        drawn[architecture.backbone, choices] = None
    return list(drawn)


def observed(drawn: Sequence[Point], scores: Sequence[float], epoch: int = 4) -> list[Observation]:
    return [
        Observation(backbone=backbone, choices=choices, score=float(score), epoch=epoch)
        for (backbone, choices), score in zip(drawn, scores, strict=True)
    ]


def kernel(space: SearchSpace, one: Point, other: Point, *, pairwise: bool) -> float:
    """Prior covariance of two architectures' scores, term by term, deviations at their starting variance."""
    total = float(one[0] == other[0])
    relative, lines = [], []
    for backbone, choices in (one, other):
        members = space.members(backbone)
        graph = members.graph
        macs = space.macs(members.architecture(choices, "pooled"))
        relative.append((2 * macs - graph.max_cost - graph.min_cost) / (graph.max_cost - graph.min_cost))
        alphas = [float(alpha) for alpha in members.alphas]
        levels = [2 * (a - alphas[0]) / (alphas[-1] - alphas[0]) - 1 for a in alphas]
        middle = sum(level**2 for level in levels) / len(levels)
        u = [levels[c] for c in choices]
        stages = [slot.stage for slot in members.slots]
        lines.append((stages, [u, [x**2 - middle for x in u]], len(set(stages))))
    total += 0.5 * relative[0] * relative[1]
    (stages_a, terms_a, count_a), (stages_b, terms_b, count_b) = lines
    for a, b in zip(terms_a, terms_b, strict=True):
        by_stage = [
            {s: np.mean([x for x, at in zip(line, stages, strict=True) if at == s]) for s in stages}
            for line, stages in ((a, stages_a), (b, stages_b))
        ]
        total += 0.5 * np.prod([sum(means.values()) / len(means) for means in by_stage])
        shared = by_stage[0].keys() & by_stage[1].keys()
        total += 0.5 * sum(by_stage[0][s] * by_stage[1][s] for s in shared) / np.sqrt(count_a * count_b)
        if one[0] == other[0]:
            own = sum(x * y / stages_a.count(s) for x, y, s in zip(a, b, stages_a, strict=True))
            total += START[1] / 2 * own / count_a
    if pairwise:
        total += _pairs(space, one, other, lines)
    return float(total)


def _pairs(space: SearchSpace, one: Point, other: Point, lines: list[tuple[Any, Any, int]]) -> float:
    """The pairs' part: each layer with the earlier ones that a product of the cost still needs."""
    products = []
    for (backbone, _), (stages, (u, _), _) in zip((one, other), lines, strict=True):
        members = space.members(backbone)
        position = {slot.index: i for i, slot in enumerate(members.slots)}
        coupled = set()
        for first, second, *_ in members.costs.pairs:
            if first in position and second in position:
                # The first one is remembered from its own step to the second's.
                coupled |= {(position[first], i) for i in range(position[first] + 1, position[second] + 1)}
        products.append([(stages[j], u[i] * u[j]) for i, j in sorted(coupled, key=lambda pair: pair[::-1])])
    counts = [line[2] for line in lines]
    stage_means = [
        {s: np.mean([x for at, x in product if at == s]) for s, _ in product} for product in products
    ]
    shared = stage_means[0].keys() & stage_means[1].keys()
    total = 0.5 * sum(stage_means[0][s] * stage_means[1][s] for s in shared) / np.sqrt(counts[0] * counts[1])
    if one[0] == other[0]:
        stages = [s for s, _ in products[0]]
        own = sum(x * y / stages.count(s) for (s, x), (_, y) in zip(*products, strict=True))
        total += START[1] / 2 * own / counts[0]
    return float(total)


def regression(
    space: SearchSpace, drawn: list[Point], scores: NDArray[np.float64], asked: list[Point], *, pairwise: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Posterior mean and covariance of the scores of `asked`."""

    def matrix(rows: list[Point], columns: list[Point]) -> NDArray[np.float64]:
        return np.array([[kernel(space, r, c, pairwise=pairwise) for c in columns] for r in rows])

    y = (scores - scores.mean()) / scores.std()
    seen = matrix(drawn, drawn) + START[0] * np.eye(len(drawn))
    cross = matrix(asked, drawn)
    scale = (SHAPE + y @ np.linalg.solve(seen, y) / 2) / (SHAPE + len(y) / 2)
    covariance = matrix(asked, asked) - cross @ np.linalg.solve(seen, cross.T)
    mean = scores.mean() + scores.std() * cross @ np.linalg.solve(seen, y)
    return mean, scale * scores.var() * covariance


def along(
    members: Members, function: tuple[float, list[NDArray[np.float64]]], choices: Sequence[int]
) -> float:
    """A drawn function's value: its intercept and the scores of the path's edges."""
    total, state = function[0], 0
    for step, scores, choice in zip(members.graph.steps, function[1], choices, strict=True):
        edge = np.flatnonzero((step.source == state) & (step.choice == choice))[0]
        total, state = total + scores[edge], int(step.target[edge])
    return float(total)


@pytest.mark.parametrize("pairwise", [False, True])
@pytest.mark.parametrize("granularity", ["layer", "stage+layer", "block"])
def test_prediction_is_gaussian_process_regression(granularity: str, pairwise: bool) -> None:
    space = tiny(granularity)
    drawn = points(space, ENOUGH - 1 + 5, seed=1)
    drawn, asked = drawn[: ENOUGH - 1], drawn[ENOUGH - 1 :] + drawn[:1]
    scores = np.random.default_rng(2).normal(size=len(drawn)) * 0.05 + 0.8
    model = Surrogate(members_of(space), epochs=4, pairwise=pairwise)
    model.fit(observed(drawn, scores))
    mean, covariance = regression(space, drawn, scores, asked, pairwise=pairwise)
    for point, expected, variance in zip(asked, mean, np.diag(covariance), strict=True):
        assert model.predict(*point) == pytest.approx((expected, np.sqrt(variance)), abs=1e-9)


@pytest.mark.parametrize("pairwise", [False, True])
def test_draws_follow_the_joint_posterior(pairwise: bool) -> None:
    space = tiny()
    drawn = points(space, 10, seed=3)
    drawn, asked = drawn[:5], drawn[4:]
    scores = np.random.default_rng(4).normal(size=len(drawn))
    model = Surrogate(members_of(space), epochs=4, pairwise=pairwise)
    model.fit(observed(drawn, scores))
    rng, count = np.random.default_rng(5), 2000
    values = np.empty((count, len(asked)))
    for row in values:
        function = model.draw(rng)
        row[:] = [function.value(name, choices) for name, choices in asked]
    mean, covariance = regression(space, drawn, scores, asked, pairwise=pairwise)
    spread = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(values.mean(axis=0) - mean) < 5 * spread / np.sqrt(count))
    assert np.all(np.abs(np.cov(values.T) - covariance) < 0.15 * np.outer(spread, spread))
    predicted = np.array([model.predict(*point)[0] for point in asked])
    assert np.all(np.abs(values.mean(axis=0) - predicted) < 5 * spread / np.sqrt(count))


def test_without_temperature_a_draw_is_the_mean() -> None:
    space = tiny()
    members = members_of(space)
    drawn = points(space, 20, seed=6)
    model = Surrogate(members, epochs=4)
    model.fit(observed(drawn, np.random.default_rng(7).normal(size=20)))
    cold, warm = (model.draw(np.random.default_rng(8), temperature=t) for t in (0.0, 1.0))
    for name, choices in drawn:
        expected = model.predict(name, choices)[0]
        assert along(members[name], cold[name], choices) == pytest.approx(expected, abs=1e-9)
        assert along(members[name], warm[name], choices) != pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("pairwise", [False, True])
@pytest.mark.parametrize("granularity", ["layer", "stage+layer", "block", "stage"])
def test_paths_sum_to_the_drawn_value(granularity: str, pairwise: bool) -> None:
    space = tiny(granularity)
    members = members_of(space)
    drawn = points(space, 10, seed=18)
    model = Surrogate(members, epochs=4, pairwise=pairwise)
    model.fit(observed(drawn[:5], np.random.default_rng(19).normal(size=5)))
    function = model.draw(np.random.default_rng(20), temperature=0.5)
    for name, choices in drawn:
        summed = along(members[name], function[name], choices)
        assert function.value(name, choices) == pytest.approx(summed, abs=1e-9)


@pytest.mark.parametrize("count", [3, 6, 7, 40])
def test_posterior_equals_the_textbook(count: int) -> None:
    rng, weights = np.random.default_rng(count), 6
    variances, noise = rng.uniform(0.2, 2, weights), rng.uniform(0.1, 1, count)
    features, scores = rng.normal(size=(count, weights)), rng.normal(size=count)
    found = condition(features, scores, noise, variances)
    marginal = features @ np.diag(variances) @ features.T + np.diag(noise)
    precision = np.diag(1 / variances) + features.T @ np.diag(1 / noise) @ features
    q = scores @ np.linalg.solve(marginal, scores)
    scale = (SHAPE + q / 2) / (SHAPE + count / 2)
    np.testing.assert_allclose(
        found.mean, np.linalg.solve(precision, features.T @ (scores / noise)), atol=1e-10
    )
    probe = rng.normal(size=weights)
    assert found.variance(probe) == pytest.approx(scale * probe @ np.linalg.solve(precision, probe))
    evidence = -(SHAPE + count / 2) * np.log(SHAPE + q / 2) - np.linalg.slogdet(marginal)[1] / 2
    assert found.evidence == pytest.approx(evidence)
    draws = np.array([found.draw(rng) for _ in range(4000)])
    spread = np.sqrt(scale * np.diag(np.linalg.inv(precision)))
    assert np.all(np.abs(draws.mean(axis=0) - found.mean) < 5 * spread / np.sqrt(4000))
    np.testing.assert_allclose(draws.std(axis=0), spread, rtol=0.08)


def test_the_grid_finds_less_noise_in_less_noisy_scores() -> None:
    space = tiny()
    drawn, rng = points(space, 120, seed=9), np.random.default_rng(10)
    truth = np.array([np.mean(choices) + (name == "resnet26") for name, choices in drawn])
    spread = []
    for noise in (0.01, 0.5):
        model = Surrogate(members_of(space), epochs=4)
        model.fit(observed(drawn, truth + noise * rng.normal(size=120)))
        predicted = np.array([model.predict(*point) for point in drawn])
        assert np.corrcoef(predicted[:, 0], truth)[0, 1] > 0.95
        spread.append(predicted[:, 1].mean())
    assert spread[0] < spread[1] / 3


def test_a_backbone_learns_from_another() -> None:
    space = tiny()
    drawn = [point for point in points(space, 80, seed=11) if point[0] == "resnet18"]
    model = Surrogate(members_of(space), epochs=4)
    model.fit(observed(drawn, [-np.mean(choices) for _, choices in drawn]))
    layers = len(space.members("resnet26").slots)
    ordered = [model.predict("resnet26", (level,) * layers)[0] for level in (0, 1, 2)]
    assert ordered[0] > ordered[1] > ordered[2]
    assert model.predict("resnet26", (0,) * layers)[1] > model.predict("resnet18", drawn[0][1])[1]


@pytest.mark.parametrize("scores", [[], [0.7], [0.7, 0.7, 0.7], [0.1] * 12])
def test_few_or_equal_scores(scores: list[float]) -> None:
    space = tiny()
    members = members_of(space)
    drawn = points(space, 13, seed=12)
    model = Surrogate(members, epochs=4)
    model.fit(observed(drawn[: len(scores)], scores))
    functions = [model.draw(np.random.default_rng(seed)) for seed in (1, 1, 2)]
    name, choices = drawn[-1]
    values = [along(members[name], function[name], choices) for function in functions]
    assert values[0] == values[1] != values[2]
    mean, deviation = model.predict(name, choices)
    assert mean == pytest.approx(scores[0] if scores else 0.0)
    assert deviation > 0


def test_one_backbone_and_one_alpha() -> None:
    text = TEXT.format(granularity="stage").replace("[0, 0.25, 0.75]", "[0.5]")
    space = parse_space(text.replace("[resnet18, resnet26]", "[resnet18]"))
    members = members_of(space)
    choices = members["resnet18"].graph.smallest()
    model = Surrogate(members, epochs=4, pairwise=True)
    model.fit(observed([("resnet18", choices)], [0.6]))
    assert model.predict("resnet18", choices)[0] == pytest.approx(0.6)
    drawn = model.draw(np.random.default_rng(0))
    assert np.isfinite(along(members["resnet18"], drawn["resnet18"], choices))


def test_a_backbone_without_octave_layers() -> None:
    space = parse_space(
        TEXT.format(granularity="layer").replace("size: 16", "size: 8").replace("small", "imagenet")
    )
    members = members_of(space)
    model = Surrogate(members, epochs=4, pairwise=True)
    model.fit(observed([("resnet18", ()), ("resnet26", ())], [0.5, 0.7]))
    functions = model.draw(np.random.default_rng(0), temperature=0)
    assert functions["resnet18"] == (pytest.approx(model.predict("resnet18", ())[0]), [])
    assert functions["resnet18"][0] < functions["resnet26"][0]
    for name in space.backbones:
        best = Optimum(members[name].graph, 0, functions[name][1])
        assert (best.values.tolist(), best.path(0)) == ([0.0], ())


def test_fitting_again_forgets() -> None:
    space = tiny()
    drawn = points(space, 30, seed=13)
    scores = np.random.default_rng(14).normal(size=30)
    again, fresh = Surrogate(members_of(space), epochs=4), Surrogate(members_of(space), epochs=4)
    again.fit(observed(drawn, scores))
    again.fit(observed(drawn[:10], scores[:10]))
    fresh.fit(observed(drawn[:10], scores[:10]))
    assert [again.predict(*point) for point in drawn] == [fresh.predict(*point) for point in drawn]


def test_early_scores_are_mapped_by_the_pairs() -> None:
    keys = [("b", (i,)) for i in range(45)]
    rng = np.random.default_rng(15)
    early = rng.normal(size=45)
    final = 3 + 2 * early
    seen = observed(keys, early, epoch=1) + observed(keys[:40], final[:40], epoch=4)
    found = final_scores(seen, 4)
    assert found.keys == keys
    np.testing.assert_allclose(found.scores * found.scale + found.center, final, atol=0.35)
    assert np.all(found.extra[:40] == 0)
    assert np.all((found.extra[40:] > 0) & (found.extra[40:] < 0.15))
    noisy = observed(keys[:40], final[:40] + rng.normal(size=40), epoch=4)
    assert final_scores(observed(keys, early, epoch=1) + noisy, 4).extra[40] > 3 * found.extra[40]


def test_early_scores_without_pairs_are_moved() -> None:
    keys = [("b", (i,)) for i in range(5)]
    seen = observed(keys[:2], [0.2, 0.4], epoch=1) + observed(keys[2:], [0.7, 0.8, 0.9], epoch=4)
    found = final_scores(seen, 4)
    np.testing.assert_allclose(found.scores * found.scale + found.center, [0.7, 0.9, 0.7, 0.8, 0.9])
    assert found.extra[0] == found.extra[1] > 0
    only_early = final_scores(observed(keys, [1, 2, 3, 4, 5], epoch=2), 4)
    np.testing.assert_allclose(only_early.scores * only_early.scale + only_early.center, [1, 2, 3, 4, 5])
    assert not only_early.extra.any()


def test_scores_of_one_epoch_are_averaged() -> None:
    key = ("b", (0,))
    found = final_scores(observed([key, key, ("b", (1,))], [1.0, 3.0, 4.0]), 4)
    np.testing.assert_allclose(found.scores * found.scale + found.center, [2.0, 4.0])


def test_an_early_score_counts_less_than_a_final_one() -> None:
    space = tiny()
    drawn = points(space, 24, seed=16)
    rng = np.random.default_rng(17)
    finals = observed(drawn[:22], rng.normal(size=22))
    deviations = []
    for epoch in (1, 4):
        model = Surrogate(members_of(space), epochs=4)
        model.fit([*finals, *observed(drawn[22:], [0.1, -0.1], epoch=epoch)])
        deviations.append(model.predict(*drawn[23])[1])
    assert deviations[0] > deviations[1]
