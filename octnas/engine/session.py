"""`search` and `resume`: check everything at the door, run the campaign, leave the front behind."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from octnas.engine.budgets import admitted_budgets, keep_profile, kept_profile, latency_options
from octnas.engine.checks import (
    DEFAULT_SCORE,
    admitted_space,
    check_data,
    check_numbers,
    check_start,
    check_unchanged,
    load_data,
    refuse_supernet,
    versions,
)
from octnas.engine.confirm import DEFAULT_CONFIRM
from octnas.engine.evaluate import Evaluate, evaluate, name_of, named
from octnas.engine.events import Listener, note_early
from octnas.engine.initial import check_init, keep_initial
from octnas.engine.inputs import check_kind, check_networks, network_options
from octnas.engine.lent import keep_supernets, lent_supernets
from octnas.engine.machines import kept_storage, machines
from octnas.engine.run_search import run_search
from octnas.engine.samplers import DEFAULT_SAMPLER
from octnas.engine.yardsticks import choose_yardsticks
from octnas.front import SearchResult
from octnas.front.describe import network_lines
from octnas.record import RunFolder, SearchHeader, TrialState, default_name, name_taken, run_path
from octnas.record.tracking_store import resolve_store
from octnas.space import SearchSpace, parse_space

if TYPE_CHECKING:
    from octnas.costs.latency import DeviceProfile
    from octnas.record.mlflow_adapter import Tracker

__all__ = ["resume", "search"]


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
    cluster: str | None = None,
    storage: str | None = None,
    init: str = "scratch",
    score: int | None = None,
    fine_tune: int | None = None,
    supernet: str | None = None,
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
        cluster: the address HOST:PORT of a Ray cluster that runs trials, or "auto" for the one that this
            machine is a node of; None: this machine alone.
        storage: a folder that all nodes share, or an fsspec URI such as "s3://bucket/octnas", where weights
            are kept; None: in the run's folder.
        init: where trainings begin: "scratch"; "torchvision", a file or a folder: from these weights, see
            `octnas.engine.initial`; "shared": one set of weights a backbone is trained first, many
            architectures are scored on them, and the best of these are the candidates. What is reported is
            their own training, from scratch, unless `fine_tune` is given.
        score: architectures scored on shared weights; default `DEFAULT_SCORE`.
        fine_tune: length of each trial's training, in epochs (scores) of the proxy, where it begins from
            weights that are there; default the whole proxy training: from scratch with init="shared".
        supernet: name of a run whose shared weights are taken, in place of training them.
        evaluate: what trains a candidate, see `octnas.engine.evaluate`.
        listener: called with each `SearchEvent`.

    Raises:
        OctnasError: with exit code 2 before anything is trained; `SearchFailedError` afterwards.
        Interrupted: Ctrl-C, when everything measured so far is written down.
    """
    start = time.monotonic()
    check_numbers(trials=trials, max_minutes=max_minutes, seed=seed, confirm=confirm)
    check_start(init=init, score=score, fine_tune=fine_tune, supernet=supernet)
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
    check_networks(searched, images)
    initial = check_init(init, searched, images, note=lambda text: note_early(listener, name, trials, text))
    lent = None
    if supernet is not None:
        lent = lent_supernets(supernet, feasible, images, whole=fine_tune is not None)
    storage = kept_storage(storage)
    with machines(
        cluster,
        storage=storage,
        cpus=cpus_per_trial,
        gpus=gpus_per_trial,
        space=searched,
        images=images,
        trials=trials,
    ) as found:
        workers = found.workers
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
                **network_options(searched),
                **({"budget_of_space": True} if budgets.from_space else {}),
                **latency_options(feasible),
                "cores": workers.cores,
                "workers": workers.count,
                "cluster": cluster,
                "storage": storage,
                "init": initial.init,
                **({} if fine_tune is None else {"fine_tune": fine_tune}),
                **({"score": score or DEFAULT_SCORE, "supernet_of": supernet} if init == "shared" else {}),
            },
        )
        run = RunFolder.create(name, header)
        try:
            keep_profile(run, budgets.profile)
            keep_initial(run, initial)
            if lent is not None:
                keep_supernets(run, lent)
        except BaseException:
            run.journal.release()
            RunFolder.delete(name)
            raise
        notes = [*found.notes, *network_lines(header.options), *budgets.notes(), *initial.notes]
        return run_search(run, searched, feasible, images, workers, tracker, listener, start, notes)


def resume(
    name: str,
    *,
    cluster: str | None = None,
    tracking_uri: str | None = None,
    listener: Listener | None = None,
) -> SearchResult:
    """Goes on with a search after any death; a finished one gives its result again.

    Finished trials stay as they are, unfinished ones are trained again under their ids, and a time limit
    begins anew.

    Args:
        cluster: as for `search`, where it is not the one that the search began on.
        tracking_uri: the search's MLflow store with its credentials, or another that is brought up to date.

    Raises:
        OctnasError: there is no such search, it is running, or its space or data changed since.
        Interrupted: as for `search`.
    """
    start = time.monotonic()
    run = RunFolder.open(name)
    refuse_supernet(run)
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
        check_data(header, images)
        tracker = _tracker(resolve_store(tracking_uri, header.tracking_uri))
        left = _trials_left(run)
        with machines(
            _cluster_to_go_on_with(cluster, header) if left else None,
            storage=header.options.get("storage"),
            cpus=header.cpus_per_trial,
            gpus=header.gpus_per_trial,
            space=searched,
            images=images,
            trials=left,
        ) as found:
            run.journal.append({"event": "resume", "versions": versions()})
            return run_search(
                run, searched, feasible, images, found.workers, tracker, listener, start, found.notes
            )
    except BaseException:
        run.journal.release()
        raise


def _trials_left(run: RunFolder) -> int:
    """Trials of a search that are still to be trained; what confirms them counts as one."""
    header = run.header
    states: dict[str, str] = {}
    ended = False
    for event in run.journal.events():
        if event["event"] == "trial":
            states[event["trial"]["id"]] = event["trial"]["state"]
        elif event["event"] in ("end", "resume"):
            ended = event.get("state") == "complete"
    if ended:
        return 0
    final = sum(TrialState(state).final for state in states.values())
    return max(1, header.trials + len(header.yardsticks) - final)


def _cluster_to_go_on_with(cluster: str | None, header: SearchHeader) -> str | None:
    """The one that is asked for, or else the search's; "none" asks for this machine."""
    if cluster == "none":
        return None
    return cluster or header.options.get("cluster")


def _tracker(uri: str | None) -> Tracker:
    from octnas.record.mlflow_adapter import Tracker

    return Tracker(uri)
