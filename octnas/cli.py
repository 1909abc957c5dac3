"""The command line: parse, call, print. Nothing is decided here.

Standard output carries the answer (with --json exactly one JSON document), standard error everything else.
Exit codes: 0 done, 2 bad input found before anything was trained, 1 failed afterwards, 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from octnas import cli_dashboard, cli_front, cli_latency, cli_rank, cli_search, cli_supernet, cli_train
from octnas.cli_arch import (
    Alpha,
    Arch,
    Classes,
    Downsample,
    InputShape,
    Json,
    TrackingUri,
    emit,
    find_arch,
    say,
)
from octnas.cli_search import Name
from octnas.cli_train import Best, Trial, choice
from octnas.errors import DataWarning, OctnasError

__all__ = ["app", "main"]

app = typer.Typer(
    name="octnas",
    help="Finds where a convolutional network can drop an octave, under a budget of compute or time.\n\n"
    "GFLOPs are 10^9 multiply-adds, everywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

cli_search.register(app)
cli_supernet.register(app)


@app.command("list", epilog="Example: octnas list")
def list_searches(as_json: Json = False) -> None:
    """List the searches under ./octnas-runs, or where OCTNAS_HOME points."""
    from octnas.front.text import runs_table
    from octnas.record import list_runs

    runs = [summary.to_dict() for summary in list_runs()]
    emit({"searches": runs}, as_json, lambda: runs_table(runs))


@app.command(epilog="Example: octnas delete NAME")
def delete(name: Name, as_json: Json = False) -> None:
    """Delete a search: its journal, checkpoints and trainings. Its runs in MLflow stay."""
    from octnas.record import RunFolder

    path = RunFolder.delete(name)
    emit({"deleted": name}, as_json, lambda: f"deleted {path}")


cli_front.register(app)


@app.command(epilog="Example: octnas cost resnet50 --alpha 0.5 --verify")
def cost(
    arch: Arch,
    alpha: Alpha = None,
    downsample: Downsample = None,
    input_: InputShape = None,
    classes: Classes = None,
    verify: Annotated[
        bool, typer.Option("--verify", metavar="", help="Also count the built network with thop and PyTorch.")
    ] = False,
    by_layer: Annotated[bool, typer.Option("--by-layer", metavar="", help="Also show every layer.")] = False,
    as_json: Json = False,
) -> None:
    """Compute of an architecture: GFLOPs (10^9 multiply-adds), parameters, activation memory."""
    from octnas.costs.report import cost_report, cost_table

    architecture, shape, num_classes = find_arch(
        arch, alpha=alpha, downsample=downsample, input_=input_, classes=classes
    )
    report = cost_report(
        architecture, input_shape=shape, num_classes=num_classes, by_layer=by_layer, verify=verify
    )
    emit(report, as_json, lambda: cost_table(report))


cli_dashboard.register(app)
cli_latency.register(app)
cli_rank.register(app)


@app.command(epilog="Example: octnas spaces")
def spaces(as_json: Json = False) -> None:
    """List the search spaces: their backbones, size, smallest and largest cost."""
    from octnas.space.report import catalog_report, catalog_table

    report = catalog_report()
    emit({"spaces": report}, as_json, lambda: catalog_table(report))


cli_train.register(app)


@app.command(epilog="Example: octnas export NAME --best --to my-model")
def export(
    name: Name,
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder to write; an earlier export in it is replaced.")
    ],
    best: Best = False,
    trial: Trial = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Write a winner as ONNX, torch.export and safetensors, checked after reload."""
    from octnas import engine

    report = engine.export(name, choice(best, trial), to=to, tracking_uri=tracking_uri)
    emit(report, as_json, lambda: engine.export_text(report))


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", metavar="", help="Print the version.")] = False,
) -> None:
    if version:
        from octnas import __version__

        sys.stdout.write(f"octnas {__version__}\n")
        raise typer.Exit


def main() -> None:
    """Entry point of the `octnas` command."""
    try:
        with _warnings_in_a_line():
            code = app(standalone_mode=False)
    except OctnasError as error:
        say(str(error))
        code = error.exit_code
    except typer.TyperException as error:
        say(_usage_text(error))
        code = error.exit_code
    except typer.Abort:
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """What is odd about the data is said as errors are, and not with the line of code that noticed it."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, DataWarning):
            say(str(message))
        else:
            before(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        before = warnings.showwarning
        warnings.showwarning = show
        yield


def _usage_text(error: typer.TyperException) -> str:
    """What typer says of a wrong command line, and the value that it is wrong about."""
    from pydantic import ValidationError

    message = error.format_message().replace("Value error, ", "")
    if isinstance(error.__cause__, ValidationError):
        value = str(error.__cause__.errors()[0]["input"])
        if value not in message:
            return f"{message}, but got {value!r}"
    return message
