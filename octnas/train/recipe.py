"""How long, and by which recipe, a winner is trained. Nothing here imports a tensor library.

The recipe of ImageNet is that of Chen et al. 2019 ("Drop an Octave", ICCV), as far as its authors have
published it (github.com/facebookresearch/OctConv): README.md has the learning rate, .4 by a cosine after a
warm-up of 5 epochs, and which networks are trained with label smoothing and mixup; `train_imagenet.py` has
stochastic gradient descent with Nesterov's momentum of .9, a weight decay of 1e-4, smoothing by .1, mixup's
alpha of .2, and random crops and flips. Ours, as nothing there gives them: 110 epochs, and 1,024 images a
batch, for which .4 is the rate by the linear rule (.1 for 256, Goyal et al. 2017, section 2.1). Not taken
over: that script's colour jitter and lighting noise, and its resizing to 256 px before a centre crop of 224.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from octnas.errors import unknown_name
from octnas.train.settings import SettingsError, TrainSettings

__all__ = ["IMAGENET_IMAGES", "Choices", "Scale", "imagenet_settings", "recipe_words", "settings_at_scale"]

Scale = Literal["proxy", "full", "target"]
"""proxy: as in the search; full: the proxy network, all training images, four times the epochs; target: the
target network at the target's input size."""

FULL_FACTOR = 4
TARGET_EPOCHS = 30
"""Passes of a target training where none are asked for."""
IMAGENET_IMAGES = 100_000
"""Training images, in a folder, from which on a target training follows the recipe of ImageNet."""
IMAGENET_EPOCHS, IMAGENET_WARMUP = 110, 5
IMAGENET_BATCH, IMAGENET_RATE = 1024, 0.4
_SMOOTHED = ("mobilenet_v2", "resnet152", "se_resnet152")
_MIXED = ("resnet152", "se_resnet152")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a user wants otherwise than the recipe has it; None leaves it."""

    batch_size: int | None = None
    """Images of a step, of all workers together."""
    learning_rate: float | None = None
    """Where only `batch_size` is given, a recipe of SGD scales its own by the linear rule."""
    mixup: float | None = None
    ema: float | None = None
    label_smoothing: float | None = None

    def applied(self, settings: TrainSettings) -> TrainSettings:
        """The settings with these choices.

        Raises:
            SettingsError: a value that no training can have.
        """
        changes: dict[str, Any] = {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        if self.batch_size is not None and self.learning_rate is None and settings.optimizer == "sgd":
            if self.batch_size < 1:
                raise SettingsError(f"`batch_size >= 1` must hold, but got batch_size={self.batch_size}")
            changes["learning_rate"] = settings.learning_rate * self.batch_size / settings.batch_size
        return dataclasses.replace(settings, **changes)


def settings_at_scale(
    settings: TrainSettings, scale: Scale, *, images: int, epochs: int | None = None
) -> TrainSettings:
    """The settings of a winner's training.

    Args:
        settings: those of the search's proxy.
        images: number of training images of the data set.
        epochs: passes over the training images, where the scale's own number is not wanted.
    """
    if scale not in get_args(Scale):
        raise unknown_name("scale", str(scale), get_args(Scale))
    if scale == "proxy":
        return settings if epochs is None else dataclasses.replace(settings, epochs=epochs, steps=None)
    if epochs is None:
        trained = min(images, settings.train_images or images)
        epochs = TARGET_EPOCHS if scale == "target" else max(1, round(FULL_FACTOR * settings.passes(trained)))
    # A proxy is too short to profit from augmentation; a training of many passes needs it.
    return dataclasses.replace(settings, epochs=epochs, steps=None, train_images=None, augment=True)


def imagenet_settings(settings: TrainSettings, backbone: str, *, epochs: int | None = None) -> TrainSettings:
    """The settings of a target training on ImageNet, or a set like it; see the module for their source.

    Args:
        settings: those of the search's proxy, of which batches of validation, number format and device stay.
        backbone: the network's: only the deepest have mixup, only some label smoothing.
        epochs: passes over the training images, where 110 are not wanted.
    """
    epochs = epochs or IMAGENET_EPOCHS
    return dataclasses.replace(
        settings,
        epochs=epochs,
        steps=None,
        evaluations=1,
        batch_size=IMAGENET_BATCH,
        optimizer="sgd",
        learning_rate=IMAGENET_RATE,
        momentum=0.9,
        weight_decay=1e-4,
        label_smoothing=0.1 if backbone.startswith(_SMOOTHED) else 0.0,
        warmup=IMAGENET_WARMUP / IMAGENET_EPOCHS,
        mixup=0.2 if backbone in _MIXED else 0.0,
        augment=True,
        random_crop=True,
        train_images=None,
        val_images=None,
    )


def recipe_words(settings: TrainSettings | Mapping[str, Any]) -> str:
    """The recipe in one line."""
    values = dataclasses.asdict(settings) if isinstance(settings, TrainSettings) else settings
    length = f"{values['epochs']} epochs" if values["steps"] is None else f"{values['steps']} steps"
    words = [
        f"{length} of batches of {values['batch_size']}",
        f"{'SGD' if values['optimizer'] == 'sgd' else 'AdamW'}, learning rate {values['learning_rate']:g} "
        f"by a cosine after {100 * values['warmup']:.0f} % of warm-up",
        f"weight decay {values['weight_decay']:g}",
    ]
    if values["label_smoothing"]:
        words.append(f"label smoothing {values['label_smoothing']:g}")
    if values["mixup"]:
        words.append(f"mixup {values['mixup']:g}")
    if values["ema"]:
        words.append(f"weights averaged by {values['ema']:g}")
    if values["augment"]:
        words.append("random crops" if values["random_crop"] else "random shifts")
    return ", ".join(words)
