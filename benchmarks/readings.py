"""What traces of searches say: hypervolume against epochs, epochs needed, ratios, with bootstrap intervals.

All hypervolumes here are shares of the true front's. Intervals are 95 % percentile bootstraps over
replication seeds; what compares two methods resamples the seeds of both together, since a seed shows both the
same trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from contenders import Trained
from problem import Points, hypervolume, non_dominated

__all__ = ["Curve", "Estimate", "at", "curve", "epochs_to", "estimate", "mean_over", "ratio_of_medians"]

RESAMPLES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Steps of one search: after `epochs[i]` epochs the readings are `found[i]` and `chosen[i]`."""

    epochs: np.ndarray
    found: np.ndarray
    """Hypervolume of the true accuracies of all that was trained to the end."""
    chosen: np.ndarray
    """Hypervolume of the true accuracies of the front that the search's own scores choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


def curve(trained: Sequence[Trained], *, best: Points, budget: float, reference: float) -> Curve:
    """The readings after each whole training; `best` is the true front."""
    whole = hypervolume(best, budget=budget, reference=reference)
    truth = np.array([[each.gflops, each.truth] for each in trained]).reshape(-1, 2)
    seen = np.array([[each.gflops, each.seen] for each in trained]).reshape(-1, 2)
    found, chosen = [], []
    for count in range(1, len(trained) + 1):
        picked = truth[:count][non_dominated(seen[:count])]
        chosen.append(hypervolume(picked, budget=budget, reference=reference) / whole)
        front = truth[:count][non_dominated(truth[:count])]
        found.append(hypervolume(front, budget=budget, reference=reference) / whole)
    epochs = np.array([each.epochs for each in trained], dtype=np.int64)
    return Curve(epochs=epochs, found=np.array(found), chosen=np.array(chosen))


def at(epochs: np.ndarray, values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A step curve's values after each number of epochs in `grid`; 0 before its first step."""
    index = np.searchsorted(epochs, grid, side="right")
    return np.concatenate(([0.0], values))[index]


def mean_over(epochs: np.ndarray, values: np.ndarray, budget: int) -> float:
    """The mean of a step curve over epochs 1 to `budget`."""
    return float(at(epochs, values, np.arange(1, budget + 1)).mean())


def epochs_to(epochs: np.ndarray, values: np.ndarray, target: float) -> float:
    """Epochs after which a step curve is at `target` or above for the first time; infinite where never."""
    reached = np.flatnonzero(values >= target)
    return float(epochs[reached[0]]) if reached.size else float("inf")


def estimate(
    values: Sequence[float], of: Callable[[np.ndarray], np.ndarray] = lambda rows: rows.mean(axis=-1)
) -> Estimate:
    """`of` the values (over the last axis) and its interval."""
    numbers = np.asarray(values, dtype=float)
    draws = of(numbers[_resampled(len(numbers))])
    low, high = _percentiles(draws)
    return Estimate(value=float(of(numbers)), low=low, high=high)


def median(rows: np.ndarray) -> np.ndarray:
    """Over the last axis; with an even number the higher of the middle two, so that infinity stays honest."""
    ordered = np.sort(rows, axis=-1)
    return np.asarray(ordered[..., ordered.shape[-1] // 2])


def ratio_of_medians(ours: Sequence[float], theirs: Sequence[float], *, cut: float) -> Estimate:
    """The median of `ours` over that of `theirs`, seeds paired.

    What a search did not reach is infinite in `ours`; in `theirs` it counts as `cut`, the epochs that were
    spent, so that the ratio then is an upper bound.
    """
    rows = _resampled(len(ours))
    above, below = np.asarray(ours, dtype=float), np.minimum(np.asarray(theirs, dtype=float), cut)
    draws = median(above[rows]) / median(below[rows])
    low, high = _percentiles(draws)
    return Estimate(value=float(median(above) / median(below)), low=low, high=high)


def _resampled(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))


def _percentiles(draws: np.ndarray) -> tuple[float, float]:
    ordered = np.sort(draws)  # np.percentile would interpolate with infinity
    last = len(ordered) - 1
    return float(ordered[round(0.025 * last)]), float(ordered[round(0.975 * last)])
