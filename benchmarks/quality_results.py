"""All searches of one problem, and what is compared of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from contenders import METHODS
from readings import Curve, Estimate, at, epochs_to, estimate, mean_over, median

__all__ = ["STRAIGHT", "Results", "Target"]

STRAIGHT = "random straight"


@dataclass(frozen=True)
class Target:
    """A share of the true front's hypervolume that searches are to find."""

    words: str
    needed: Mapping[str, Sequence[float]]
    """Epochs of each search until it found that much; infinite where it did not."""

    def median(self, method: str) -> float:
        """Epochs of the middle search; infinite where half of them did not get there."""
        return float(median(np.array(self.needed[method])))


@dataclass(frozen=True)
class Results:
    """All searches of one problem; `curves` has the methods' searches in the order of their seeds."""

    name: str
    description: str
    budget_gflops: float
    references: tuple[float, ...]
    """The lowest true accuracies, one for each objective drawn."""
    front: tuple[int, ...]
    """Members of the true front, of each objective."""
    epochs: int
    """Spent by each search at most."""
    training: int
    """Epochs of a whole training."""
    ceiling: tuple[float, ...]
    curves: Mapping[str, Sequence[Curve]]
    within: float
    """The share of the true front's hypervolume that may be missing."""

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """All but `within` of the true front, and what random straight found on average in half of all
        epochs, which is within reach where the first is not."""
        targets = [self._target(f"within {100 * self.within:g} % of the true front", 1 - self.within)]
        if STRAIGHT in self.curves:
            half = np.array([self.epochs // 2])
            found = [float(at(each.epochs, each.found, half)[0]) for each in self.curves[STRAIGHT]]
            share = float(np.mean(found))
            words = (
                f"{share:.3f} of the front, which {STRAIGHT} found on average in {self.epochs // 2} epochs"
            )
            targets.append(self._target(words, share))
        return tuple(targets)

    def _target(self, words: str, share: float) -> Target:
        needed = {
            method: [epochs_to(each.epochs, each.found, share) for each in curves]
            for method, curves in self.curves.items()
        }
        return Target(words, needed)

    @cached_property
    def areas(self) -> dict[str, list[float]]:
        """Of each search, what it had found on average over all epochs."""
        return {
            method: [mean_over(each.epochs, each.found, self.epochs) for each in curves]
            for method, curves in self.curves.items()
        }

    def plain_optuna(self, target: Target) -> str | None:
        """The plain Optuna study that needs the fewest epochs, or, where none gets there, finds most."""
        names = [name for name in self.curves if METHODS[name].kind == "optuna"]
        return min(
            names, key=lambda name: (target.median(name), -float(np.mean(self.areas[name]))), default=None
        )

    @property
    def engine(self) -> list[str]:
        """The searches of octnas."""
        return [name for name in self.curves if METHODS[name].kind == "engine"]

    @property
    def best(self) -> str | None:
        """The search of octnas that found most on average over all epochs."""
        return max(self.engine, key=lambda name: float(np.mean(self.areas[name])), default=None)

    def lead(self, method: str, other: str) -> Estimate:
        """How much more `method` had found than `other`, on average over all epochs; seeds paired."""
        return estimate(np.subtract(self.areas[method], self.areas[other]).tolist())

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of epochs at which the tables show the readings."""
        return tuple(max(1, round(self.epochs * share)) for share in (0.1, 0.25, 0.5, 1.0))
