"""What a search is measured on: a space, a budget, what an architecture is worth and what a training shows.

GFLOPs are 10^9 multiply-adds of the target network. Accuracies are shares (0 to 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from octnas.architecture import Architecture
from octnas.record import EpochScore
from octnas.space import SearchSpace

__all__ = ["Points", "Problem", "generator", "hypervolume", "non_dominated", "with_rungs", "without_rungs"]

Points = np.ndarray
"""Rows of (GFLOPs, accuracy), (N, 2)."""


class Problem(Protocol):
    """One table, or one formula."""

    name: str
    space: SearchSpace
    budget_gflops: float
    epochs: int
    """Scores of a whole training."""

    @property
    def reference(self) -> float:
        """The lowest true accuracy, which with the budget is the hypervolume's reference point."""
        ...

    @property
    def best(self) -> Points:
        """The true front, or the best front known."""
        ...

    def truth(self, architecture: Architecture) -> float:
        """The accuracy that the architecture is worth."""
        ...

    def scores(self, architecture: Architecture, seed: int) -> Iterator[EpochScore]:
        """What one training shows, epoch by epoch; the same for every method with one replication seed.

        Raises:
            KeyError: nothing is known of the architecture.
        """
        ...


def generator(seed: int, architecture: Architecture, *more: int) -> np.random.Generator:
    """Random numbers that depend on the replication seed and the architecture alone."""
    return np.random.default_rng([seed, int(architecture.digest, 16), *more])


def non_dominated(points: Points) -> np.ndarray:
    """Indices of the points that no other beats, by ascending cost; of equal points the first."""
    order = np.lexsort((-points[:, 1], points[:, 0]))
    accuracy = points[order, 1]
    before = np.concatenate(([-np.inf], np.maximum.accumulate(accuracy)[:-1]))
    return np.asarray(order[accuracy > before])


def hypervolume(points: Points, *, budget: float, reference: float) -> float:
    """What the points dominate up to (budget, reference), in GFLOPs times accuracy; by moocore."""
    if not len(points):
        return 0.0
    import moocore

    return float(moocore.hypervolume(points, ref=[budget, reference], maximise=[False, True]))


def with_rungs(space: SearchSpace, *, eta: int, min_epochs: int) -> SearchSpace:
    """The space with other rungs."""
    rungs = space.proxy.rungs.model_copy(update={"eta": eta, "min_epochs": min_epochs})
    proxy = space.proxy.model_copy(update={"rungs": rungs})
    return SearchSpace(space.definition.model_copy(update={"proxy": proxy}))


def without_rungs(space: SearchSpace, *, epochs: int) -> SearchSpace:
    """The space with its first rung where a training ends, so that every trial is trained to the end."""
    return with_rungs(space, eta=space.proxy.rungs.eta, min_epochs=epochs)
