"""Stand-ins for the training of a candidate; worker processes import them, so they live in a file."""

from __future__ import annotations

import math
import os
import signal
import time
from dataclasses import replace
from typing import Any

from octnas.engine.evaluate import Report, TrialJob
from octnas.record import EpochScore


def accuracy_of(job: TrialJob, epoch: int) -> float:
    """Rises with compute and with epochs; a digit of the digest sets architectures of one cost apart, and
    seeds differ where a claim is confirmed."""
    spread = int(job.architecture.digest[:4], 16) / 0xFFFF
    luck = 0.002 * (job.seed % 7 - 3) if job.test else 0.0
    return (0.5 + 0.3 * math.tanh(job.gflops) + 0.05 * spread) * epoch / job.epochs + luck


def score(
    job: TrialJob, epoch: int, *, accuracy: float | None = None, loss: float | None = None
) -> EpochScore:
    value = accuracy_of(job, epoch) if accuracy is None else accuracy
    return EpochScore(
        epoch=epoch,
        accuracy=value,
        loss=1 - value if loss is None else loss,
        train_loss=1.0,
        seconds=0.02,
        train_seconds=0.01,
        images_per_second=100.0,
        test_accuracy=value - 0.01 if job.test and epoch == job.epochs else None,
    )


def instant(job: TrialJob, data: object, report: Report) -> None:
    """Every epoch at once."""
    for epoch in range(job.scored + 1, job.epochs + 1):
        if not report(score(job, epoch)):
            return


def keeps_calls(job: TrialJob, data: object, report: Report) -> None:
    """Writes a line into the run's folder for each training that begins, then goes on as `slow`."""
    with (job.checkpoint.parents[1] / "calls").open("a", encoding="utf-8") as calls:
        calls.write(f"{job.id}:{job.scored}\n")
    slow(job, data, report)


def slow(job: TrialJob, data: object, report: Report) -> None:
    """A tenth of a second an epoch."""
    for epoch in range(job.scored + 1, job.epochs + 1):
        time.sleep(0.1)
        if not report(score(job, epoch)):
            return


def fails_by_thirds(job: TrialJob, data: object, report: Report) -> None:
    """Every third trial raises, every fifth meets a NaN, every seventh kills its process."""
    number = int(job.id.partition(".")[0])
    if number % 7 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 5 == 0:
        report(score(job, 1, loss=math.nan))
        return
    if number % 3 == 0:
        raise ValueError(f"trial {number}\nis a multiple of three")
    instant(job, data, report)


def always_fails(job: TrialJob, data: object, report: Report) -> None:
    raise RuntimeError("no training today")


def stuck(job: TrialJob, data: object, report: Report) -> None:
    """Reports nothing; leaves the file `unstuck` in the run's folder if it ever gets to its end."""
    time.sleep(120)
    (job.checkpoint.parents[1] / "unstuck").touch()


def killed_in_its_second_epoch(job: TrialJob, data: Any, report: Report) -> None:
    """The real training on few images; the first process that trains trial 1 is killed within epoch 2.

    Writes "id:epoch" into the run's file `epochs` as each epoch begins.
    """
    import octnas.engine.evaluate as real
    import octnas.train

    folder = job.checkpoint.parents[1]
    real.KEPT_SECONDS = 0.0
    data = replace(data, val=data.val.subset(100, 0))

    class Noted(octnas.train.ProxyTraining):
        def run_epoch(self, full_validation: bool = False) -> EpochScore:
            with (folder / "epochs").open("a", encoding="utf-8") as epochs:
                epochs.write(f"{job.id}:{self.epoch + 1}\n")
            return super().run_epoch(full_validation)

        def train_steps(self, count: int) -> tuple[int, float]:
            if job.id == "1" and self.epoch == 1 and not (folder / "killed").exists():
                super().train_steps(1)
                (folder / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().train_steps(count)

    trained = octnas.train.ProxyTraining
    octnas.train.ProxyTraining = Noted  # type: ignore[misc]
    try:
        real.evaluate(job, data, report)
    finally:
        octnas.train.ProxyTraining = trained  # type: ignore[misc]
