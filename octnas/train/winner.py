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
from typing import Any

from torch import Tensor

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.errors import afterwards
from octnas.record import EpochScore
from octnas.train.evaluate import evaluate_network
from octnas.train.files import drop_parts, written_whole
from octnas.train.memory import PeakMemory
from octnas.train.proxy import ProxyTraining
from octnas.train.recipe import Scale
from octnas.train.settings import TrainSettings
from octnas.train.weights import save_state

__all__ = ["CHECKPOINT", "Outcome", "Progress", "TrainingReport", "keep", "reached", "train_and_keep"]

Progress = Callable[[EpochScore, int], None]
"""Called after each epoch with its score and the number of epochs of the whole training."""

CHECKPOINT = "checkpoint.pt"
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
    """10^6 bytes that were held at most: on a GPU by tensors, else by the whole process with its data; of
    several workers the first one's."""
    init: str = "scratch"
    """The weights that it began from: "scratch", "shared", "torchvision", or a file."""
    workers: int = 1
    """Processes that trained it together at the end."""
    settings: TrainSettings
    """The recipe."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values, the keys of `octnas train --json` among them."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "checkpoint": str(self.checkpoint),
            "scores": [score.to_dict() for score in self.scores],
            "input_shape": list(self.input_shape),
            "settings": dataclasses.asdict(self.settings),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A training that is done, before it is kept."""

    state: Mapping[str, Tensor]
    """The state dict, on the processor."""
    scores: tuple[EpochScore, ...]
    val: tuple[float, float]
    """Accuracy and loss on all validation images, in float32."""
    test: float | None
    """Accuracy on all test images, in float32."""
    seconds: float
    peak_memory_mb: float
    precision: str
    device: str
    workers: int


def reached(training: ProxyTraining, memory: PeakMemory) -> Outcome:
    """Evaluates a training that is done; of a team every worker calls it."""
    begin = time.perf_counter()
    # Exported models compute in float32, so the accuracies that go with them are measured so.
    mode = dataclasses.replace(training.mode, precision="fp32")
    data = training.data
    splits = {"val": data.val, "test": data.test}
    values = {
        name: evaluate_network(
            training.result,
            split,
            mean=data.mean,
            std=data.std,
            mode=mode,
            batch_size=training.settings.val_batch_size,
            team=training.team,
        )
        for name, split in splits.items()
        if split is not None
    }
    return Outcome(
        state={name: value.detach().cpu() for name, value in training.result.state_dict().items()},
        scores=tuple(training.scores),
        val=values["val"],
        test=values["test"][0] if "test" in values else None,
        seconds=sum(score.seconds for score in training.scores) + time.perf_counter() - begin,
        peak_memory_mb=round(memory.megabytes(), 1),
        precision=training.mode.precision,
        device=training.mode.device.type,
        workers=1 if training.team is None else training.team.size,
    )


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
    """Trains a network in this process, or on from where it was interrupted, and keeps it under `folder`.

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
    drop_parts(folder)
    training = ProxyTraining(architecture, data, settings, seed=seed, initial=initial)
    memory = PeakMemory(training.mode.device)
    if only_recalibrate:
        training.recalibrate()
    else:
        _train(training, folder / CHECKPOINT, progress)
    return keep(
        reached(training, memory),
        architecture,
        data,
        settings,
        scale=scale,
        seed=seed,
        folder=folder,
        source=source,
        init=init,
    )


def keep(
    outcome: Outcome,
    architecture: Architecture,
    data: ImageSet,
    settings: TrainSettings,
    *,
    scale: Scale,
    seed: int,
    folder: Path,
    source: str | None = None,
    init: str = "scratch",
) -> TrainingReport:
    """Writes what a training has reached, and removes its checkpoint; see `train_and_keep`.

    Raises:
        RunError: the folder cannot be written.
    """
    weights = folder / "weights.safetensors"
    save_state(outcome.state, weights)
    report = TrainingReport(
        scale=scale,
        epochs=len(outcome.scores),
        accuracy=outcome.val[0],
        loss=outcome.val[1],
        test_accuracy=outcome.test,
        checkpoint=weights,
        seed=seed,
        data=data.name,
        seconds=outcome.seconds,
        scores=outcome.scores,
        input_shape=data.shape,
        peak_memory_mb=outcome.peak_memory_mb,
        init=init,
        workers=outcome.workers,
        settings=settings,
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
        "precision": outcome.precision,
        "device": outcome.device,
    }
    with written_whole(folder / "training.json") as part:
        part.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if outcome.scores:
        (folder / CHECKPOINT).unlink(missing_ok=True)
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
