"""Training of the weights that all architectures of a backbone share.

The plain network, the cheapest one and some drawn at random are trained by the sandwich rule (Yu and Huang
2019, "Universally Slimmable Networks", section 3.1): all on one batch, their gradients added up; or in turn,
one a step, which ranked architectures much alike for the same compute (one seed, `benchmarks/README.md`). One
network's activations are held at a time, so that the training takes the memory of a plain one.

As in `ProxyTraining` everything random follows from the seed and the step alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.nn.shared import share
from octnas.train.form import Forward, fastest_form
from octnas.train.heap import give_back
from octnas.train.proxy import ProxyTraining
from octnas.train.recalibrate import BATCH_SIZE, calibration_batches, recalibrate
from octnas.train.scoring import score_shared
from octnas.train.settings import TrainSettings

__all__ = ["LENGTH", "Sandwich", "SupernetTraining", "supernet_settings"]

LENGTH = 4.0
"""Length of a supernet's training, in trainings of one proxy. On ResNet-18 of the tabulated space losses on
weights trained 2, 4 and 8 times as long as a proxy agree with trainings by a tau of about .0, .4 and .5 (one
seed; over three .3 at 4)."""
_DRAW = 3
_GIVE_BACK_EVERY = 20
"""Steps between two times that freed memory goes back to the system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandwich:
    """Which architectures a step trains; all of one backbone, width and stem."""

    plain: Architecture
    """Without low channels."""
    cheapest: Architecture
    pool: tuple[Architecture, ...]
    """From which the others are drawn, uniformly."""
    randoms: int = 1
    """Architectures drawn for one plain and one cheapest, and as many between these."""
    together: bool = False
    """Whether a step trains the plain, the cheapest and `randoms` drawn ones on its batch, or one of them."""
    distill: float = 0.0
    """Together: share of the loss of all but the plain network that is the cross-entropy to its output."""

    def trained(self, seed: int, step: int) -> tuple[Architecture, ...]:
        """The architectures of a step, the plain one first where it is among them.

        In turn: the plain one, `randoms` drawn ones, the cheapest, `randoms` drawn ones, and from the start.
        """
        if self.together:
            return (self.plain, self.cheapest, *self._drawn(seed, step, self.randoms))
        place = step % (2 * self.randoms + 2)
        ends = {0: self.plain, self.randoms + 1: self.cheapest}
        return (ends[place],) if place in ends else self._drawn(seed, step, 1)

    def _drawn(self, seed: int, step: int, count: int) -> tuple[Architecture, ...]:
        rng = np.random.default_rng([seed, _DRAW, step])
        return tuple(self.pool[int(i)] for i in rng.integers(len(self.pool), size=count))


def supernet_settings(settings: TrainSettings, *, length: float = LENGTH) -> TrainSettings:
    """The settings of a supernet's training.

    Args:
        settings: those of the search's proxy.
        length: in trainings of one proxy: as many times its steps.
    """
    if settings.epochs is not None:
        return dataclasses.replace(settings, epochs=max(1, round(length * settings.epochs)))
    assert settings.steps is not None
    return dataclasses.replace(
        settings,
        steps=max(1, round(length * settings.steps)),
        evaluations=max(1, round(length * settings.evaluations)),
    )


class SupernetTraining(ProxyTraining):
    """A training of the weights of `sandwich.plain` that serves all architectures of its backbone.

    Scores are the plain network's, its batch-norm statistics estimated anew before each.
    """

    def __init__(self, sandwich: Sandwich, data: ImageSet, settings: TrainSettings, *, seed: int) -> None:
        self.sandwich = sandwich
        # A batch as large as those of the statistics: validation takes no more memory than training.
        size = min(settings.val_batch_size, BATCH_SIZE)
        settings = dataclasses.replace(settings, compiled=False, val_batch_size=size)
        super().__init__(sandwich.plain, data, settings, seed=seed)
        self._calibration = calibration_batches(data.train, data, self.mode)

    def validate(self, *, full: bool = True) -> tuple[float, float]:
        """Accuracy (0 to 1) and mean cross-entropy of the plain network on validation images."""
        give_back()
        recalibrate(self.network, self._calibration, mode=self.mode, forward=self._forward)
        give_back()
        return super().validate(full=full)

    def score(self, architecture: Architecture) -> tuple[float, float]:
        """Accuracy and mean cross-entropy of an architecture on the settings' validation images."""
        return score_shared(
            self.network,
            architecture,
            self._val,
            self._calibration,
            data=self.data,
            settings=self.settings,
        )

    def _backward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of the architectures of the step."""
        if self.step % _GIVE_BACK_EVERY == 0:
            give_back()
        sandwich = self.sandwich
        architectures = sandwich.trained(self.seed, self.step)
        teacher: Tensor | None = None
        total = torch.zeros((), device=labels.device)
        for architecture in architectures:
            with self.mode.autocast():
                logits = self._form(architecture)(inputs)
            logits = logits.float()
            loss = functional.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)
            if teacher is not None:
                told = functional.cross_entropy(logits, teacher)
                loss = (1 - sandwich.distill) * loss + sandwich.distill * told
            elif sandwich.distill:
                teacher = logits.detach().softmax(1)
            (loss / len(architectures)).backward()  # type: ignore[no-untyped-call]
            total += loss.detach() / len(architectures)
        return total

    def _form(self, architecture: Architecture) -> Forward:
        if architecture == self.sandwich.plain:
            return self._forward
        shared = share(self.network, architecture).train()
        return fastest_form(
            shared,
            size=(self.data.size, self.data.size),
            clips=self.data.frames is not None,
            mode=self.mode,
            compiled=False,
        )

    def _identity(self) -> dict[str, str | int]:
        sandwich = self.sandwich
        pool = "\n".join(each.to_json() for each in (sandwich.cheapest, *sandwich.pool))
        return {
            **super()._identity(),
            "pool": hashlib.sha256(pool.encode()).hexdigest(),
            "randoms": sandwich.randoms,
            "together": sandwich.together,
            "distill": repr(sandwich.distill),
        }
