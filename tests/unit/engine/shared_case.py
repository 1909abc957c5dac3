"""Driving supernets and shared scores without any worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import fakes_shared

from octnas.engine.events import Listener
from octnas.engine.limits import TimeLimit
from octnas.engine.run_shared import new_shared
from octnas.engine.shared_campaign import SharedCampaign
from octnas.engine.shared_jobs import SharedJob
from octnas.engine.yardsticks import choose_yardsticks
from octnas.record import EpochScore, RunFolder, SearchHeader
from octnas.space import SearchSpace

Values = Callable[[SharedJob], Iterator[EpochScore | list[Any]]]

BUDGET = 0.04


def new_run(space: SearchSpace, *, score: int = 60, fine_tune: int | None = None) -> RunFolder:
    """A run with shared weights to come, its journal locked; a supernet has 18 epochs."""
    feasible = space.feasible(BUDGET)
    header = SearchHeader(
        name="run",
        space_yaml=space.to_yaml(),
        budget_gflops=BUDGET,
        trials=6,
        seed=0,
        data=space.proxy.data,
        sampler="thompson",
        yardsticks=choose_yardsticks(space, feasible, trials=6),
        options={
            "confirm": 0,
            "init": "shared",
            "length": 2.0,
            "score": score,
            **({} if fine_tune is None else {"fine_tune": fine_tune}),
        },
    )
    return RunFolder.create("run", header)


def campaign_of(
    run: RunFolder,
    space: SearchSpace,
    *,
    workers: int = 2,
    limit: TimeLimit | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    listeners: tuple[Listener, ...] = (),
) -> SharedCampaign:
    """What a search makes of the run before its trials."""
    return new_shared(
        run,
        feasible=space.feasible(BUDGET),
        images=2000,
        workers=workers,
        limit=limit,
        clock=clock,
        listeners=listeners,
        start=clock(),
    )


def drive(
    campaign: SharedCampaign, values: Values = fakes_shared.values, *, jobs: int = 10_000
) -> list[SharedJob]:
    """Does jobs, one report of each worker after the other, until none is left; returns them in order."""
    begun: list[SharedJob] = []
    working: dict[str, tuple[SharedJob, Iterator[EpochScore | list[Any]]]] = {}
    while not campaign.halted:
        while len(working) < campaign.workers and len(begun) < jobs:
            job = campaign.next_job()
            if job is None:
                break
            begun.append(job)
            working[job.id] = job, values(job)
        if not working:
            break
        for job_id, (_, coming) in list(working.items()):
            try:
                value = next(coming, None)
            except ValueError as error:
                campaign.fail(job_id, str(error))
                del working[job_id]
                continue
            if value is None:
                campaign.ended(job_id)
                del working[job_id]
            elif not campaign.report(job_id, value):
                del working[job_id]
    return begun
