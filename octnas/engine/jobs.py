"""From an architecture to the trial's row and to the job that a worker gets."""

from __future__ import annotations

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.engine.confirm import Confirmation
from octnas.engine.evaluate import TrialJob, scores_of
from octnas.engine.initial import job_weights
from octnas.record import RunFolder, SearchHeader, TrialRecord, TrialState
from octnas.space import Feasible, Proxy, SearchSpace

__all__ = ["confirming_job", "new_record", "trial_epochs", "trial_job"]


def trial_epochs(header: SearchHeader, proxy: Proxy) -> int:
    """Scores of a trial's whole training: the proxy's, or those of a short one from given weights."""
    short = header.options.get("fine_tune")
    return scores_of(proxy) if short is None else int(short)


def new_record(
    run: RunFolder,
    feasible: Feasible,
    architecture: Architecture,
    *,
    trial_id: str,
    yardstick: str | None,
    shared_accuracy: float | None = None,
) -> TrialRecord:
    """The row of a trial that begins.

    Args:
        shared_accuracy: on shared weights, where the architecture was scored on them.
    """
    target = feasible.space.target
    counted = cost(architecture, input_shape=target.input_shape, num_classes=target.classes)
    return TrialRecord(
        id=trial_id,
        architecture=architecture,
        state=TrialState.RUNNING,
        gflops=counted.gflops,
        params=counted.params,
        latency_ms=feasible.latency_ms(architecture),
        yardstick=yardstick,
        within_budget=feasible.within(architecture),
        seed=run.header.seed,
        shared_accuracy=shared_accuracy,
    )


def trial_job(
    run: RunFolder, space: SearchSpace, record: TrialRecord, *, rungs: tuple[int, ...] = ()
) -> TrialJob:
    """The training of a trial, from where it stands; `rungs` are the epochs after which it may be paused."""
    return _job(
        run, space, record, job_id=record.id, seed=record.seed, scored=record.epochs, rungs=rungs, test=False
    )


def confirming_job(
    run: RunFolder, space: SearchSpace, record: TrialRecord, confirmation: Confirmation
) -> TrialJob:
    """One more training of a trial's architecture, with another seed and test images."""
    return _job(
        run,
        space,
        record,
        job_id=confirmation.job_id,
        seed=confirmation.seed,
        scored=0,
        rungs=(),
        test=True,
    )


def _job(
    run: RunFolder,
    space: SearchSpace,
    record: TrialRecord,
    *,
    job_id: str,
    seed: int,
    scored: int,
    rungs: tuple[int, ...],
    test: bool,
) -> TrialJob:
    return TrialJob(
        id=job_id,
        architecture=record.architecture,
        gflops=record.gflops,
        proxy_architecture=space.proxy_architecture(record.architecture),
        proxy=space.proxy,
        epochs=trial_epochs(run.header, space.proxy),
        seed=seed,
        checkpoint=run.checkpoint(job_id),
        scored=scored,
        rungs=rungs,
        test=test,
        threads=max(1, int(run.header.cpus_per_trial)),
        initial=job_weights(run, record.architecture.backbone),
        fine_tune=run.header.options.get("fine_tune"),
    )
