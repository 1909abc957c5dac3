"""TrialRecord: what is known of one trial. Every started trial ends as one, with its state and its reason.

Units: `gflops` are 10^9 multiply-adds of the target network, `params` its weights, `latency_ms` its
milliseconds as the profile of a device predicts them; accuracies are shares (0 to 1) of validation images and
belong to the proxy; seconds are wall-clock. No record holds a NaN or an infinity: a trial that met one is
FAILED, its accuracy is None and its reason says where.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Literal

from octnas.architecture import Architecture

__all__ = ["EpochScore", "Objective", "TrialRecord", "TrialState"]

Objective = Literal["gflops", "latency"]
"""The cost that a search weighs accuracy against: GFLOPs (10^9 multiply-adds) or ms on a device."""


class TrialState(StrEnum):
    """Where a trial stands; the last three are final."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether the trial will never train again in its search."""
        return self in (TrialState.COMPLETE, TrialState.STOPPED, TrialState.FAILED)


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochScore:
    """The scores after one epoch (or one evaluation) of a proxy training; `epoch` counts from 1.

    `seconds` is the wall-clock of this epoch with its validation, `train_seconds` the part spent in training
    steps. The numbers may be non-finite as they come from a trainer; `TrialRecord.with_score` sorts them out.
    """

    epoch: int
    accuracy: float
    loss: float
    train_loss: float
    seconds: float
    train_seconds: float
    images_per_second: float
    test_accuracy: float | None = None
    """Of test images, where a training that confirms a claim scored them."""
    worker: str | None = None
    """The process that trained this epoch, as HOST/PID ("node-1/4711"); None where nobody said."""

    def __post_init__(self) -> None:
        if self.worker is not None:  # a search has many scores and few workers: one string each
            object.__setattr__(self, "worker", sys.intern(self.worker))

    @property
    def non_finite(self) -> str | None:
        """The name and value of the first number that is NaN or infinite, for instance "loss is nan"."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not math.isfinite(value):
                return f"{field.name} is {value}"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON; what is not known is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> EpochScore:
        """The score that `to_dict` wrote; keys that this version does not know are ignored."""
        return cls(
            epoch=int(value["epoch"]),
            accuracy=float(value["accuracy"]),
            loss=float(value["loss"]),
            train_loss=float(value["train_loss"]),
            seconds=float(value["seconds"]),
            train_seconds=float(value["train_seconds"]),
            images_per_second=float(value["images_per_second"]),
            test_accuracy=None if value.get("test_accuracy") is None else float(value["test_accuracy"]),
            worker=None if value.get("worker") is None else str(value["worker"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """One trial: an architecture, where its training stands and what it reached.

    `yardstick` names a reference ("plain", "plain-pooled", "uniform-0.25"), None for a candidate.
    `latency_ms` is None where the search had no profile of a device; `within_budget` is about every budget of
    the search. `accuracy` and `loss` are of validation images with the search's `seed`. A trial that was
    trained again to confirm a claim has further seeds in `confirm_seeds`, their accuracies on validation
    images in `accuracy_seeds` and on test images in `test_accuracy_seeds` (empty where the data has none), in
    the same order. `epochs` counts scored epochs, `seconds` sums their wall-clock. `shared_accuracy` is what
    the architecture reached on its backbone's shared weights, before any training of its own; None where it
    was not scored so.
    """

    id: str
    architecture: Architecture
    state: TrialState
    gflops: float
    params: int
    latency_ms: float | None = None
    reason: str | None = None
    accuracy: float | None = None
    loss: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    yardstick: str | None = None
    within_budget: bool = True
    seed: int = 0
    scores: tuple[EpochScore, ...] = ()
    confirm_seeds: tuple[int, ...] = ()
    accuracy_seeds: tuple[float, ...] = ()
    test_accuracy_seeds: tuple[float, ...] = ()
    checkpoint: str | None = None
    shared_accuracy: float | None = None

    def __post_init__(self) -> None:
        for name in ("accuracy", "loss", "gflops", "latency_ms", "seconds", "shared_accuracy"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"`{name}` of trial {self.id} must be finite or None, but got {number}")
        for score in self.scores:
            if score.non_finite:
                raise ValueError(f"scores of trial {self.id} must be finite, but {score.non_finite}")
        seeds = (*self.accuracy_seeds, *self.test_accuracy_seeds)
        if not all(map(math.isfinite, seeds)):
            raise ValueError(
                f"accuracies of trial {self.id} must be finite, but its further seeds have {seeds}"
            )
        if self.state is TrialState.COMPLETE and self.accuracy is None:
            raise ValueError(f"trial {self.id} is complete, so it must have an accuracy")
        if self.state is TrialState.FAILED and not (self.reason and self.accuracy is None):
            raise ValueError(f"trial {self.id} failed, so it must have a reason and no accuracy")

    def cost(self, objective: Objective) -> float:
        """What the trial costs by the objective: GFLOPs (10^9 multiply-adds), or ms of predicted latency.

        Raises:
            ValueError: the latency was asked for and is not known.
        """
        if objective == "gflops":
            return self.gflops
        if self.latency_ms is None:
            raise ValueError(f"trial {self.id} has no latency: its search had no profile of a device")
        return self.latency_ms

    @property
    def epoch_seconds(self) -> float:
        """Mean wall-clock of the scored epochs; 0 where there is none."""
        return self.seconds / self.epochs if self.epochs else 0.0

    def with_score(self, score: EpochScore) -> TrialRecord:
        """The record after one more epoch, or FAILED where a number of `score` is not finite.

        A score of an epoch that is already there (a retry from a checkpoint) takes its place and drops what
        was measured after it. `epochs` and `seconds` follow from the scores.
        """
        if score.non_finite:
            return self.failed(f"{score.non_finite} in epoch {score.epoch}")
        scores = (*(old for old in self.scores if old.epoch < score.epoch), score)
        return replace(
            self,
            scores=scores,
            accuracy=score.accuracy,
            loss=score.loss,
            epochs=score.epoch,
            seconds=sum(each.seconds for each in scores),
        )

    def failed(self, reason: str) -> TrialRecord:
        """The record as FAILED; its scores stay, its accuracy does not."""
        line = " ".join(reason.split()) or "no reason given"
        return replace(self, state=TrialState.FAILED, reason=line, accuracy=None, loss=None)

    def with_seed(self, seed: int, accuracy: float, test_accuracy: float | None = None) -> TrialRecord:
        """The record with one more training of its architecture; a seed that is there already stays."""
        if seed in self.confirm_seeds:
            return self
        test = () if test_accuracy is None else (test_accuracy,)
        return replace(
            self,
            confirm_seeds=(*self.confirm_seeds, seed),
            accuracy_seeds=(*self.accuracy_seeds, accuracy),
            test_accuracy_seeds=(*self.test_accuracy_seeds, *test),
        )

    def with_state(self, state: TrialState, reason: str | None = None) -> TrialRecord:
        """The record in another state; COMPLETE without any score becomes FAILED."""
        if state is TrialState.FAILED:
            return self.failed(reason or "no reason given")
        if state is TrialState.COMPLETE and self.accuracy is None:
            return self.failed("the training ended without a score")
        return replace(self, state=state, reason=reason)

    def summary(self) -> dict[str, Any]:
        """What `search --json` and `front --json` print of a trial: JSON values only, keys documented."""
        return {
            "id": self.id,
            "digest": self.architecture.digest,
            "state": str(self.state),
            "reason": self.reason,
            "backbone": self.architecture.backbone,
            "dims": int(self.architecture.dims),
            "downsample": self.architecture.downsample,
            "low_channels": list(self.architecture.low_channels),
            "gflops": self.gflops,
            "latency_ms": self.latency_ms,
            "accuracy": self.accuracy,
            "shared_accuracy": self.shared_accuracy,
            "epochs": self.epochs,
            "seconds": round(self.seconds, 3),
            "yardstick": self.yardstick,
            "params": self.params,
            "loss": self.loss,
            "within_budget": self.within_budget,
            "seed": self.seed,
            "confirm_seeds": list(self.confirm_seeds),
            "accuracy_seeds": list(self.accuracy_seeds),
            "test_accuracy_seeds": list(self.test_accuracy_seeds),
            "alphas": [round(alpha, 4) for alpha in self.architecture.alphas],
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON values; `from_dict` reads it back to an equal record."""
        return {
            "id": self.id,
            "architecture": json.loads(self.architecture.to_json()),
            "state": str(self.state),
            "reason": self.reason,
            "gflops": self.gflops,
            "latency_ms": self.latency_ms,
            "params": self.params,
            "accuracy": self.accuracy,
            "loss": self.loss,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "yardstick": self.yardstick,
            "within_budget": self.within_budget,
            "seed": self.seed,
            "scores": [score.to_dict() for score in self.scores],
            "confirm_seeds": list(self.confirm_seeds),
            "accuracy_seeds": list(self.accuracy_seeds),
            "test_accuracy_seeds": list(self.test_accuracy_seeds),
            "checkpoint": self.checkpoint,
            "shared_accuracy": self.shared_accuracy,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], *, known: Architecture | None = None) -> TrialRecord:
        """The record that `to_dict` wrote, by this or an older version; unknown keys are ignored.

        Args:
            known: an architecture that may be the record's; if it is, it is taken, which spares time and
                memory.
        """
        names = {field.name for field in fields(cls)}
        kept = {key: item for key, item in value.items() if key in names}
        text = json.dumps(value["architecture"], separators=(",", ":"))
        same = known is not None and known.to_json() == text
        kept["architecture"] = known if same else Architecture.from_json(text)
        kept["state"] = TrialState(value["state"])
        kept["scores"] = tuple(EpochScore.from_dict(score) for score in value.get("scores", ()))
        for name in ("confirm_seeds", "accuracy_seeds", "test_accuracy_seeds"):
            kept[name] = tuple(value.get(name, ()))
        return cls(**kept)
