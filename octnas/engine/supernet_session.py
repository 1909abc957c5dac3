"""`supernet`: shared weights by themselves, to be looked at, or lent to searches."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from octnas.engine.budgets import admitted_budgets
from octnas.engine.checks import (
    admitted_space,
    check_data,
    check_numbers,
    check_unchanged,
    load_data,
    versions,
)
from octnas.engine.events import Listener, note_early
from octnas.engine.inputs import check_kind, check_networks, network_options
from octnas.engine.run_shared import run_shared
from octnas.errors import Interrupted, RunError, SearchFailedError, afterwards
from octnas.record import (
    RunFolder,
    SearchHeader,
    default_name,
    name_taken,
    run_path,
    shared_scores,
    supernets,
)
from octnas.space import Feasible, SearchSpace, parse_space

if TYPE_CHECKING:
    from octnas.data import ImageSet
    from octnas.engine.workers import Workers

__all__ = ["resume_supernet", "supernet", "supernet_text"]


def supernet(
    space: str | os.PathLike[str] | SearchSpace = "imagenet-2d",
    *,
    budget_gflops: float | None = None,
    backbones: str | Sequence[str] | None = None,
    data: str | None = None,
    score: int = 0,
    distill: float = 0.0,
    max_minutes: float | None = None,
    name: str | None = None,
    seed: int = 0,
    cpus_per_trial: float = 1,
    gpus_per_trial: float | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Trains one set of weights a backbone that serves all its architectures, and scores some on them.

    Args:
        budget_gflops: 10^9 multiply-adds of the target network up to which architectures take part; default
            the space's own budget, or any.
        score: architectures to score, spread and as a search asks for them; of 0, no backbone is dropped.
        distill: share of the loss of all but the plain network that is the cross-entropy to its output, 0
            to 1.

    Returns:
        JSON values: `name`, `kind`, `budget_gflops`, `scored` and for each backbone in `supernets` its
        `state`, `reason`, `epochs`, `accuracy` (plain network, validation images, 0 to 1), `seconds` and
        `weights` (a safetensors file, or None).

    Raises:
        OctnasError: with exit code 2 before anything is trained; `SearchFailedError` where there are no
            weights of any backbone in the end.
        Interrupted: Ctrl-C; `resume_supernet` goes on.
    """
    start = time.monotonic()
    check_numbers(trials=1, max_minutes=max_minutes, seed=seed)
    if score < 0:
        raise RunError(f"`score >= 0` (architectures) must hold, but got {score}")
    if not 0 <= distill <= 1:
        raise RunError(f"`0 <= distill <= 1` must hold, but got {distill}")
    searched, source = admitted_space(space, backbones=backbones, data=data)
    check_kind(searched)
    limited = budget_gflops is not None or searched.definition.budget_gflops is not None
    budget = None
    if limited:
        budget = admitted_budgets(
            searched, budget_gflops=budget_gflops, budget_ms=None, objective=None, profile=None
        ).gflops
    feasible = _feasible(searched, budget)
    if name is None:
        name = default_name(f"{searched.name}-supernet")
    elif run_path(name).exists():
        raise name_taken(name)
    images = load_data(searched)
    check_networks(searched, images)
    from octnas.engine.workers import plan_workers

    workers = plan_workers(cpus_per_trial, gpus_per_trial)
    header = SearchHeader(
        name=name,
        space=searched.name,
        space_yaml=searched.to_yaml(),
        budget_gflops=budget,
        trials=0,
        max_minutes=max_minutes,
        sampler="thompson",
        backbone=",".join(searched.backbones) if backbones is not None else None,
        seed=seed,
        data=searched.proxy.data,
        data_fingerprint=images.fingerprint,
        versions=versions(),
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        created=datetime.datetime.now().astimezone().isoformat(timespec="microseconds"),
        options={
            "kind": "supernet",
            **network_options(searched),
            "init": "shared",
            "score": score,
            "distill": distill,
            "space_source": source,
            "limit": feasible.limit,
            "input_shape": list(images.shape),
            "target_input_shape": list(searched.target.input_shape),
            "cores": workers.cores,
            "workers": workers.count,
        },
    )
    run = RunFolder.create(name, header)
    return _run(run, feasible, images, workers, listener, start)


def resume_supernet(name: str, *, listener: Listener | None = None) -> dict[str, Any]:
    """Goes on with what `supernet` began, after any death; a time limit begins anew.

    Raises:
        OctnasError: there is no such run, it is running, or its space or data changed since.
        Interrupted: as for `supernet`.
    """
    start = time.monotonic()
    run = RunFolder.open(name)
    run.journal.acquire()
    try:
        header = run.header
        searched = parse_space(header.space_yaml, source=f"the space of {name!r}")
        check_unchanged(header, searched)
        feasible = _feasible(searched, header.budget_gflops)
        images = load_data(searched)
        check_data(header, images)
        from octnas.engine.workers import plan_workers

        workers = plan_workers(header.cpus_per_trial, header.gpus_per_trial)
        run.journal.append({"event": "resume", "versions": versions()})
    except BaseException:
        run.journal.release()
        raise
    return _run(run, feasible, images, workers, listener, start)


def _feasible(space: SearchSpace, budget: float | None) -> Feasible:
    return space.feasible(space.max_gflops if budget is None else budget)


def _run(
    run: RunFolder,
    feasible: Feasible,
    images: ImageSet,
    workers: Workers,
    listener: Listener | None,
    start: float,
) -> dict[str, Any]:
    header = run.header
    state = "failed"
    try:
        with afterwards(f". What is trained is kept: `octnas resume {run.name}` goes on"):
            note_early(listener, run.name, 0, _greeting(header, feasible), "begin")
            run_shared(
                run,
                feasible=feasible,
                images=images,
                workers=workers,
                listeners=[] if listener is None else [listener],
                start=start,
                minutes=header.max_minutes,
            )
            report = _report(run)
            if not any(each["weights"] for each in report["supernets"]):
                raise SearchFailedError(
                    f"no supernet got far enough within max_minutes={header.max_minutes:g}: "
                    f"`octnas resume {run.name}` goes on"
                )
            state = "complete"
            run.journal.append({"event": "end", "state": state})
    except KeyboardInterrupt:
        state = "interrupted"
        raise Interrupted(run.name) from None
    finally:
        if state != "complete":
            with contextlib.suppress(RunError):  # a full disk: the run reads as interrupted, which it is
                run.journal.append({"event": "end", "state": state})
        run.journal.release()
    return report


def _report(run: RunFolder) -> dict[str, Any]:
    events = run.journal.read()
    rows = []
    for record in supernets(events):
        path = run.supernet(record.backbone)
        there = record.state == "complete" and path.is_file()
        rows.append({**record.to_dict(), "weights": str(path) if there else None})
    return {
        "name": run.name,
        "kind": "supernet",
        "budget_gflops": run.header.budget_gflops,
        "supernets": rows,
        "scored": len(shared_scores(events)),
    }


def _greeting(header: SearchHeader, feasible: Feasible) -> str:
    budget = header.budget_gflops
    within = "" if budget is None else f" of architectures up to {budget:g} GFLOPs (10^9 multiply-adds),"
    scored = f"; {header.options['score']} architectures scored on them" if header.options["score"] else ""
    return (
        f"supernet {header.name}: shared weights{within} of {', '.join(feasible.backbones)}, "
        f"data {header.data}{scored}"
    )


def supernet_text(report: Mapping[str, Any]) -> str:
    """What `octnas supernet` prints."""
    lines = []
    for each in report["supernets"]:
        reason = f" ({each['reason']})" if each["reason"] else ""
        plain = "" if each["accuracy"] is None else f", plain network {100 * each['accuracy']:.2f} %"
        line = f"{each['backbone']}: {each['state']}{reason}, {each['epochs']} epochs{plain}"
        lines.append(f"{line}: {each['weights']}" if each["weights"] else line)
    if report["scored"]:
        lines.append(f"{report['scored']} architectures scored")
    lines.append(f"search with them: octnas search --init shared --supernet {report['name']}")
    return "\n".join(lines)
