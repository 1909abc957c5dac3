"""Driving a campaign without any worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import fakes

from octnas.engine.campaign import Campaign
from octnas.engine.evaluate import Evaluate, TrialJob
from octnas.record import EpochScore, RunFolder

MakeCampaign = Callable[..., Campaign]


def drive(campaign: Campaign, *, jobs: int = 10_000, evaluate: Evaluate = fakes.instant) -> list[TrialJob]:
    """Trains one job after the other, at once; a job that goes on from a pause is another job."""
    done: list[TrialJob] = []
    while len(done) < jobs and not campaign.halted:
        job = campaign.next_job()
        if job is None:
            break
        done.append(job)
        evaluate(job, None, lambda score, job=job: campaign.report(job.id, score))  # type: ignore[misc]
    return done


def reopened(campaign: Campaign) -> RunFolder:
    """The run as a new process finds it."""
    campaign.run.journal.release()
    run = RunFolder.open(campaign.run.name)
    run.journal.acquire()
    return run


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def with_seconds(score: EpochScore, seconds: float) -> EpochScore:
    """The score of an epoch that took so long."""
    return replace(score, seconds=seconds)
