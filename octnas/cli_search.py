"""The commands that search, parsed and printed; nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from octnas.cli_arch import Json, emit, say
from octnas.engine.samplers import DEFAULT_SAMPLER, Sampler
from octnas.errors import Interrupted, RunError, TrackingError

if TYPE_CHECKING:
    from octnas.front import SearchResult

__all__ = ["Name", "print_result", "register", "resumable", "resume", "search"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a search, as `octnas list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(epilog="Example: octnas search --budget-gflops 2.0 --max-minutes 15")(search)
    app.command(epilog="Example: octnas resume NAME")(resume)


def search(
    budget_gflops: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Compute limit: 10^9 multiply-adds of the target network. Default, without --budget-ms: the "
            "space's own, if it has one.",
        ),
    ] = None,
    budget_ms: Annotated[
        float | None,
        typer.Option(min=0.0, help="Latency limit: ms of the target network, predicted for this device."),
    ] = None,
    objective: Annotated[
        Literal["gflops", "latency"] | None,
        typer.Option(help="What accuracy is weighed against. Default: gflops where that is limited."),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What `octnas profile` measured. Default: made where needed."),
    ] = None,
    space: Annotated[str, typer.Option(help="A space of the catalog, or a YAML file.")] = "imagenet-2d",
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BACKBONE",
            help="Search these backbones of the space only, and networks of your own as "
            "package.module:factory (may be repeated).",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set, or a folder or archive of images or of videos by class, or its URI. "
            "Default: the space's."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Candidates to try; yardsticks come on top.")] = 24,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after this many minutes of wall-clock.")
    ] = None,
    sampler: Annotated[Sampler, typer.Option(help="Who proposes.")] = DEFAULT_SAMPLER,
    confirm: Annotated[
        int,
        typer.Option(
            min=0,
            max=8,
            help="Seeds with which the winner and the yardstick next to it are trained again before the "
            "search claims anything.",
        ),
    ] = 3,
    init: Annotated[
        str,
        typer.Option(
            metavar="scratch|shared|torchvision|FILE",
            help="Weights to begin from. shared: one set for all architectures of a backbone is trained "
            "first, candidates are the best on it, and are then trained from scratch all the same.",
        ),
    ] = "scratch",
    score: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --init shared: architectures to score on shared weights. Default 1000."
        ),
    ] = None,
    fine_tune: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="EPOCHS",
            help="Trials begin from the weights of --init, shared ones too, and train for so many epochs.",
        ),
    ] = None,
    supernet: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --init shared: take the shared weights of this run. Default: train them.",
        ),
    ] = None,
    cpus_per_trial: Annotated[int, typer.Option(min=1, help="Processor cores for a trial.")] = 1,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(min=0.0, help="GPUs for a trial. Default: a share of a GPU that is present."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            help="Run trials on this Ray cluster; auto: the one that this machine is in. Default: here.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|URI",
            help="Where weights are kept: a folder that all nodes share, or an fsspec URI such as "
            "s3://bucket/octnas. Default: with the run.",
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow store. Default: MLFLOW_TRACKING_URI or ./mlflow.db.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of this search. Default: made from space and time.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of proposals and trainings.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Size up the space and the budget; train nothing.")
    ] = False,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate/--no-estimate", help="With --dry-run: time a few steps, estimate the search's time."
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Search backbones and alphas per stage and layer under a budget of GFLOPs, of ms, or of both."""
    from octnas import engine

    if dry_run:
        if cluster is not None:
            say("a dry run joins no cluster: its estimate is for this machine alone")
        report = engine.dry_run(
            space,
            budget_gflops=budget_gflops,
            budget_ms=budget_ms,
            objective=objective,
            profile=profile,
            backbones=backbone,
            data=data,
            trials=trials,
            confirm=confirm,
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
            cluster=cluster,
            init=init,
            score=score,
            fine_tune=fine_tune,
            supernet=supernet,
            estimate=estimate,
            note=say,
        )
        emit(report, as_json, lambda: engine.dry_run_table(report))
        if not report["reachable"]:
            raise engine.unreachable(report)
        return
    with resumable(), engine.progress() as listener:
        result = engine.search(
            space,
            budget_gflops=budget_gflops,
            budget_ms=budget_ms,
            objective=objective,
            profile=profile,
            backbones=backbone,
            data=data,
            trials=trials,
            max_minutes=max_minutes,
            sampler=sampler,
            confirm=confirm,
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
            cluster=cluster,
            storage=storage,
            init=init,
            score=score,
            fine_tune=fine_tune,
            supernet=supernet,
            tracking_uri=tracking_uri,
            name=name,
            seed=seed,
            listener=listener,
        )
    print_result(result, as_json)


def resume(
    name: Name,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto|none",
            help="The Ray cluster to go on with; none: this machine. Default: as the search began.",
        ),
    ] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow store. Default: the search's.")] = None,
    as_json: Json = False,
) -> None:
    """Go on with a search, or with shared weights, that was interrupted or killed."""
    from octnas import engine
    from octnas.record import RunFolder

    if RunFolder.open(name).header.options.get("kind") == "supernet":
        if tracking_uri is not None:
            raise TrackingError("shared weights have no run in MLflow: leave out --tracking-uri")
        if cluster is not None:
            raise RunError("shared weights by themselves are trained on this machine: leave out --cluster")
        with resumable(), engine.progress() as listener:
            report = engine.resume_supernet(name, listener=listener)
        emit(report, as_json, lambda: engine.supernet_text(report))
        return
    with resumable(), engine.progress() as listener:
        result = engine.resume(name, cluster=cluster, tracking_uri=tracking_uri, listener=listener)
    print_result(result, as_json)


@contextmanager
def resumable() -> Iterator[None]:
    """Ends with exit code 130 and the line that resumes, where Ctrl-C interrupts a search."""
    try:
        yield
    except Interrupted as interrupt:
        say(f"interrupted; everything measured is kept. Go on with: octnas resume {interrupt.name}")
        raise typer.Exit(130) from None


def print_result(result: SearchResult, as_json: bool) -> None:
    """Print a search's result on standard output."""
    from octnas.front.text import result_text

    emit(result.to_dict(), as_json, lambda: result_text(result))
