"""Training a winner and keeping it: weights, and beside them what they are and what they reached.

A folder holds `weights.safetensors` and `training.json` once the training is done, and `checkpoint.pt` while
it is under way, from which the next call goes on.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.errors import afterwards, unknown_name
from octnas.record import EpochScore
from octnas.train.evaluate import evaluate_network
from octnas.train.files import written_whole
from octnas.train.memory import PeakMemory
from octnas.train.proxy import ProxyTraining
from octnas.train.settings import TrainSettings
from octnas.train.weights import save_weights

__all__ = ["Progress", "Scale", "TrainingReport", "settings_at_scale", "train_and_keep"]

Scale = Literal["proxy", "full", "target"]
"""proxy: as in the search; full: the proxy network, all training images, four times the epochs; target: the
target network at the target's input size."""
Progress = Callable[[EpochScore, int], None]
"""Called after each epoch with its score and the number of epochs of the whole training."""

FULL_FACTOR = 4
TARGET_EPOCHS = 30
"""Passes of a target training where none are asked for."""
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What a training reached; accuracies are shares (0 to 1) of all images of a split, in float32."""

    scale: Scale
    epochs: int
    accuracy: float
    loss: float
    test_accuracy: float | None
    checkpoint: Path
    """The safetensors file with the weights."""
    seed: int
    data: str
    seconds: float
    """Wall-clock of all epochs and of this call's last evaluation."""
    scores: tuple[EpochScore, ...]
    """One for each epoch, on the settings' validation images and in the number format of the training."""
    input_shape: tuple[int, ...]
    """(C, H, W) of an image, or (C, T, H, W) of a clip, in px."""
    peak_memory_mb: float
    """10^6 bytes that were held at most: on a GPU by tensors, else by the whole process with its data."""
    init: str = "scratch"
    """The weights that it began from: "scratch", "shared", "torchvision", or a file."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values, the keys of `octnas train --json` among them."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "checkpoint": str(self.checkpoint),
            "scores": [score.to_dict() for score in self.scores],
            "input_shape": list(self.input_shape),
        }


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


def train_and_keep(
    architecture: Architecture,
    data: ImageSet,
    settings: TrainSettings,
    *,
    scale: Scale,
    seed: int,
    folder: Path,
    source: str | None = None,
    progress: Progress | None = None,
    init: str = "scratch",
    initial: Mapping[str, Tensor] | None = None,
    only_recalibrate: bool = False,
) -> TrainingReport:
    """Trains a network, or on from where it was interrupted, and keeps it under `folder`.

    Args:
        architecture: of the network that is trained: the proxy's, or the target's at scale "target".
        settings: of this training, see `settings_at_scale`.
        source: what `data` was loaded from, where that says more than its name: the path of a folder.
        init: what the report calls the weights that it begins from.
        initial: these weights, a state dict that fits the network; drawn by the seed, if not given.
        only_recalibrate: train no epoch; estimate the batch-norm statistics of `initial` and evaluate it.

    Raises:
        RunError: the folder cannot be written.
        TrainingDivergedError: the loss did not stay finite.
    """
    checkpoint = folder / "checkpoint.pt"
    training = ProxyTraining(architecture, data, settings, seed=seed, initial=initial)
    memory = PeakMemory(training.mode.device)
    if only_recalibrate:
        training.recalibrate()
    else:
        _train(training, checkpoint, progress)
    begin = time.perf_counter()
    # Exported models compute in float32, so the accuracies that go with them are measured so.
    mode = dataclasses.replace(training.mode, precision="fp32")
    splits = {"val": data.val, "test": data.test}
    reached = {
        name: evaluate_network(
            training.network,
            split,
            mean=data.mean,
            std=data.std,
            mode=mode,
            batch_size=settings.val_batch_size,
        )
        for name, split in splits.items()
        if split is not None
    }
    weights = folder / "weights.safetensors"
    save_weights(training.network, weights)
    report = TrainingReport(
        scale=scale,
        epochs=training.epoch,
        accuracy=reached["val"][0],
        loss=reached["val"][1],
        test_accuracy=reached["test"][0] if "test" in reached else None,
        checkpoint=weights,
        seed=seed,
        data=data.name,
        seconds=sum(score.seconds for score in training.scores) + time.perf_counter() - begin,
        scores=tuple(training.scores),
        input_shape=data.shape,
        peak_memory_mb=round(memory.megabytes(), 1),
        init=init,
    )
    facts = {
        "schema_version": SCHEMA_VERSION,
        **report.to_dict(),
        "checkpoint": weights.name,
        "architecture": json.loads(architecture.to_json()),
        "data_source": source or data.name,
        "classes": list(data.classes),
        "channels": data.channels,
        "input_size": data.size,
        "frames": data.frames,
        "mean": list(data.mean),
        "std": list(data.std),
        "data_fingerprint": data.fingerprint,
        "data_licence": data.licence,
        "settings": dataclasses.asdict(settings),
        "precision": training.mode.precision,
        "device": training.mode.device.type,
    }
    with written_whole(folder / "training.json") as part:
        part.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if not only_recalibrate:
        checkpoint.unlink(missing_ok=True)
    return report


def _train(training: ProxyTraining, checkpoint: Path, progress: Progress | None) -> None:
    """Trains whole, each epoch kept, on from the checkpoint where it is this training's."""
    if training.same_as(checkpoint):
        training.load(checkpoint)
    else:
        training.save(checkpoint)  # a folder that cannot be written is found now, not after an epoch
    with afterwards("; the same command goes on after the last whole epoch"):
        while not training.finished:
            score = training.run_epoch()
            training.save(checkpoint)
            if progress is not None:
                progress(score, training.settings.scores)
