"""Stand-ins for the training of supernets and for scoring on them; worker processes import them too."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from octnas.architecture import Architecture
from octnas.engine.shared_jobs import PaceJob, Report, ScoringJob, SharedJob, SupernetJob
from octnas.record import EpochScore

PACE = [30.0, 0.5]
"""Seconds of a training of length 1, and of one score."""


def accuracy_of(architecture: Architecture) -> float:
    """On shared weights: falls with the low channels; a digit of the digest sets equals apart."""
    spread = int(architecture.digest[:4], 16) / 0xFFFF
    alphas = [float(alpha) for alpha in architecture.alphas]
    return 0.7 - 0.2 * sum(alphas) / len(alphas) + 0.01 * spread


def score(epoch: int, accuracy: float = 0.6, seconds: float = 1.0) -> EpochScore:
    return EpochScore(
        epoch=epoch, accuracy=accuracy, loss=1.0, train_loss=1.0, seconds=seconds, train_seconds=seconds,
        images_per_second=1.0,
    )  # fmt: skip


def values(job: SharedJob, lag: dict[str, float] | None = None) -> Iterator[EpochScore | list[Any]]:
    """What a job reports; `lag` is by how much the accuracies of a backbone are lower."""
    if isinstance(job, PaceJob):
        yield PACE
        return
    less = (lag or {}).get(job.backbone, 0.0)
    if isinstance(job, ScoringJob):
        yield [[accuracy_of(each) - less, 1.0] for each in job.architectures]
        return
    for epoch in range(job.scored + 1, job.until + 1):
        job.weights.parent.mkdir(exist_ok=True)
        job.weights.write_text(f"{job.backbone} {epoch}", encoding="utf-8")
        yield score(epoch, accuracy=0.6 - less)
    if job.probes:
        yield [[accuracy_of(each) - less, 1.0] for each in job.probes]


def evaluate(job: SharedJob, data: object, report: Report) -> None:
    """In a worker: keeps the weights that it was given in the folder `given` of FAKES_HOME."""
    if isinstance(job, ScoringJob):
        assert isinstance(job.initial, bytes)
        given = Path(os.environ["FAKES_HOME"]) / "given"
        given.mkdir(exist_ok=True)
        (given / f"{job.id}-{os.getpid()}").write_bytes(job.initial)
    for value in values(job):
        if not report(value):
            return


def slow(job: SharedJob, data: object, report: Report) -> None:
    """A fifth of a second a report."""
    for value in values(job):
        time.sleep(0.2)
        if not report(value):
            return


def killed_once(job: SharedJob, data: object, report: Report) -> None:
    """The first worker that scores dies, and the first that trains resnet18 within its second epoch."""
    for value in values(job):
        due = isinstance(value, list) if isinstance(job, ScoringJob) else _second_of_resnet18(job, value)
        mark = Path(os.environ["FAKES_HOME"]) / f"killed-{type(job).__name__}"
        if due and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if not report(value):
            return


def always_fails(job: SharedJob, data: object, report: Report) -> None:
    raise RuntimeError("no supernet today")


def _second_of_resnet18(job: SharedJob, value: EpochScore | list[Any]) -> bool:
    second = isinstance(value, EpochScore) and value.epoch == 2
    return isinstance(job, SupernetJob) and job.backbone == "resnet18" and second
