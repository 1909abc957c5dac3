"""`search` and `resume`: check everything at the door, run the campaign, leave the front behind."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from octnas.engine.budgets import admitted_budgets, keep_profile, kept_profile, latency_options
from octnas.engine.campaign import Campaign
from octnas.engine.checks import (
    admitted_space,
    check_numbers,
    check_unchanged,
    load_data,
    versions,
)
from octnas.engine.confirm import DEFAULT_CONFIRM, confirming_seeds
from octnas.engine.evaluate import Evaluate, evaluate, name_of, named, scores_of
from octnas.engine.events import Listener, SearchEvent, note_early
from octnas.engine.failures import refuse_if_all_failed
from octnas.engine.inputs import check_kind
from octnas.engine.limits import TimeLimit
from octnas.engine.rungs import Rungs, rung_levels
from octnas.engine.samplers import DEFAULT_SAMPLER
from octnas.engine.yardsticks import choose_yardsticks
from octnas.errors import DataError, Interrupted, RunError, afterwards
from octnas.front import SearchResult
from octnas.front.axis import budget_words, device_words, input_words
from octnas.front.report import front_report
from octnas.record import (
    FrontReport,
    RunFolder,
    SearchHeader,
    default_name,
    history,
    name_taken,
    run_path,
)
from octnas.space import Feasible, SearchSpace, parse_space

if TYPE_CHECKING:
    from octnas.costs.latency import DeviceProfile
    from octnas.data import ImageSet
    from octnas.engine.workers import Workers
    from octnas.record.background import BackgroundTracker
    from octnas.record.mlflow_adapter import Tracker

__all__ = ["new_campaign", "resume", "search"]


def search(
    space: str | os.PathLike[str] | SearchSpace = "imagenet-2d",
    *,
    budget_gflops: float | None = None,
    budget_ms: float | None = None,
    objective: str | None = None,
    profile: DeviceProfile | str | os.PathLike[str] | None = None,
    trials: int = 24,
    max_minutes: float | None = None,
    sampler: str = DEFAULT_SAMPLER,
    backbones: str | Sequence[str] | None = None,
    data: str | None = None,
    name: str | None = None,
    seed: int = 0,
    confirm: int = DEFAULT_CONFIRM,
    tracking_uri: str | None = None,
    cpus_per_trial: float = 1,
    gpus_per_trial: float | None = None,
    evaluate: Evaluate = evaluate,
    listener: Listener | None = None,
) -> SearchResult:
    """Searches backbones and low channels for the front of accuracy against compute or latency.

    Latency is the target network's, predicted by the profile of a device. Where none is given and none of
    this device is in the cache, one is measured first.

    Args:
        space: a space of the catalog, a YAML file, or a `SearchSpace`.
        budget_gflops: 10^9 multiply-adds of the target network that no candidate may exceed; None: any.
        budget_ms: milliseconds that no candidate may exceed; None: any. Where neither is given, the space
            must name a budget of its own.
        objective: what accuracy is weighed against, "gflops" or "latency"; by default the latter where only
            time is limited.
        profile: of this device, or the file of one; by default found or made where latency is asked for.
        trials: candidates; the yardsticks come on top.
        max_minutes: wall-clock after which nothing new is started and what runs is stopped; measuring a
            profile does not count.
        sampler: one of `octnas.engine.samplers.SAMPLER_NAMES`.
        backbones: one or some of the space's; default all.
        data: data set in place of the space's, of still images or of clips as the space is.
        name: of the search; default made from space and time.
        seed: of proposals and of every training.
        confirm: fresh seeds with which the winner and the uniform yardstick next to it are trained again at
            the end, so that a claim has an interval; 0 claims nothing.
        tracking_uri: MLflow's store or server; default MLFLOW_TRACKING_URI, or ./mlflow.db.
        gpus_per_trial: default a share of a GPU where there is one.
        evaluate: what trains a candidate, see `octnas.engine.evaluate`.
        listener: called with each `SearchEvent`.

    Raises:
        OctnasError: with exit code 2 before anything is trained; `SearchFailedError` afterwards.
        Interrupted: Ctrl-C, when everything measured so far is written down.
    """
    start = time.monotonic()
    check_numbers(trials=trials, max_minutes=max_minutes, seed=seed, confirm=confirm)
    searched, source = admitted_space(space, backbones=backbones, data=data)
    check_kind(searched)
    budgets = admitted_budgets(
        searched, budget_gflops=budget_gflops, budget_ms=budget_ms, objective=objective, profile=profile
    )
    feasible = budgets.feasible(searched)
    evaluate_name = name_of(evaluate)
    from octnas.engine.optuna_adapter import check_sampler

    check_sampler(sampler, feasible)
    if name is None:
        name = default_name(searched.name)
    elif run_path(name).exists():
        raise name_taken(name)
    images = load_data(searched)
    from octnas.engine.workers import plan_workers

    workers = plan_workers(cpus_per_trial, gpus_per_trial)
    tracker = _tracker(tracking_uri)
    if budgets.unmeasured:
        budgets = budgets.measured(searched, lambda text: note_early(listener, name, trials, text))
        feasible = budgets.feasible(searched)
        start = time.monotonic()
    header = SearchHeader(
        name=name,
        space=searched.name,
        space_yaml=searched.to_yaml(),
        budget_gflops=budgets.gflops,
        budget_ms=budgets.ms,
        objective=budgets.objective,
        profile=budgets.document(),
        trials=trials,
        max_minutes=max_minutes,
        sampler=sampler,
        backbone=",".join(searched.backbones) if backbones is not None else None,
        seed=seed,
        data=searched.proxy.data,
        data_fingerprint=images.fingerprint,
        tracking_uri=tracker.uri,
        versions=versions(),
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        created=datetime.datetime.now().astimezone().isoformat(timespec="microseconds"),
        yardsticks=choose_yardsticks(searched, feasible, trials=trials),
        options={
            "confirm": confirm,
            "evaluate": evaluate_name,
            "noise_points": searched.proxy.noise_points if data is None else None,
            "space_source": source,
            "limit": feasible.limit,
            "input_shape": list(images.shape),
            "target_input_shape": list(searched.target.input_shape),
            **({"budget_of_space": True} if budgets.from_space else {}),
            **latency_options(feasible),
            "cores": workers.cores,
            "workers": workers.count,
        },
    )
    run = RunFolder.create(name, header)
    try:
        keep_profile(run, budgets.profile)
    except BaseException:
        run.journal.release()
        RunFolder.delete(name)
        raise
    return _run(run, searched, feasible, images, workers, tracker, listener, start, budgets.notes())


def resume(name: str, *, listener: Listener | None = None) -> SearchResult:
    """Goes on with a search after any death; a finished one gives its result again.

    Finished trials stay as they are, unfinished ones are trained again under their ids, and a time limit
    begins anew.

    Raises:
        OctnasError: there is no such search, it is running, or its space or data changed since.
        Interrupted: as for `search`.
    """
    start = time.monotonic()
    run = RunFolder.open(name)
    run.journal.acquire()
    try:
        header = run.header
        named(str(header.options["evaluate"]))
        searched = parse_space(header.space_yaml, source=f"the space of {name!r}")
        check_unchanged(header, searched)
        feasible = searched.feasible(
            header.budget_gflops,
            budget_ms=header.budget_ms,
            profile=kept_profile(run),
            objective=header.objective,
        )
        images = load_data(searched)
        if images.fingerprint != header.data_fingerprint:
            raise DataError(
                f"data {header.data!r} must be what {name!r} began with, fingerprint "
                f"{header.data_fingerprint}, but is {images.fingerprint}: restore it or take another name"
            )
        from octnas.engine.workers import plan_workers

        workers = plan_workers(header.cpus_per_trial, header.gpus_per_trial)
        tracker = _tracker(header.tracking_uri)
        run.journal.append({"event": "resume", "versions": versions()})
    except BaseException:
        run.journal.release()
        raise
    return _run(run, searched, feasible, images, workers, tracker, listener, start)


def new_campaign(
    run: RunFolder, *, space: SearchSpace, feasible: Feasible, grouped: bool = False, **options: Any
) -> Campaign:
    """The campaign of a run from its journal: its sampler and its rungs know every record there is.

    Args:
        grouped: see `Proposer`.
        options: further arguments of `Campaign`.
    """
    from octnas.engine.optuna_adapter import Proposer

    header, proxy = run.header, space.proxy
    past = list(history(run.journal.read()))
    eta = proxy.rungs.eta
    levels = rung_levels(min_epochs=proxy.rungs.min_epochs, eta=eta, max_epochs=scores_of(proxy))
    rungs = Rungs(levels, eta=eta, rank_by=proxy.rank_by, objective=feasible.objective)
    rungs.replay(past)
    proposer = Proposer(
        feasible,
        sampler=header.sampler,
        seed=header.seed,
        rank_by=proxy.rank_by,
        reserved=[each.architecture for each in header.yardsticks],
        history=past,
        grouped=grouped,
    )
    confirm = confirming_seeds(header.seed, int(header.options.get("confirm", 0)))
    return Campaign(run, feasible=feasible, proposer=proposer, rungs=rungs, confirm=confirm, **options)


def _run(
    run: RunFolder,
    space: SearchSpace,
    feasible: Feasible,
    images: ImageSet,
    workers: Workers,
    tracker: Tracker,
    listener: Listener | None,
    start: float,
    notes: Sequence[str] = (),
) -> SearchResult:
    """Trains what is left of a search whose journal is locked, and releases it."""
    from octnas.engine.ray_adapter import run_trials
    from octnas.record.background import BackgroundTracker

    header = run.header
    troubles: deque[str] = deque()
    tracking = BackgroundTracker(tracker, header, warn=troubles.append)
    state = "failed"

    def track(event: SearchEvent) -> None:
        if event.kind in ("finished", "confirmed") and event.trial is not None:
            tracking.log_trial(event.trial)
        while troubles and event.kind != "note":
            campaign.note(troubles.popleft())

    try:
        with afterwards(f". Everything measured is kept: `octnas resume {run.name}` goes on"):
            campaign = new_campaign(
                run,
                space=space,
                feasible=feasible,
                workers=workers.count,
                limit=_limit(header, start),
                listeners=[each for each in (track, listener) if each is not None],
                start=start,
            )
            campaign.note(_greeting(header, feasible), kind="begin")
            for text in notes:
                campaign.note(text)
            tracking.sync(record for record in campaign.records if record.state.final)
            run_trials(campaign, evaluate=str(header.options["evaluate"]), data=images, workers=workers)
            if campaign.interrupted:
                raise KeyboardInterrupt
            campaign.close()
            result = SearchResult.of(run)
            report = front_report(result)
            tracking.log_front(report)
            _leave_files(run, report, campaign)
            refuse_if_all_failed(campaign.records)
            statistics = dict(campaign.statistics())
            run.journal.append({"event": "end", "state": "complete", "reason": campaign.ending, **statistics})
            state = "complete"
            campaign.note(_farewell(campaign.ending, statistics), kind="end")
    except KeyboardInterrupt:
        state = "interrupted"
        raise Interrupted(run.name) from None
    finally:
        sent = _close(run, tracking, state)
    for trouble in troubles:
        campaign.note(trouble)
    if sent:
        campaign.note(f"MLflow: {tracker.link()}")
    return result


def _limit(header: SearchHeader, start: float) -> TimeLimit | None:
    return None if header.max_minutes is None else TimeLimit.after(header.max_minutes, start=start)


def _close(run: RunFolder, tracking: BackgroundTracker, state: str) -> bool:
    """Writes down how a search ended, sends the store what it lacks, and releases the journal.

    Returns whether the store has all of it.
    """
    try:
        if state != "complete":
            # Where the disk is full the line is left out, and the search reads as interrupted, which it is.
            with contextlib.suppress(RunError):
                run.journal.append({"event": "end", "state": state})
        return tracking.close(state, timeout=60.0 if state == "complete" else 20.0)
    except KeyboardInterrupt:  # again: the journal is whole, and the store is brought up to it by `resume`
        raise Interrupted(run.name) from None
    finally:
        run.journal.release()


def _tracker(uri: str | None) -> Tracker:
    from octnas.record.mlflow_adapter import Tracker

    return Tracker(uri)


def _leave_files(run: RunFolder, report: FrontReport, campaign: Campaign) -> None:
    """The front's files in the run's folder; the journal has all of it, so a full disk costs these alone."""
    try:
        for name, content in report.files.items():
            (run.path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        campaign.note(f"cannot write the front's files in {run.path}: {error.strerror}")


def _greeting(header: SearchHeader, feasible: Feasible) -> str:
    budget = budget_words(header).replace("GFLOPs", "GFLOPs (10^9 multiply-adds)")
    budget += ", the space's own" if header.options.get("budget_of_space") else ""
    timed = f", accuracy against {header.objective}, predicted for {device_words(header)}"
    return (
        f"search {header.name}: candidates {header.trials}, yardsticks {len(header.yardsticks)}, budget "
        f"{budget}, {', '.join(feasible.backbones)}, data {header.data}{input_words(header)}"
        f"{timed if header.profile else ''}"
    )


def _farewell(ending: str, statistics: dict[str, Any]) -> str:
    share = statistics["busy_share"]
    busy = "" if share is None else f"; {100 * share:.0f} % of the workers' time was in training steps"
    return f"search ended: {ending}{busy}"
