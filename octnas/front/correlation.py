"""Rank correlation: how well one score of architectures orders them as another does, and how sure that is.

Kendall's tau-b and Spearman's rho come from the matrices of signs of all pairs, so that every resample of a
bootstrap is a vector of weights and all resamples are a few matrix products: for n scores n^2 memory, meant
for up to some thousands. Ties count as `scipy.stats` counts them. A score that is the same for all orders
nothing: its correlation is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Agreement", "Ceiling", "agreement", "ceiling", "kendall", "spearman"]

Interval = tuple[float, float]
Floats = NDArray[np.float64]

FEWEST = 4
"""Scores below which no interval is given: too few resamples differ."""
_BLOCK = 500
"""Resamples that are computed at once."""
_CEILING_RESAMPLES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two scores of the same architectures agree in rank: -1 to 1, with bootstrap intervals."""

    count: int
    """Architectures."""
    tau: float | None
    """Kendall's tau-b; None where one of the scores is the same for all."""
    tau_interval: Interval | None
    spearman: float | None
    spearman_interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """JSON values, the keys of `octnas rank --json` among them."""
        return {
            "tau": self.tau,
            "tau_interval": _listed(self.tau_interval),
            "spearman": self.spearman,
            "spearman_interval": _listed(self.spearman_interval),
            "count": self.count,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What a score that knew every architecture's true mean would reach against trainings of a few seeds."""

    count: int
    """Architectures."""
    seeds: int
    """Trainings behind each mean."""
    tau: float
    tau_interval: Interval | None
    spearman: float
    spearman_interval: Interval | None
    signal: float
    """Standard deviation of the true means, in the unit of the scores."""
    noise: float
    """Standard deviation of one training from seed to seed."""


def kendall(x: ArrayLike, y: ArrayLike) -> float | None:
    """Kendall's tau-b of two score vectors (n,); None where it is not defined.

    M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945.
    """
    return _finite(_taus(np.ones((1, len(np.asarray(x)))), _signs(x), _signs(y))[0])


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """Spearman's rho of two score vectors (n,): Pearson's correlation of their mid-ranks; None where it is
    not defined.

    C. Spearman, "The proof and measurement of association between two things", Am. J. Psychology 15, 1904.
    """
    return _finite(_rhos(np.ones((1, len(np.asarray(x)))), _signs(x), _signs(y))[0])


def agreement(
    x: ArrayLike, y: ArrayLike, *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> Agreement:
    """Both correlations of two finite score vectors (n,), with percentile bootstrap intervals.

    Architectures are resampled with replacement, so an interval holds for other architectures drawn like
    these, and for other trainings of them. Of the usual bootstrap intervals the percentile's covered best at
    a dozen architectures (about .96 where .95 is asked for). Where all pairs agree it has no width.

    Args:
        seed: of the resamples.
        level: coverage, 0 to 1.
    """
    sx, sy = _signs(x), _signs(y)
    count = len(sx)
    weights = _weights(count, resamples, np.random.default_rng(seed))
    whole = np.ones((1, count))
    tau, rho = _finite(_taus(whole, sx, sy)[0]), _finite(_rhos(whole, sx, sy)[0])
    return Agreement(
        count=count,
        tau=tau,
        tau_interval=None if tau is None else _interval(_in_blocks(_taus, weights, sx, sy), count, level),
        spearman=rho,
        spearman_interval=None
        if rho is None
        else _interval(_in_blocks(_rhos, weights, sx, sy), count, level),
    )


def ceiling(scores: ArrayLike, *, seed: int = 0, level: float = 0.95) -> Ceiling | None:
    """The rank correlation with the mean over seeds that a score without any error of its own would reach.

    Even a score that knew the true mean of each architecture would not order them as the means over a few
    seeds do, which carry noise. With Y[a, s] the score of architecture a in seed s (A, S), the noise is the
    two-way residual's, so that what a seed does to all alike, which moves no rank, does not count, and the
    signal is what is left of the variance of the means:

        noise^2  = sum of (Y[a, s] - mean_s Y[a] - mean_a Y[s] + mean Y)^2 / ((A - 1) (S - 1))
        signal^2 = variance over a of mean_s Y[a], less noise^2 / S (never below 0)

    The true means are not known. In their place stand the means drawn together around the mean of all until
    their variance is signal^2 (T. A. Louis, "Estimating a population of parameter values using Bayes and
    empirical Bayes methods", J. Am. Stat. Association 79, 1984), which keeps the shape of their distribution;
    the means alone would be spread too far, and the ceiling too high. The ceiling is the expected correlation
    of those with themselves plus normal noise of standard deviation noise / sqrt(S). For normal true means
    Spearman's correction for attenuation (the source of `spearman`) gives the same: Pearson's ceiling is
    sqrt(signal^2 / (signal^2 + noise^2 / S)), and tau's 2/pi times its arc sine.
    Where true means crowd at one end it comes out some .05 too high: means over few seeds hide the crowd.

    Args:
        scores: (A, S), finite.
        seed: of the resamples of architectures.
        level: coverage of the intervals, 0 to 1.

    Returns:
        None for fewer than two seeds or three architectures, of which no noise can be estimated.
    """
    values = np.asarray(scores, np.float64)
    count, seeds = values.shape
    if seeds < 2 or count < 3:
        return None
    rng = np.random.default_rng(seed)
    signal, noise = _signal_and_noise(values)
    tau, rho = _reached(values)
    drawn = [_reached(values[rng.integers(count, size=count)]) for _ in range(_CEILING_RESAMPLES)]
    return Ceiling(
        count=count,
        seeds=seeds,
        tau=tau,
        tau_interval=_interval(np.array([each[0] for each in drawn]), count, level),
        spearman=rho,
        spearman_interval=_interval(np.array([each[1] for each in drawn]), count, level),
        signal=signal,
        noise=noise,
    )


# -------------------------------------------------------------------- of weighted architectures
def _signs(x: ArrayLike) -> Floats:
    """(n, n): 1 where the row's score is above the column's, -1 below, 0 at equal ones."""
    values = np.asarray(x, np.float64)
    return np.sign(np.subtract.outer(values, values))


def _weights(count: int, resamples: int, rng: np.random.Generator) -> Floats:
    """(B, n): how often each resample holds each architecture."""
    return rng.multinomial(count, np.full(count, 1 / max(1, count)), size=resamples).astype(np.float64)


def _taus(weights: Floats, sx: Floats, sy: Floats) -> Floats:
    """(B,): tau-b where architecture i is there weights[b, i] times; nan where it is not defined."""

    def pairs(matrix: Floats) -> Floats:
        product: Floats = ((weights @ matrix) * weights).sum(1)
        return product

    with np.errstate(invalid="ignore", divide="ignore"):
        taus: Floats = pairs(sx * sy) / np.sqrt(pairs(sx * sx) * pairs(sy * sy))
    return taus


def _rhos(weights: Floats, sx: Floats, sy: Floats) -> Floats:
    """(B,): Spearman's rho, like `_taus`. A row of signs sums to twice the mid-rank less its mean."""
    rx, ry = weights @ sx.T, weights @ sy.T
    with np.errstate(invalid="ignore", divide="ignore"):
        rhos: Floats = (weights * rx * ry).sum(1) / np.sqrt(
            (weights * rx * rx).sum(1) * (weights * ry * ry).sum(1)
        )
    return rhos


def _in_blocks(
    of: Callable[[Floats, Floats, Floats], Floats], weights: Floats, sx: Floats, sy: Floats
) -> Floats:
    blocks = [of(weights[at : at + _BLOCK], sx, sy) for at in range(0, len(weights), _BLOCK)]
    return np.concatenate(blocks)


# -------------------------------------------------------------------- of a ceiling
def _signal_and_noise(values: Floats) -> tuple[float, float]:
    """Standard deviations between architectures (A rows) and from seed to seed (S columns)."""
    rows, columns = values.shape
    rest = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    noise = float((rest**2).sum() / ((rows - 1) * (columns - 1)))
    signal = max(0.0, float(values.mean(1).var(ddof=1)) - noise / columns)
    return signal**0.5, noise**0.5


def _reached(values: Floats) -> Interval:
    """Expected tau and Spearman's rho of the true means with the means over the seeds.

    A pair of true means d apart is seen in its order with a mean sign of erf(d / (2 s)) under normal noise of
    standard deviation s on each, and both correlations are linear in these signs.
    """
    from scipy.special import erf

    signal, noise = _signal_and_noise(values)
    if signal == 0.0:  # no architecture is known to be better than another: nothing can be ordered
        return 0.0, 0.0
    if noise == 0.0:
        return 1.0, 1.0
    means = values.mean(1)
    true = (means - means.mean()) * (signal / float(means.std(ddof=1)))
    apart = np.subtract.outer(true, true)
    signs, seen = np.sign(apart), erf(apart / (2 * noise / values.shape[1] ** 0.5))
    ranks = signs.sum(1)
    tau = float((signs * seen).sum() / (signs * signs).sum())
    return tau, float(ranks @ seen.sum(1) / (ranks @ ranks))


# -------------------------------------------------------------------- plain values
def _interval(drawn: Floats, count: int, level: float) -> Interval | None:
    known = drawn[np.isfinite(drawn)]
    if count < FEWEST or not len(known):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _listed(interval: Sequence[float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
