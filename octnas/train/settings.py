"""What one training does, as plain values. Nothing here imports a tensor library.

An *epoch* of a training is one score: a pass over the training images where the length is given in
epochs, and one of `evaluations` equal shares of the steps where it is given in steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, get_args

from octnas.errors import OctnasError, unknown_name

__all__ = [
    "Optimizer",
    "Precision",
    "ProxyLike",
    "SettingsError",
    "TrainSettings",
    "settings_from_proxy",
    "warm_settings",
]

Precision = Literal["auto", "fp32", "bf16"]
Optimizer = Literal["adamw", "sgd"]


WARM_RATE = 0.25
"""Learning rate of a training that begins from shared weights, as a share of one from scratch."""
COMPILED_STEPS = 5000
"""Optimiser steps from which on a training on a GPU makes up for the minute or two that compiling takes."""
_COUNTS = (
    "epochs",
    "steps",
    "evaluations",
    "batch_size",
    "train_images",
    "val_images",
    "val_batch_size",
    "threads",
)


class SettingsError(OctnasError, ValueError):
    """Settings of a training that cannot be carried out."""


class ProxyLike(Protocol):
    """The part of a search space's proxy that a training reads."""

    @property
    def train_images(self) -> int | None: ...
    @property
    def val_images(self) -> int | None: ...
    @property
    def epochs(self) -> int | None: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def evaluations(self) -> int | None: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def optimizer(self) -> Optimizer: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def label_smoothing(self) -> float: ...
    @property
    def augment(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """The recipe of one training: AdamW or SGD, a short warm-up, then a cosine to zero."""

    epochs: int | None = None
    """Passes over the training images; exactly one of `epochs` and `steps` is given."""
    steps: int | None = None
    """Optimiser steps of the whole training."""
    evaluations: int = 1
    """Scores of a training whose length is given in steps."""
    batch_size: int = 64
    optimizer: Optimizer = "adamw"
    """"adamw" (decoupled decay, betas .9 and .99), or "sgd" (Nesterov)."""
    learning_rate: float = 0.004
    """Highest learning rate, reached at the end of the warm-up."""
    momentum: float = 0.9
    """Of "sgd" only."""
    weight_decay: float = 0.05
    """Decay of convolution and classifier weights; biases and batch-norm have none."""
    label_smoothing: float = 0.0
    """Of the training loss only; validation loss is the plain cross-entropy."""
    warmup: float = 0.05
    """Share of all steps during which the learning rate rises linearly."""
    augment: bool = True
    """Random shifts, and flips where the data set allows them, drawn for each batch."""
    train_images: int | None = None
    """Size of the class-balanced subset that is trained on; None: all."""
    val_images: int | None = None
    """Size of the class-balanced subset behind the scores; None: all validation images."""
    val_batch_size: int = 250
    precision: Precision = "auto"
    """"auto": bfloat16 on a GPU and on a CPU that multiplies it in hardware, else float32."""
    channels_last: bool = True
    compiled: bool | None = None
    """Whether `torch.compile` fuses what lies between the convolutions; None: on a GPU, where the training
    has `COMPILED_STEPS` steps or more."""
    device: str = "auto"
    """"auto": a GPU where there is one; else a name such as "cpu" or "cuda:0"."""
    threads: int | None = 1
    """CPU threads of this process while it trains; None leaves them as they are."""
    # Not in the text by which checkpoints know their training: see `extras`.
    mixup: float = field(default=0.0, repr=False)
    """Alpha of the Beta distribution by which images are blended (`octnas.train.mixup`); 0: none."""
    ema: float = field(default=0.0, repr=False)
    """Decay a step of the average of weights that is scored and kept (`octnas.train.average`); 0: none."""
    random_crop: bool = field(default=False, repr=False)
    """Of images that are read from a folder as they are needed: random crops in place of random shifts."""

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise SettingsError(
                "exactly one of `epochs` and `steps` must be given, "
                f"but got epochs={self.epochs}, steps={self.steps}"
            )
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"`{name} >= 1` must hold, but got {name}={value}")
        if self.steps is not None and self.evaluations > self.steps:
            raise SettingsError(
                f"`evaluations <= steps` must hold, but got {self.evaluations} > {self.steps}"
            )
        if not self.learning_rate > 0:
            raise SettingsError(f"`learning_rate > 0` must hold, but got {self.learning_rate}")
        if not 0 <= self.mixup <= 10:
            raise SettingsError(f"`0 <= mixup <= 10` must hold, but got {self.mixup}")
        for name in ("momentum", "label_smoothing", "warmup", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"`0 <= {name} < 1` must hold, but got {getattr(self, name)}")
        if self.weight_decay < 0:
            raise SettingsError(f"`weight_decay >= 0` must hold, but got {self.weight_decay}")
        if self.optimizer not in get_args(Optimizer):
            raise unknown_name("optimizer", str(self.optimizer), get_args(Optimizer))
        if self.precision not in get_args(Precision):
            raise unknown_name("precision", str(self.precision), get_args(Precision))

    def extras(self) -> dict[str, str]:
        """Those of the settings that few trainings have and `repr` leaves out, by name, as text."""
        values = {"mixup": self.mixup, "ema": self.ema, "random_crop": self.random_crop}
        return {name: repr(value) for name, value in values.items() if value}

    @property
    def scores(self) -> int:
        """How many scores (epochs, as trials count them) a whole training gives."""
        return self.evaluations if self.epochs is None else self.epochs

    def steps_per_pass(self, images: int) -> int:
        """Steps of one pass over `images` training images; a last batch that is not full is left out."""
        return max(1, images // self.batch_size)

    def compiles(self, device: str, images: int) -> bool:
        """Whether the network is compiled, on a device of this type ("cpu", "cuda")."""
        if self.compiled is not None:
            return self.compiled
        return device == "cuda" and self.step_bounds(images)[-1] >= COMPILED_STEPS

    def step_bounds(self, images: int) -> tuple[int, ...]:
        """The step at which each score is taken, ascending; the last is the length of the training."""
        if self.epochs is not None:
            return tuple(self.steps_per_pass(images) * (i + 1) for i in range(self.epochs))
        assert self.steps is not None
        return tuple(self.steps * (i + 1) // self.evaluations for i in range(self.evaluations))

    def passes(self, images: int) -> float:
        """Length of the whole training in passes over `images` training images."""
        return self.step_bounds(images)[-1] / self.steps_per_pass(images)


class _Sized(Protocol):
    def __len__(self) -> int: ...


class _Images(Protocol):
    @property
    def train(self) -> _Sized: ...
    @property
    def val(self) -> _Sized: ...


def settings_from_proxy(proxy: ProxyLike, images: _Images | None = None) -> TrainSettings:
    """The settings of a search space's proxy.

    Args:
        images: the data set; where it has fewer images than the proxy asks for, all are taken.
    """
    train_images, val_images = proxy.train_images, proxy.val_images
    if images is not None:
        train_images = None if train_images is None or train_images >= len(images.train) else train_images
        val_images = None if val_images is None or val_images >= len(images.val) else val_images
    return TrainSettings(
        epochs=proxy.epochs,
        steps=proxy.steps,
        evaluations=1 if proxy.epochs is not None else proxy.evaluations or 1,
        batch_size=proxy.batch_size,
        optimizer=proxy.optimizer,
        learning_rate=proxy.learning_rate,
        weight_decay=proxy.weight_decay,
        label_smoothing=proxy.label_smoothing,
        augment=proxy.augment,
        train_images=train_images,
        val_images=val_images,
    )


def warm_settings(settings: TrainSettings, epochs: int, images: int) -> TrainSettings:
    """The settings of a short training that begins from shared weights.

    Args:
        settings: those of the search's proxy.
        epochs: scores of the short training, each after as many steps as one of the proxy's.
        images: training images of the data set.
    """
    bounds = settings.step_bounds(min(images, settings.train_images or images))
    return replace(
        settings,
        epochs=None,
        steps=max(1, bounds[-1] * epochs // len(bounds)),
        evaluations=epochs,
        learning_rate=WARM_RATE * settings.learning_rate,
    )
