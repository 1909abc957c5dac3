"""Sums over architectures say what the architectures say: the same model, draws and known values."""

from __future__ import annotations

import random

import numpy as np
import pytest
from stand_ins import TINY_SPACE

from octnas.engine.acquisition import gains
from octnas.engine.known import Known
from octnas.engine.moments import Moments
from octnas.engine.observations import Observation, final_scores
from octnas.engine.posterior import condition
from octnas.engine.surrogate import Surrogate
from octnas.space import SearchSpace, parse_space

EPOCHS = 8
Curves = dict[tuple[str, tuple[int, ...]], list[tuple[int, float]]]


@pytest.fixture(scope="module")
def layers() -> SearchSpace:
    text = TINY_SPACE.replace("granularity: stage", "granularity: layer")
    return parse_space(text + "proxy: {data: fashion-sample, width: 16, epochs: 8}\n")


def drawn_curves(space: SearchSpace, count: int, last: int = EPOCHS) -> Curves:
    """Scores of trials that were stopped at several epochs, the best of them at the last."""
    rng, feasible = np.random.default_rng(3), space.feasible(99.0)
    found: Curves = {}
    while len(found) < count:
        architecture = feasible.sample(rng)
        choices = space.members(architecture.backbone).choices(architecture)
        assert choices is not None
        end = min(last, int(rng.choice([1, 2, 4, EPOCHS])))
        truth = 0.8 + 0.02 * rng.normal() - 0.01 * np.mean(choices)
        found[architecture.backbone, choices] = [
            (epoch, float(truth - 0.3 / epoch + 0.01 * rng.normal())) for epoch in range(1, end + 1)
        ]
    return found


def observations(curves: Curves) -> list[Observation]:
    return [
        Observation(backbone=arm, choices=choices, epoch=epoch, score=score)
        for (arm, choices), curve in curves.items()
        for epoch, score in curve
    ]


@pytest.mark.parametrize("last", [EPOCHS, 2, 1])
def test_sums_give_the_posterior_of_the_rows(layers: SearchSpace, last: int) -> None:
    curves = drawn_curves(layers, 160, last)
    rng = np.random.default_rng(0)
    features = {key: rng.normal(size=20) for key in curves}
    moments = Moments(columns=20, epochs=EPOCHS)
    for key, curve in curves.items():
        moments.add(features[key], curve)
    finals, scaled = final_scores(observations(curves), EPOCHS), moments.scale()
    assert scaled.center == pytest.approx(finals.center)
    assert scaled.scale == pytest.approx(finals.scale)
    rows, variances = np.array([features[key] for key in finals.keys]), np.linspace(0.1, 1.0, 20)
    by_rows = condition(rows, finals.scores, 0.3 + finals.extra, variances)
    by_sums = scaled.posterior(0.3, variances)
    assert by_sums.mean == pytest.approx(by_rows.mean, abs=1e-9)
    assert by_sums.evidence == pytest.approx(by_rows.evidence)
    assert by_sums.variance(rows[0]) == pytest.approx(by_rows.variance(rows[0]))
    draws = [each.draw(np.random.default_rng(4)) for each in (by_rows, by_sums)]
    assert draws[1] == pytest.approx(draws[0], abs=1e-9)


def test_what_is_taken_away_leaves_no_trace(layers: SearchSpace) -> None:
    curves = list(drawn_curves(layers, 60).values())
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 12))
    plain, changed = (Moments(columns=12, epochs=EPOCHS) for _ in range(2))
    for row, curve in zip(features, curves, strict=True):
        plain.add(row, curve)
        changed.add(row, curve[:1])  # told at its first rung, then told again
    for row, curve in zip(features, curves, strict=True):
        changed.add(row, curve[:1], times=-1)
        changed.add(row, curve)
    assert changed.count == plain.count == 60
    variances = np.ones(12)
    one, other = (each.scale().posterior(0.3, variances) for each in (plain, changed))
    assert other.mean == pytest.approx(one.mean, abs=1e-9)
    assert other.evidence == pytest.approx(one.evidence)


def test_the_surrogate_fits_sums_as_it_fits_rows(layers: SearchSpace) -> None:
    curves = drawn_curves(layers, 120)
    members = {name: layers.members(name) for name in layers.backbones}
    rows, sums = (Surrogate(members, epochs=EPOCHS) for _ in range(2))
    rows.fit(observations(curves))
    moments = sums.moments()
    for key, curve in curves.items():
        sums.count(moments, *key, curve)
    sums.fit_sums(moments, sums.choose(moments))
    for key in list(curves)[:10]:
        assert sums.predict(*key) == pytest.approx(rows.predict(*key), rel=1e-6)


def test_packed_architectures_have_the_values_of_the_rows_and_the_same_gains(layers: SearchSpace) -> None:
    curves = drawn_curves(layers, 300)
    members = {name: layers.members(name) for name in layers.backbones}
    surrogate = Surrogate(members, epochs=EPOCHS)
    surrogate.fit(observations(curves))
    alphas = {name: len(each.alphas) for name, each in members.items()}
    rows, packed = (Known(surrogate.macs, alphas, rows=most) for most in (300, 20))
    for arm, choices in curves:
        started = arm, choices, surrogate.macs(arm, choices)
        rows.add(started)
        packed.add(started)
    for seed in range(5):
        drawn = surrogate.draw(np.random.default_rng(seed))
        costs, scores, lowest = rows.points(drawn)
        few_costs, few_scores, few_lowest = packed.points(drawn)
        assert few_lowest == pytest.approx(lowest)
        assert len(few_costs) < len(costs) / 2
        shuffled = random.Random(seed).sample(range(len(costs)), 40)
        points = costs[shuffled] * 0.95, scores[shuffled] + 0.01
        reference = float(costs.max()), lowest
        expected = gains(*points, costs, scores, reference=reference)
        assert gains(*points, few_costs, few_scores, reference=reference) == pytest.approx(expected, rel=1e-6)
