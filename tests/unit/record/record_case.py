"""Small records for the tests of this folder."""

from __future__ import annotations

from typing import Any

from octnas.architecture import Architecture
from octnas.record import EpochScore, SearchHeader, TrialRecord, TrialState, Yardstick


def score(epoch: int, accuracy: float = 0.5, **changes: Any) -> EpochScore:
    values: dict[str, Any] = {
        "loss": 1.0,
        "train_loss": 1.5,
        "seconds": 2.0,
        "train_seconds": 1.5,
        "images_per_second": 800.0,
    }
    return EpochScore(epoch=epoch, accuracy=accuracy, **{**values, **changes})


def running(trial_id: str = "0", alpha: str = "0.5", **changes: Any) -> TrialRecord:
    values: dict[str, Any] = {
        "architecture": Architecture.uniform("resnet18", alpha=alpha, downsample="pooled"),
        "state": TrialState.RUNNING,
        "gflops": 1.137,
        "params": 11_689_512,
    }
    return TrialRecord(id=trial_id, **{**values, **changes})


def complete(trial_id: str = "0", accuracies: tuple[float, ...] = (0.6, 0.7), **changes: Any) -> TrialRecord:
    record = running(trial_id, **changes)
    for epoch, accuracy in enumerate(accuracies, start=1):
        record = record.with_score(score(epoch, accuracy))
    return record.with_state(TrialState.COMPLETE)


PROFILE = {
    "device": "a processor, 2 cores",
    "runtime": "onnxruntime",
    "threads": 1,
    "batch": 1,
    "digest": "ab",
}


def header(name: str = "first", **changes: Any) -> SearchHeader:
    values: dict[str, Any] = {
        "space": "imagenet-2d",
        "space_yaml": "name: imagenet-2d\n",
        "budget_gflops": 2.0,
        "trials": 24,
        "seed": 3,
        "data": "glyphs",
        "data_fingerprint": "0123abcd",
        "versions": {"octnas": "0.1.0"},
        "created": "2026-11-01T10:15:00.123456+00:00",
        "yardsticks": (
            Yardstick(label="uniform-0.5", architecture=Architecture.uniform("resnet18", alpha="0.5")),
        ),
        "options": {"noise_points": 0.15},
    }
    return SearchHeader(name=name, **{**values, **changes})
