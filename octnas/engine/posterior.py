"""Bayesian linear regression in closed form.

    w ~ N(0, s2 * diag(variances)),  y = features @ w + e,  e ~ N(0, s2 * diag(noise)),  s2 ~ IG(a, a)

Conditioned in the dual (n x n) where there are fewer observations than weights, else in the primal (D x D).
s2 is set to its posterior's mode-like value (a + q/2) / (a + n/2) with q = y' M^-1 y and
M = features diag(variances) features' + diag(noise); the evidence has s2 integrated out:

    log p(y) = -(a + n/2) log(a + q/2) - log|M| / 2 + constant(n)

Source: Rasmussen and Williams (2006), 2.1 and 5.4; the dual's draws by Matheron's rule, w0 + gain (y - y0).
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

__all__ = ["Posterior", "condition", "condition_sums"]

Float64 = NDArray[np.float64]

SHAPE = 3.0
"""a of the scale's inverse gamma prior: worth 6 observations of variance 1."""


class Posterior(Protocol):
    """What is known of the weights."""

    @property
    def evidence(self) -> float:
        """Log marginal likelihood up to a constant that depends on the number of observations only."""

    @property
    def mean(self) -> Float64:
        """(D,)."""

    def draw(self, rng: np.random.Generator) -> Float64:
        """Weights drawn from the posterior, (D,)."""

    def variance(self, features: Float64) -> float:
        """Posterior variance of features (D,) @ weights."""


def condition(features: Float64, scores: Float64, noise: Float64, variances: Float64) -> Posterior:
    """The posterior after n observations, n >= 0.

    Args:
        features: (n, D).
        scores: y, (n,).
        noise: variance of each observation's noise as a share of s2, (n,), positive.
        variances: prior variance of each weight as a share of s2, (D,), positive.
    """
    if len(scores) <= len(variances):
        return _Dual(features, scores, noise, variances)
    scaled = features / noise[:, None]
    return _Primal(
        scaled.T @ features,
        scores @ scaled,
        float(scores @ (scores / noise)),
        count=len(scores),
        log_noise=float(np.log(noise).sum()),
        variances=variances,
    )


def condition_sums(
    precision: Float64,
    products: Float64,
    square: float,
    *,
    count: int,
    log_noise: float,
    variances: Float64,
) -> Posterior:
    """The same posterior from sums over the observations.

    Args:
        precision: features' diag(1 / noise) features, (D, D).
        products: features' diag(1 / noise) y, (D,).
        square: y' diag(1 / noise) y.
        count: n.
        log_noise: sum of the logarithms of `noise`.
        variances: prior variance of each weight as a share of s2, (D,), positive.
    """
    return _Summed(precision, products, square, count=count, log_noise=log_noise, variances=variances)


class _Dual:
    def __init__(self, features: Float64, scores: Float64, noise: Float64, variances: Float64) -> None:
        self._features, self._noise, self._variances = features, noise, variances
        self._cross: Float64 = features * variances
        self._matrix: Float64 = self._cross @ features.T
        self._matrix[np.diag_indices(len(noise))] += noise
        root = np.linalg.cholesky(self._matrix)
        half = np.linalg.solve(root, scores)
        self._scores = scores
        self._scale2, self.evidence = _scale(
            float(half @ half), len(scores), 2 * float(np.log(np.diag(root)).sum())
        )

    @cached_property
    def _inverse(self) -> Float64:
        return np.asarray(np.linalg.inv(self._matrix), dtype=np.float64)

    @cached_property
    def mean(self) -> Float64:
        mean: Float64 = (self._inverse @ self._scores) @ self._cross
        return mean

    def draw(self, rng: np.random.Generator) -> Float64:
        weights = rng.normal(size=len(self._variances)) * np.sqrt(self._variances)
        seen = self._features @ weights + rng.normal(size=len(self._noise)) * np.sqrt(self._noise)
        drawn: Float64 = weights - (self._inverse @ seen) @ self._cross
        return self.mean + math.sqrt(self._scale2) * drawn

    def variance(self, features: Float64) -> float:
        cross = self._cross @ features
        left = float(features @ (self._variances * features)) - float(cross @ self._inverse @ cross)
        return self._scale2 * max(left, 0.0)


class _Primal:
    def __init__(
        self,
        precision: Float64,
        products: Float64,
        square: float,
        *,
        count: int,
        log_noise: float,
        variances: Float64,
    ) -> None:
        root = np.linalg.cholesky(precision + np.diag(1 / variances))
        self._root: Float64 = np.asarray(root, dtype=np.float64)
        self._half = half = self._solve(self._root, products)
        determinant = 2 * np.log(np.diag(self._root)).sum() + np.log(variances).sum() + log_noise
        left = max(square - float(half @ half), 0.0)
        self._scale2, self.evidence = _scale(left, count, float(determinant))

    @cached_property
    def mean(self) -> Float64:
        return self._solve(self._root.T, self._half)

    def draw(self, rng: np.random.Generator) -> Float64:
        drawn = self._solve(self._root.T, rng.normal(size=len(self.mean)))
        return self.mean + math.sqrt(self._scale2) * drawn

    def variance(self, features: Float64) -> float:
        half = self._solve(self._root, features)
        return self._scale2 * float(half @ half)

    def _solve(self, matrix: Float64, values: Float64) -> Float64:
        return np.asarray(np.linalg.solve(matrix, values))


class _Summed(_Primal):
    """The same, quicker: its triangular matrices are solved as such."""

    def _solve(self, matrix: Float64, values: Float64) -> Float64:
        lower = matrix is self._root
        return np.asarray(solve_triangular(self._root, values, lower=True, trans=0 if lower else 1))


def _scale(q: float, n: int, log_determinant: float) -> tuple[float, float]:
    """s2 and the evidence."""
    rate, shape = SHAPE + q / 2, SHAPE + n / 2
    return rate / shape, -shape * math.log(rate) - log_determinant / 2
