"""`octnas supernet`, parsed and printed; nothing is decided here."""

from __future__ import annotations

from typing import Annotated

import typer

from octnas import cli_complete
from octnas.cli_arch import Json, emit
from octnas.cli_search import resumable

__all__ = ["register", "supernet"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(epilog="Example: octnas supernet --space small-2d --name weights")(supernet)


def supernet(
    space: Annotated[
        str,
        typer.Option(
            metavar="SPACE",
            help="A space of the catalog (`octnas spaces`), or a YAML file.",
            autocompletion=cli_complete.spaces,
        ),
    ] = "imagenet-2d",
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BACKBONE",
            help="These backbones of the space only, and networks of your own as package.module:factory "
            "(may be repeated). Default: all of the space.",
            autocompletion=cli_complete.backbones,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Data set, or a folder of images or of videos by class. Default: the space's.",
            autocompletion=cli_complete.data_sets,
        ),
    ] = None,
    budget_gflops: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="GFLOPS",
            help="Architectures up to 10^9 multiply-adds of the target network take part. Default: the "
            "space's budget, or all.",
        ),
    ] = None,
    score: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Architectures to score on the weights; from 1 on hopeless backbones are dropped.",
        ),
    ] = 0,
    distill: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Share of the loss that is learnt from the plain network; above 0 a step trains the plain, "
            "the cheapest and a random architecture on one batch, at 0 one of them.",
        ),
    ] = 0.0,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="MINUTES",
            help="Stop after this many minutes of wall-clock. Default: when all is trained.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of this run. Default: made from space and time.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="SEED", help="Seed of the trainings.")] = 0,
    cpus_per_trial: Annotated[
        int, typer.Option(min=1, metavar="CORES", help="Processor cores for a training.")
    ] = 1,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="GPUS",
            help="GPUs for a training, .5 for half of one. Default: a share of a GPU that is present.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train one set of weights for all architectures of each backbone, to search with."""
    from octnas import engine

    with resumable(), engine.progress() as listener:
        report = engine.supernet(
            space,
            budget_gflops=budget_gflops,
            backbones=backbone,
            data=data,
            score=score,
            distill=distill,
            max_minutes=max_minutes,
            name=name,
            seed=seed,
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,
            listener=listener,
        )
    emit(report, as_json, lambda: engine.supernet_text(report))
