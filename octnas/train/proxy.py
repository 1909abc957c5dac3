"""One training of one architecture, in steps that can be stopped, saved and taken up again.

Everything random is drawn from the seed and the step alone (initial weights, order of the images,
augmentation), so that a seed repeats a training bit for bit on one machine, architectures with one seed see
the same images in the same order, and a checkpoint needs no state of a random generator.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from octnas.architecture import Architecture
from octnas.backbones import is_users
from octnas.data import ImageSet, Split, StreamedSplit, augment
from octnas.errors import DataError, RunError, TrainingDivergedError
from octnas.nn import OctaveNetwork, build
from octnas.record import EpochScore
from octnas.storage import Place
from octnas.train.average import WeightAverage
from octnas.train.evaluate import evaluate_network, to_input
from octnas.train.files import readable, written_whole
from octnas.train.form import Forward, fastest_form
from octnas.train.mixup import draw_mixing
from octnas.train.optimizer import make_optimizer
from octnas.train.pretrained import digest_of
from octnas.train.recalibrate import calibration_batches, recalibrate
from octnas.train.schedule import learning_rate
from octnas.train.settings import TrainSettings
from octnas.train.speed import mode_of
from octnas.train.team import Team

__all__ = ["ProxyTraining"]

CHECK_EVERY = 50
"""Steps between two looks at the losses: on a GPU each look waits for the device."""
SUBSET_SEED = 0
"""Of the subsets of training and validation images, the same for all trials of all seeds."""
_ORDER, _AUGMENT, _CROP, _MIX = 1, 2, 4, 5  # 3 is a supernet's


class ProxyTraining:
    """A training of `architecture` on `data` as `settings` say.

    Args:
        initial: the weights that it begins from, a state dict that fits strictly (`fitted_state`); drawn by
            the seed, if not given. Of its batch-norm statistics nothing is used: they are estimated anew.
        team: the workers that train it together, of which this process is one; None: it trains alone. All of
            them call the same methods in the same order, and get the same numbers.
        device: where it runs, if not where the settings say.

    Attributes:
        network: the network being trained, on the device that was chosen.
        mode: device, number format and layout.
        step: optimiser steps so far.
        scores: one for each epoch so far.
    """

    def __init__(
        self,
        architecture: Architecture,
        data: ImageSet,
        settings: TrainSettings,
        *,
        seed: int,
        initial: Mapping[str, Tensor] | None = None,
        team: Team | None = None,
        device: str | None = None,
    ) -> None:
        self.architecture = architecture
        self.data = data
        self.settings = settings
        self.seed = seed
        self.team = team
        self.mode = mode_of(settings if device is None else dataclasses.replace(settings, device=device))
        self._train = _subset(data.train, settings.train_images)
        self._val = _subset(data.val, settings.val_images)
        self._bounds = settings.step_bounds(len(self._train))
        self._pass_steps = settings.steps_per_pass(len(self._train))
        self._generator = torch.Generator()
        self._pass = -1
        self._permutation = np.empty(0, np.int64)
        self.step = 0
        self.scores: list[EpochScore] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build(
                architecture,
                num_classes=len(data.classes),
                in_channels=data.channels,
                zero_init_residual=True,
            )
        if initial is not None:
            network.load_state_dict(initial)
        self._initial = None if initial is None else digest_of(initial)
        self._calibrated = initial is None
        layout = self.mode.memory_format(architecture.dims)
        self.network = network.to(self.mode.device).to(memory_format=layout)
        self._forward = fastest_form(
            self.network,
            size=(data.size, data.size),
            clips=data.frames is not None,
            mode=self.mode,
            compiled=settings.compiles(self.mode.device.type, len(self._train)),
        )
        self._optimizer = make_optimizer(self.network, settings)
        self._trained = self._forward
        if team is not None:
            skips = is_users(architecture.backbone)
            self._trained = team.joined(self.network, self._forward, may_skip=skips)
        self._average = WeightAverage(self.network, settings.ema) if settings.ema else None
        self._average_scored = -1

    @property
    def result(self) -> OctaveNetwork:
        """The network to score and keep: the average of the weights where the settings ask for one."""
        return self.network if self._average is None else self._average.network

    @property
    def epoch(self) -> int:
        """Scored epochs so far; `settings.scores` are a whole training."""
        return len(self.scores)

    @property
    def finished(self) -> bool:
        """Whether the whole training is done."""
        return self.epoch >= self.settings.scores

    def run_epoch(self, full_validation: bool = False) -> EpochScore:
        """Trains up to the next score and validates.

        Args:
            full_validation: score on all validation images instead of the settings' subset.

        Raises:
            TrainingDivergedError: the training or validation loss is infinite or not a number.
            RuntimeError: the training is finished.
        """
        if self.finished:
            raise RuntimeError(f"a training of {self.settings.scores} epochs has no epoch {self.epoch + 1}")
        begin = time.perf_counter()
        self.recalibrate()
        ready = time.perf_counter()
        first, last = self.step, self._bounds[self.epoch]
        images, train_loss = self.train_steps(last - first)
        if self.team is not None:
            self.team.average_buffers(self.network)
        trained = time.perf_counter()
        accuracy, loss = self.validate(full=full_validation)
        if not np.isfinite(loss):
            raise TrainingDivergedError(_diverged(f"validation loss is {loss}", last, self.settings))
        end = time.perf_counter()
        score = EpochScore(
            epoch=self.epoch + 1,
            accuracy=accuracy,
            loss=loss,
            train_loss=train_loss,
            seconds=end - begin,
            train_seconds=trained - ready,
            images_per_second=images / (trained - ready),
        )
        self.scores.append(score)
        return score

    def recalibrate(self) -> None:
        """Estimates batch-norm statistics for weights that were given, if no step was trained since.

        A training does so by itself before its first epoch; before its first `validate` it is the caller's.
        """
        if self._calibrated:
            return
        batches = calibration_batches(self._train, self.data, self.mode)
        recalibrate(self.network, batches, mode=self.mode, forward=self._forward)
        self._calibrated = True

    def validate(self, *, full: bool = True) -> tuple[float, float]:
        """Accuracy (0 to 1) and mean cross-entropy on all validation images, or on the settings' subset."""
        return self._evaluated(self.data.val if full else self._val)

    def test_accuracy(self) -> float:
        """Accuracy (0 to 1) on all test images.

        Raises:
            RunError: the data has none.
        """
        if self.data.test is None:
            raise RunError(f"test images are needed, but {self.data.name} has none")
        return self._evaluated(self.data.test)[0]

    def _evaluated(self, split: Split) -> tuple[float, float]:
        """Accuracy and loss of the result, in the number format of the training."""
        forward = self._forward if self._average is None else self._average_forward()
        return evaluate_network(
            self.result,
            split,
            mean=self.data.mean,
            std=self.data.std,
            mode=self.mode,
            batch_size=self.settings.val_batch_size,
            forward=forward,
            team=self.team,
        )

    def _average_forward(self) -> Forward:
        """Calls the average; its batch-norm statistics are estimated anew where its weights have changed."""
        network = self.result
        size = (self.data.size, self.data.size)
        forward = fastest_form(
            network, size=size, clips=self.data.frames is not None, mode=self.mode, compiled=False
        )
        if self._average_scored != self.step:
            batches = calibration_batches(self._train, self.data, self.mode)
            recalibrate(network, batches, mode=self.mode, forward=forward)
            self._average_scored = self.step
        return forward

    def train_steps(self, count: int) -> tuple[int, float]:
        """Runs `count` steps, without a score; returns the images trained on and the mean loss of the steps.

        Raises:
            TrainingDivergedError: the loss is infinite or not a number.
        """
        settings, optimizer, total = self.settings, self._optimizer, self._bounds[-1]
        self.network.train()
        unchecked: list[Tensor] = []
        images, loss_sum, first, last = 0, 0.0, self.step, self.step + count
        for inputs, labels in self._batches(first, last):
            rate = learning_rate(self.step, total=total, peak=settings.learning_rate, warmup=settings.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            loss = self._backward(inputs, labels)
            optimizer.step()
            self.step += 1
            if self._average is not None:
                self._average.update(self.network, self.step)
            images += len(labels)
            unchecked.append(loss)
            if len(unchecked) == CHECK_EVERY or self.step == last:
                values = torch.stack(unchecked).double()
                values = values.cpu() if self.team is None else self.team.summed(values) / self.team.size
                bad = ~torch.isfinite(values)
                if bool(bad.any()):
                    step = self.step - len(unchecked) + int(bad.nonzero()[0]) + 1
                    what = f"training loss is {values[bad][0].item()}"
                    raise TrainingDivergedError(_diverged(what, step, settings))
                loss_sum += float(values.sum())
                unchecked.clear()
        if self.step < last:
            raise DataError(
                f"a batch needs a readable image, but {last - self.step} of {self.data.name} have none: "
                "replace the damaged files"
            )
        if self.team is not None:
            images = int(self.team.summed(torch.tensor(images)))
        return images, loss_sum / count

    def _backward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Adds the gradients of one step; returns its loss, detached."""
        settings, mixing = self.settings, None
        if settings.mixup:
            rank = 0 if self.team is None else self.team.rank
            batch = self.seed, _MIX, self.step
            mixing = draw_mixing(settings.mixup, len(labels), batch=batch, rank=rank)
            inputs = mixing.inputs(inputs)
        with self.mode.autocast():
            logits = self._trained(inputs)
        logits, smoothing = logits.float(), settings.label_smoothing
        if mixing is None:
            loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        else:
            loss = mixing.loss(logits, labels, label_smoothing=smoothing)
        if self.team is not None:
            loss = loss * self.team.weight(min(settings.batch_size, len(self._train)))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _batches(self, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels, or a worker's share, of the steps `first` to `last` - 1, on the device."""
        device, data, train = self.mode.device, self.data, self._train
        size = min(self.settings.batch_size, len(train))
        mine = slice(0, size) if self.team is None else self.team.share(size)
        order = np.concatenate([self._order(step, size)[mine] for step in range(first, last)])
        cropped = self.settings.random_crop and isinstance(train, StreamedSplit)
        if isinstance(train, StreamedSplit) and cropped:
            train = train.cropped(_entropy(self.seed, _CROP, first // self._pass_steps))
        batches = train.batches(mine.stop - mine.start, order=order)
        for step, (images, labels) in enumerate(batches, start=first):
            images = images.to(device, non_blocking=True)
            if self.settings.augment:
                self._generator.manual_seed(_entropy(self.seed, _AUGMENT, step))
                share = None if self.team is None else (size, mine.start)
                images = augment(images, self._generator, flip=data.flip, shift=not cropped, share=share)
            yield (
                to_input(images, mean=data.mean, std=data.std, mode=self.mode),
                labels.to(device, non_blocking=True),
            )

    def _order(self, step: int, size: int) -> NDArray[np.int64]:
        """Indices of the images of one step: a share of a permutation that is new in every pass."""
        number, place = divmod(step, self._pass_steps)
        if self._pass != number:
            rng = np.random.default_rng([self.seed, _ORDER, number])
            self._permutation, self._pass = rng.permutation(len(self._train)), number
        return self._permutation[place * size : (place + 1) * size]

    def save(self, path: Place) -> None:
        """Writes a checkpoint, whole or not at all; `torch.load(path, weights_only=True)` reads it.

        Raises:
            RunError: the file cannot be written.
        """
        state = {
            "identity": self._identity(),
            "scores": [score.to_dict() for score in self.scores],
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        if self._average is not None:
            state["average"] = self._average.network.state_dict()
        with written_whole(path) as part:
            torch.save(state, part)

    def load(self, path: Place) -> None:
        """Takes the training up where `save` left it; it then goes on bit for bit as if never interrupted.

        Raises:
            RunError: the file is missing or damaged, or is a checkpoint of another training.
        """
        state = _read(path, self.mode.device)
        mine, theirs = self._identity(), state["identity"]
        for key in mine | theirs:
            if mine.get(key) != theirs.get(key):
                raise RunError(
                    f"a checkpoint must be of the same training, but {path} has {key}={theirs.get(key)!r} "
                    f"where {mine.get(key)!r} is asked for: remove the file to begin anew"
                )
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.network.load_state_dict(state["average"])
            self._average_scored = -1
        self.scores = [EpochScore.from_dict(score) for score in state["scores"]]
        self.step = state["step"]
        self._calibrated = self._initial is None or self.step > 0

    def same_as(self, path: Place) -> bool:
        """Whether `path` is a readable checkpoint of this very training."""
        try:
            return bool(_read(path, torch.device("cpu"))["identity"] == self._identity())
        except RunError:
            return False

    def _identity(self) -> dict[str, str | int]:
        """What must be equal for a checkpoint to belong to this training."""
        return {
            "architecture": self.architecture.to_json(),
            "seed": self.seed,
            "data": self.data.fingerprint,
            "settings": repr(self.settings),
            **self.settings.extras(),
            **({} if self._initial is None else {"initial": self._initial}),
        }


def _read(path: Place, device: torch.device) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(readable(path), map_location=device, weights_only=True)
        missing = {"identity", "scores", "step", "network", "optimizer"} - state.keys()
    except Exception as error:  # a damaged file makes the unpickler raise anything
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"a checkpoint must be readable, but {path} is not: {reason}") from error
    if missing:
        raise RunError(f"a checkpoint must hold {', '.join(sorted(missing))}, but {path} does not")
    return state


def _subset(split: Split, count: int | None) -> Split:
    return split if count is None or count >= len(split) else split.subset(count, SUBSET_SEED)


def _entropy(*parts: int) -> int:
    """A well-mixed seed of 64 bits from several small numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def _diverged(what: str, step: int, settings: TrainSettings) -> str:
    return (
        f"losses must stay finite, but the {what} at step {step} "
        f"(learning_rate={settings.learning_rate:g}): lower the learning rate"
    )
