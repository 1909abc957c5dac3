"""A search to rank, stand-ins for its trainings, and a backend that runs jobs one after another."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from campaign_case import drive
from stand_ins import TINY_SPACE

from octnas.data import ImageSet, load_images
from octnas.engine import rank_session, ray_adapter
from octnas.engine.driver import Driver
from octnas.engine.evaluate import TrialJob, failure_reason, named
from octnas.engine.rank_jobs import TrainingJob
from octnas.engine.run_search import new_campaign
from octnas.record import EpochScore, RunFolder, SearchHeader
from octnas.space import parse_space

SPACE = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 4, rungs: {eta: 2, min_epochs: 1}}\n"
BUDGET = 0.04
PROXY_EPOCHS, FULL_EPOCHS = 4, 16


def accuracy_of(job: TrialJob, epoch: int) -> float:
    """Rises with compute; the noise of a seed shrinks with the epochs that are trained."""
    seeds = [job.seed, int(job.architecture.digest[:8], 16)]
    noise = float(np.random.default_rng(seeds).normal()) * 0.02 / epoch
    return 0.4 + 0.3 * math.tanh(20 * job.gflops) + 0.01 * epoch / job.epochs + noise


def noisy(job: TrialJob, data: object, report: Callable[[EpochScore], bool]) -> None:
    """Takes the place of `evaluate`."""
    for epoch in range(job.scored + 1, job.epochs + 1):
        accuracy = accuracy_of(job, epoch)
        score = EpochScore(
            epoch=epoch,
            accuracy=accuracy,
            loss=1 - accuracy,
            train_loss=2 - accuracy,
            seconds=1.0,
            train_seconds=0.9,
            images_per_second=100.0,
        )
        if not report(score):
            return


def never(job: TrialJob, data: object, report: Callable[[EpochScore], bool]) -> None:
    """Fails in full training."""
    if job.epochs == FULL_EPOCHS:
        raise ValueError("no full training today")
    noisy(job, data, report)


def zero_cost(architecture: Any, data: Any, *, batch_size: int, seed: int, mode: Any) -> dict[str, float]:
    """Takes the place of the scores that need a network."""
    return {"synflow": float(sum(architecture.low_channels)), "grad-norm": 1.0}


@dataclass
class Store:
    """In place of MLflow."""

    logged: list[tuple[str, dict[str, Any], list[str]]] = field(default_factory=list)

    def __call__(self, uri: str | None = None) -> Store:
        return self

    def log_rank(self, header: SearchHeader, document: dict[str, Any], files: Any) -> None:
        self.logged.append((header.name, document, [path.name for path in files]))


@dataclass
class Backend:
    """Runs a driver's jobs one after another; `stop` is asked before each whether to interrupt."""

    jobs: list[Any] = field(default_factory=list)
    stop: Callable[[int], bool] = lambda number: False

    def __call__(self, driver: Driver, *, evaluate: str, data: Any, workers: Any) -> None:
        while not driver.halted:
            if self.stop(len(self.jobs)):
                driver.interrupt()
                return
            job: Any = driver.next_job()
            if job is None:
                return
            self.jobs.append(job)
            self._run(driver, evaluate, job, data)
        if driver.fault is not None:
            raise driver.fault

    def _run(self, driver: Driver, evaluate: str, job: Any, data: Any) -> None:
        over = False

        def report(value: Any) -> bool:
            nonlocal over
            goes_on = driver.report(job.id, value)
            over = over or not goes_on
            return goes_on

        try:
            named(evaluate)(job, data, report)
        except Exception as error:
            driver.fail(job.id, failure_reason(error), "Traceback ...")
            return
        if not over:
            driver.ended(job.id)

    @property
    def trained(self) -> list[tuple[str, str, int]]:
        """Kind, digest and seed of each training, in order."""
        return [
            (job.training.kind, job.training.digest, job.training.seed)
            for job in self.jobs
            if isinstance(job, TrainingJob)
        ]


@lru_cache
def images() -> ImageSet:
    """What the space names, read once."""
    return load_images("fashion-sample", size=32)


def made_search(name: str = "run", *, evaluate: str = "rank_case:noisy", **options: Any) -> RunFolder:
    """A search of eight candidates that is complete."""
    space = parse_space(SPACE)
    header = SearchHeader(
        name=name,
        space_yaml=space.to_yaml(),
        budget_gflops=BUDGET,
        trials=8,
        seed=0,
        data="fashion-sample",
        data_fingerprint=images().fingerprint,
        options={"evaluate": evaluate, "confirm": 0, "init": "scratch", **options},
    )
    run = RunFolder.create(name, header)
    campaign = new_campaign(run, space=space, feasible=space.feasible(BUDGET), clock=lambda: 0.0)
    if evaluate == "rank_case:noisy":
        while (job := campaign.next_job()) is not None:
            noisy(job, None, lambda score, job=job: campaign.report(job.id, score))  # type: ignore[misc]
    else:
        drive(campaign)
    run.journal.release()
    return run


@contextlib.contextmanager
def no_session(*_: Any) -> Iterator[None]:
    yield


def stand_in(monkeypatch: pytest.MonkeyPatch) -> tuple[Backend, Store]:
    """Puts the backend, the store and the scores in their places."""
    backend, store = Backend(), Store()
    monkeypatch.setattr(ray_adapter, "run_trials", backend)
    monkeypatch.setattr(ray_adapter, "ray_session", no_session)
    monkeypatch.setattr("octnas.record.mlflow_adapter.Tracker", store)
    monkeypatch.setattr("octnas.train.zero_cost.zero_cost_scores", zero_cost)
    monkeypatch.setattr(rank_session, "rank_png", lambda document: b"\x89PNG")
    monkeypatch.setattr(rank_session, "load_data", lambda space: images())
    return backend, store
