"""Scores of trainings that ran for different numbers of epochs, brought to one scale.

Most trials of a search with rungs are paused early. Of each architecture the latest score counts; where it
is an early one it is mapped to the last epoch by a regression on the architectures that have a score at
both,

    final = mean(final) + slope * (early - mean(early)),

with a slope that is drawn to 1 as by a few more pairs, and carries the variance of the regression's
residuals as noise of its own. Without pairs early scores are moved so that their mean is the finals'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Finals", "Observation", "final_scores"]

Float64 = NDArray[np.float64]

PRIOR_PAIRS = 4
"""Pairs that the assumption of slope 1, and that of the residuals' variance, weigh as much as."""

Key = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One score of one architecture."""

    backbone: str
    """Its name in the model."""
    choices: tuple[int, ...]
    """Alpha indices, one a step of the backbone's graph."""
    score: float
    """Higher is better; finite."""
    epoch: int
    """Scored epochs that the training had behind it, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finals:
    """One score for each of n architectures, as at the last epoch, with mean 0 and variance 1."""

    keys: list[Key]
    """Backbone and choices, in the order of first appearance."""
    scores: Float64
    """(score - center) / scale, (n,)."""
    extra: Float64
    """Variance of what mapping an early score adds to the noise, in the unit of `scores`, (n,)."""
    center: float
    scale: float


def final_scores(observations: Sequence[Observation], epochs: int) -> Finals:
    """The scores of all architectures at the last epoch that any of them has reached.

    Args:
        observations: any number of scores an architecture; several at one epoch are averaged.
        epochs: scored epochs of a whole training.
    """
    if not observations:
        return Finals(keys=[], scores=np.zeros(0), extra=np.zeros(0), center=0.0, scale=1.0)
    gathered: dict[Key, dict[int, list[float]]] = {}
    for seen in observations:
        gathered.setdefault((seen.backbone, seen.choices), {}).setdefault(seen.epoch, []).append(seen.score)
    curves = [{e: float(np.mean(scores)) for e, scores in curve.items()} for curve in gathered.values()]
    latest = np.array([max(curve) for curve in curves])
    last = int(latest.max())
    scores = np.array([curve[int(epoch)] for curve, epoch in zip(curves, latest, strict=True)])
    extra = np.zeros(len(scores))
    spread = float(np.var(scores[latest == last]))
    for epoch in np.unique(latest[latest < last]).tolist():
        rows = latest == epoch
        pairs = [(curve[epoch], curve[last]) for curve in curves if epoch in curve and last in curve]
        early, final = np.array(pairs).reshape(-1, 2).T
        mapped, residuals = _map(scores[rows], early, final, float(scores[latest == last].mean()))
        # Before there are residuals: half-trained networks tell half of the variance.
        guess = max(spread, float(np.var(scores[rows]))) * max(0.0, 1 - epoch / epochs)
        scores[rows] = mapped
        extra[rows] = (PRIOR_PAIRS * guess + float(residuals @ residuals)) / (PRIOR_PAIRS + len(residuals))
    center, scale = float(scores.mean()), float(scores.std())
    if scale <= 1e-9 * max(1.0, abs(center)):
        scale = 1.0
    return Finals(
        keys=list(gathered),
        scores=(scores - center) / scale,
        extra=extra / scale**2,
        center=center,
        scale=scale,
    )


def _map(scores: Float64, early: Float64, final: Float64, mean: float) -> tuple[Float64, Float64]:
    """Early `scores` as at the last epoch, and the residuals of the pairs (early, final); `mean` is that of
    all final scores."""
    if not len(early):
        return scores - scores.mean() + mean, np.zeros(0)
    weight = PRIOR_PAIRS * float(np.var(np.concatenate([scores, early]))) + 1e-12
    x, y = early - early.mean(), final - final.mean()
    slope = (float(x @ y) + weight) / (float(x @ x) + weight)
    return final.mean() + slope * (scores - early.mean()), y - slope * x
