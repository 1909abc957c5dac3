"""Rank correlations against scipy, intervals by their coverage, ceilings where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from octnas.front.correlation import agreement, ceiling, kendall, spearman


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [2, 3, 16, 200])
def test_equals_scipy(count: int, ties: bool) -> None:
    rng = np.random.default_rng(count)
    x, y = rng.normal(size=(2, count))
    if ties:
        x, y = np.round(x), np.round(2 * (x + y)) / 2
    tau, rho = stats.kendalltau(x, y).statistic, stats.spearmanr(x, y).statistic
    if np.isnan(tau):
        assert kendall(x, y) is None
        assert spearman(x, y) is None
    else:
        assert kendall(x, y) == pytest.approx(tau, abs=1e-12)
        assert spearman(x, y) == pytest.approx(rho, abs=1e-12)


def test_resamples_equal_scipy_on_the_resampled_scores() -> None:
    rng = np.random.default_rng(1)
    x = np.round(rng.normal(size=12), 1)
    y = x + rng.normal(size=12)
    found = agreement(x, y, seed=5, resamples=300)
    counts = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=300)
    drawn = [np.repeat(np.arange(12), row) for row in counts]
    taus = [stats.kendalltau(x[rows], y[rows]).statistic for rows in drawn]
    rhos = [stats.spearmanr(x[rows], y[rows]).statistic for rows in drawn]
    assert found.tau_interval == pytest.approx(np.nanquantile(taus, [0.025, 0.975]))
    assert found.spearman_interval == pytest.approx(np.nanquantile(rhos, [0.025, 0.975]))


def test_one_value_for_all_orders_nothing() -> None:
    found = agreement([3.0] * 8, list(range(8)))
    assert (found.tau, found.tau_interval, found.spearman, found.spearman_interval) == (None,) * 4


def test_the_same_seed_gives_the_same_interval_and_few_scores_give_none() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 10))
    assert agreement(x, y, seed=3) == agreement(x, y, seed=3)
    assert agreement(x, y, seed=3) != agreement(x, y, seed=4)
    assert agreement(x[:3], y[:3]).tau_interval is None


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_intervals_cover_the_truth(correlation: float) -> None:
    # Of two normal scores with Pearson's correlation r, tau is 2/pi asin r and rho 6/pi asin r/2.
    tau, rho = 2 / np.pi * np.arcsin(correlation), 6 / np.pi * np.arcsin(correlation / 2)
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(200):
        x = rng.normal(size=16)
        y = correlation * x + (1 - correlation**2) ** 0.5 * rng.normal(size=16)
        found = agreement(x, y, resamples=500)
        assert found.tau_interval is not None
        assert found.spearman_interval is not None
        inside.append(
            (
                found.tau_interval[0] <= tau <= found.tau_interval[1],
                found.spearman_interval[0] <= rho <= found.spearman_interval[1],
            )
        )
    # Standard deviation of a share of 200 at .95 is .015.
    assert np.all(np.mean(inside, axis=0) > 0.9)


def _means(shape: str, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    drawn = {"normal": rng.normal(size=count), "skewed": rng.exponential(size=count)}[shape]
    return np.asarray(drawn, np.float64)


@pytest.mark.parametrize(("shape", "within"), [("normal", 0.03), ("skewed", 0.06)])
@pytest.mark.parametrize(("count", "seeds", "noise"), [(60, 2, 0.3), (60, 3, 1.0), (16, 2, 0.5)])
def test_the_ceiling_is_what_a_score_without_error_reaches(
    shape: str, within: float, count: int, seeds: int, noise: float
) -> None:
    rng = np.random.default_rng(count + seeds)
    reached, found, covered = [], [], []
    for _ in range(15 + 160 // count):
        true = _means(shape, count, rng)
        scores = true[:, None] + rng.normal(size=seeds) + noise * rng.normal(size=(count, seeds))
        estimate = ceiling(scores)
        assert estimate is not None
        assert estimate.tau_interval is not None
        fresh = true + noise / seeds**0.5 * rng.normal(size=(25, count))
        tau = np.mean([stats.kendalltau(true, row).statistic for row in fresh])
        reached.append((tau, np.mean([stats.spearmanr(true, row).statistic for row in fresh])))
        found.append((estimate.tau, estimate.spearman))
        covered.append(estimate.tau_interval[0] <= tau <= estimate.tau_interval[1])
    assert np.mean(found, axis=0) == pytest.approx(np.mean(reached, axis=0), abs=within)
    assert np.mean(covered) >= 0.8


def test_the_ceiling_of_normal_scores_is_the_attenuation_formulas() -> None:
    rng = np.random.default_rng(7)
    # Normal quantiles as true means: their shape is exact, and signal and noise are known from the estimate.
    true = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    estimate = ceiling(true[:, None] + 0.7 * rng.normal(size=(200, 3)))
    assert estimate is not None
    assert (estimate.signal, estimate.noise) == pytest.approx((1.0, 0.7), abs=0.07)
    pearson = (1 / (1 + (estimate.noise / estimate.signal) ** 2 / 3)) ** 0.5
    assert estimate.tau == pytest.approx(2 / np.pi * np.arcsin(pearson), abs=0.015)
    assert estimate.spearman == pytest.approx(6 / np.pi * np.arcsin(pearson / 2), abs=0.015)


def test_the_ceiling_of_trainings_without_noise_is_one_and_of_noise_alone_is_near_nought() -> None:
    rng = np.random.default_rng(0)
    exact = ceiling(np.repeat(rng.normal(size=(20, 1)), 3, axis=1) + rng.normal(size=3))
    assert exact is not None
    assert exact.tau == pytest.approx(1.0)
    assert exact.noise == pytest.approx(0.0, abs=1e-9)
    noise = ceiling(rng.normal(size=(200, 4)))
    assert noise is not None
    assert noise.tau < 0.35
    assert noise.noise == pytest.approx(1.0, abs=0.1)


def test_one_seed_tells_no_noise() -> None:
    assert ceiling(np.arange(8.0)[:, None]) is None
