"""Trainings that do nothing, or sleep, and write down when; `overhead.py` reads what they wrote.

Worker processes import this file. What they shall do stands in environment variables, which they inherit.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from octnas.engine.evaluate import Report, TrialJob
from octnas.record import EpochScore

__all__ = [
    "Idle",
    "Stretch",
    "every_score",
    "idle_of",
    "one_score",
    "order",
    "ray_trainable",
    "read",
    "timeline",
]

LOG, SECONDS, SCORES = "OVERHEAD_LOG", "OVERHEAD_SECONDS", "OVERHEAD_SCORES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What a worker did for one score of one trial, by the clock of the machine, in seconds."""

    pid: int
    trial: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """What workers did between their first and their last stretch."""

    share: float
    """Of that time in which they did nothing, 0 to 1."""
    between: tuple[float, ...]
    """Seconds from the end of each trial to the start of the next in the same process."""
    within: tuple[float, ...]
    """Seconds from the end of a stretch to the next of the same trial, in the same process."""
    processes: int


def order(*, log: Path, seconds: float, scores: int) -> None:
    """What workers that are started from now on shall do.

    Args:
        log: the file they write to.
        seconds: that a whole trial sleeps.
        scores: that a trial of Ray's reports.
    """
    os.environ.update({LOG: str(log), SECONDS: repr(seconds), SCORES: str(scores)})


# -------------------------------------------------------------------- in a worker
def one_score(job: TrialJob, data: object, report: Report) -> None:
    """An `evaluate` that reports its last score only."""
    _work(job.id, 1.0)
    report(_score(job, job.epochs))


def every_score(job: TrialJob, data: object, report: Report) -> None:
    """An `evaluate` that reports every score, so that rungs see it; a paused trial goes on where it was."""
    for epoch in range(int(getattr(job, "scored", 0)) + 1, job.epochs + 1):
        _work(job.id, 1 / job.epochs)
        if not report(_score(job, epoch)):
            return


def ray_trainable(config: Mapping[str, int]) -> None:
    """The same for Ray Tune without octnas."""
    from ray import tune

    trial, scores = str(tune.get_context().get_trial_id()), int(os.environ[SCORES])
    total = sum(config.values())
    for epoch in range(1, scores + 1):
        _work(trial, 1 / scores)
        tune.report({"accuracy": total % 17 / 17 * epoch / scores, "gflops": 4.0 - total / len(config)})


def _work(trial: str, share: float) -> None:
    begin = time.time()
    seconds = share * float(os.environ[SECONDS])
    if seconds:
        time.sleep(seconds)
    line = f"{os.getpid()} {trial} {begin!r} {time.time()!r}\n"
    file = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())  # one call, so that lines of several workers stay whole
    os.close(file)


def _score(job: TrialJob, epoch: int) -> EpochScore:
    """Made up from the digest and the cost, so that there is a front and no two trials are equal."""
    spread = int(job.architecture.digest[:4], 16) / 0xFFFF
    accuracy = (0.4 + 0.1 * job.gflops + 0.1 * spread) * epoch / job.epochs
    return EpochScore(
        epoch=epoch,
        accuracy=accuracy,
        loss=1 - accuracy,
        train_loss=1 - accuracy,
        seconds=0.001,
        train_seconds=0.001,
        images_per_second=1.0,
    )


# -------------------------------------------------------------------- afterwards
def read(log: Path) -> list[Stretch]:
    """All stretches in the order of their begin."""
    stretches = []
    for line in log.read_text(encoding="utf-8").splitlines():
        pid, trial, begin, end = line.split()
        stretches.append(Stretch(pid=int(pid), trial=trial, begin=float(begin), end=float(end)))
    return sorted(stretches, key=lambda each: each.begin)


def timeline(stretches: Sequence[Stretch]) -> dict[int, list[Stretch]]:
    """The stretches of each process."""
    of: dict[int, list[Stretch]] = {}
    for each in stretches:
        of.setdefault(each.pid, []).append(each)
    return of


def idle_of(stretches: Sequence[Stretch]) -> Idle:
    """How long the processes waited for something to do."""
    processes = timeline(stretches)
    span = sum(each[-1].end - each[0].begin for each in processes.values())
    busy = sum(each.end - each.begin for each in stretches)
    pairs = [pair for each in processes.values() for pair in itertools.pairwise(each)]
    return Idle(
        share=1 - busy / span if span else 0.0,
        between=tuple(after.begin - before.end for before, after in pairs if before.trial != after.trial),
        within=tuple(after.begin - before.end for before, after in pairs if before.trial == after.trial),
        processes=len(processes),
    )
