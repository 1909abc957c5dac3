"""The commands that search, parsed and printed; nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from octnas import cli_complete
from octnas.cli_arch import Json, TrackingUri, emit, say
from octnas.engine.samplers import DEFAULT_SAMPLER, Sampler
from octnas.errors import Interrupted, RunError, TrackingError

if TYPE_CHECKING:
    from octnas.front import SearchResult

__all__ = ["Name", "print_result", "register", "resumable", "resume", "search"]

_BUDGET, _SPACE, _WEIGHTS = "Budgets", "What is searched", "Weights to begin from"
_MACHINE, _RECORD = "Where it runs", "Name, record and dry run"

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of a search, as `octnas list` shows it.",
        autocompletion=cli_complete.runs,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(epilog="Example: octnas search --budget-gflops 2.0 --max-minutes 15")(search)
    app.command(epilog="Example: octnas resume NAME")(resume)


def search(
    budget_gflops: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="GFLOPS",
            help="Most compute: 10^9 multiply-adds of the target network. Default, without --budget-ms: the "
            "space's own, if it has one.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    budget_ms: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="MS",
            help="Longest latency: ms of the target network, as predicted for this device. Default: any.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    objective: Annotated[
        Literal["gflops", "latency"] | None,
        typer.Option(
            help="What accuracy is weighed against. Default: gflops where that is limited, else latency.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What `octnas profile` measured. Default: made where needed.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Candidates to try; yardsticks come on top.",
            rich_help_panel=_BUDGET,
        ),
    ] = 24,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="MINUTES",
            help="Stop after this many minutes of wall-clock. Default: when all is tried.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    space: Annotated[
        str,
        typer.Option(
            metavar="SPACE",
            help="A space of the catalog (`octnas spaces`), or a YAML file.",
            autocompletion=cli_complete.spaces,
            rich_help_panel=_SPACE,
        ),
    ] = "imagenet-2d",
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BACKBONE",
            help="Search these backbones of the space only, and networks of your own as "
            "package.module:factory (may be repeated). Default: all of the space.",
            autocompletion=cli_complete.backbones,
            rich_help_panel=_SPACE,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Data set, or a folder or archive of images or of videos by class, or its URI. "
            "Default: the space's.",
            autocompletion=cli_complete.data_sets,
            rich_help_panel=_SPACE,
        ),
    ] = None,
    sampler: Annotated[
        Sampler, typer.Option(help="What proposes candidates.", rich_help_panel=_SPACE)
    ] = DEFAULT_SAMPLER,
    confirm: Annotated[
        int,
        typer.Option(
            min=0,
            max=8,
            metavar="SEEDS",
            help="Fresh seeds with which the winner and the yardstick next to it are trained again before "
            "the search claims anything.",
            rich_help_panel=_SPACE,
        ),
    ] = 3,
    seed: Annotated[
        int,
        typer.Option(min=0, metavar="SEED", help="Seed of proposals and trainings.", rich_help_panel=_SPACE),
    ] = 0,
    init: Annotated[
        str,
        typer.Option(
            metavar="INIT",
            help="Weights to begin from: scratch, shared, torchvision or a FILE. shared: one set for all "
            "architectures of a backbone is trained first, candidates are the best on it, and are then "
            "trained from scratch all the same.",
            autocompletion=cli_complete.one_of("scratch", "shared", "torchvision"),
            rich_help_panel=_WEIGHTS,
        ),
    ] = "scratch",
    score: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="With --init shared: architectures to score on shared weights. Default: 1000.",
            rich_help_panel=_WEIGHTS,
        ),
    ] = None,
    fine_tune: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="EPOCHS",
            help="Trials begin from the weights of --init, shared ones too, and train for so many epochs. "
            "Default: as many as the space says.",
            rich_help_panel=_WEIGHTS,
        ),
    ] = None,
    supernet: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --init shared: take the shared weights of this run. Default: train them.",
            autocompletion=cli_complete.runs,
            rich_help_panel=_WEIGHTS,
        ),
    ] = None,
    cpus_per_trial: Annotated[
        int,
        typer.Option(min=1, metavar="CORES", help="Processor cores for a trial.", rich_help_panel=_MACHINE),
    ] = 1,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="GPUS",
            help="GPUs for a trial, .5 for half of one. Default: a share of a GPU that is present.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Run trials on this Ray cluster; auto: the one that this machine is in. Default: here.",
            autocompletion=cli_complete.one_of("auto"),
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Where weights are kept: a folder that all nodes share, or an fsspec URI such as "
            "s3://bucket/octnas. Default: with the run.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of this search. Default: made from space and time.",
            rich_help_panel=_RECORD,
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="MLflow store. Default: MLFLOW_TRACKING_URI or ./mlflow.db.",
            rich_help_panel=_RECORD,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            metavar="",
            help="Size up the space and the budget; train nothing.",
            rich_help_panel=_RECORD,
        ),
    ] = False,
    no_estimate: Annotated[
        bool,
        typer.Option(
            "--no-estimate",
            metavar="",
            help="With --dry-run: do not time a few steps to estimate the search's time.",
            rich_help_panel=_RECORD,
        ),
    ] = False,
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
            estimate=not no_estimate,
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
            metavar="HOST:PORT",
            help="The Ray cluster to go on with; auto: the one that this machine is in; none: this machine. "
            "Default: as the search began.",
            autocompletion=cli_complete.one_of("auto", "none"),
        ),
    ] = None,
    tracking_uri: TrackingUri = None,
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
