"""The command that trains a winner, parsed and printed; nothing is decided here."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from octnas import cli_complete
from octnas.cli_arch import Json, TrackingUri, emit, say
from octnas.cli_search import Name
from octnas.errors import RunError

__all__ = ["Best", "Trial", "choice", "register", "train"]

_HOW, _WEIGHTS, _MACHINE = "How it is trained", "Weights and data", "Where it runs"

Best = Annotated[
    bool,
    typer.Option("--best", metavar="", help="The most accurate front member that is no yardstick."),
]
Trial = Annotated[
    str | None,
    typer.Option(
        "--trial",
        metavar="ID",
        help="A trial of the search, instead of --best.",
        autocompletion=cli_complete.trials,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this file to `app`."""
    app.command(epilog="Example: octnas train NAME --best --scale full")(train)


def train(
    name: Name,
    best: Best = False,
    trial: Trial = None,
    scale: Annotated[
        Literal["proxy", "full", "target"] | None,
        typer.Option(
            help="proxy: as searched; full: all data, four times as long; target: the real network. "
            "Default: target where a GPU is present or a cluster named, else full.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="EPOCHS",
            help="Epochs; 0 evaluates the weights of --init. Default: by scale.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Processes that train it together, each with a GPU where there are any.",
            rich_help_panel=_MACHINE,
        ),
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The Ray cluster of the workers; auto: the one that this machine is in. Default: here.",
            autocompletion=cli_complete.one_of("auto"),
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="IMAGES",
            help="Images of a step, of all workers together. Default: the recipe's.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="RATE",
            help="Highest learning rate. Default: the recipe's; with SGD in proportion to --batch-size.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    label_smoothing: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="SHARE",
            help="Share of a label, 0 to 1, that is spread over all classes. Default: the recipe's.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    mixup: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="ALPHA",
            help="Alpha by which pairs of images are blended; 0: none. Default: the recipe's.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="DECAY",
            help="Decay a step of the average of weights that is kept, as .9999; 0: none. "
            "Default: the recipe's.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="INIT",
            help="Weights to begin from: scratch, shared, torchvision or a FILE. Default: those that the "
            "search was given, else scratch.",
            autocompletion=cli_complete.one_of("scratch", "shared", "torchvision"),
            rich_help_panel=_WEIGHTS,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Data set, or a folder of images or of videos by class. Default: the search's.",
            autocompletion=cli_complete.data_sets,
            rich_help_panel=_WEIGHTS,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=2**63 - 1, metavar="SEED", help="Seed of the training.", rich_help_panel=_HOW
        ),
    ] = 0,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Train a winner. The default scale is target where a GPU is present or a cluster named, else full."""
    from octnas import engine
    from octnas.train.recipe import Choices

    chosen = choice(best, trial)
    choices = Choices(
        batch_size=batch_size,
        learning_rate=learning_rate,
        label_smoothing=label_smoothing,
        mixup=mixup,
        ema=ema,
    )
    try:
        report = engine.train(
            name,
            chosen,
            scale=scale,
            epochs=epochs,
            data=data,
            seed=seed,
            init=init,
            workers=workers,
            cluster=cluster,
            choices=choices,
            tracking_uri=tracking_uri,
        )
    except KeyboardInterrupt:
        say("interrupted; the same command goes on after the last whole epoch")
        raise typer.Exit(130) from None
    emit(report, as_json, lambda: engine.training_text(report))


def choice(best: bool, trial: str | None) -> str | None:
    """The trial that --best or --trial names; None stands for the best."""
    if best == (trial is not None):
        raise RunError(
            "exactly one of --best and --trial ID must be given: `octnas front NAME` lists the trials"
        )
    return trial
