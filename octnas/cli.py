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
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from octnas import cli_latency
from octnas.cli_arch import Alpha, Arch, Classes, Downsample, InputShape, Json, emit, find_arch, say
from octnas.engine.samplers import DEFAULT_SAMPLER, Sampler
from octnas.errors import DataWarning, Interrupted, OctnasError, RunError

if TYPE_CHECKING:
    from octnas.front import SearchResult

__all__ = ["app", "main"]

app = typer.Typer(
    name="octnas",
    help="Finds where a convolutional network can drop an octave, under a budget of compute or time.\n\n"
    "GFLOPs are 10^9 multiply-adds, everywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a search, as `octnas list` shows it.")]
Best = Annotated[bool, typer.Option("--best", help="The most accurate front member that is no yardstick.")]
Trial = Annotated[str | None, typer.Option("--trial", metavar="ID", help="A trial of the search.")]


@app.command(epilog="Example: octnas search --budget-gflops 2.0 --max-minutes 15")
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
        list[str] | None, typer.Option(help="Search these backbones of the space only (may be repeated).")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data set, or a folder of images or of videos by class. Default: the space's."),
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
    cpus_per_trial: Annotated[int, typer.Option(min=1, help="Processor cores for a trial.")] = 1,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(min=0.0, help="GPUs for a trial. Default: a share of a GPU that is present."),
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
            estimate=estimate,
            note=say,
        )
        emit(report, as_json, lambda: engine.dry_run_table(report))
        if not report["reachable"]:
            raise engine.unreachable(report)
        return
    with _resumable(), engine.progress() as listener:
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
            tracking_uri=tracking_uri,
            name=name,
            seed=seed,
            listener=listener,
        )
    _print_result(result, as_json)


@app.command(epilog="Example: octnas resume NAME")
def resume(name: Name, as_json: Json = False) -> None:
    """Go on with a search that was interrupted or killed."""
    from octnas import engine

    with _resumable(), engine.progress() as listener:
        result = engine.resume(name, listener=listener)
    _print_result(result, as_json)


@app.command("list", epilog="Example: octnas list")
def list_searches(as_json: Json = False) -> None:
    """List the searches under ./octnas-runs."""
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


@app.command(epilog="Example: octnas front NAME --html front.html")
def front(
    name: Name,
    html: Annotated[
        Path | None, typer.Option(help="Also write the picture as one self-contained page.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the front of a search beside the yardsticks."""
    from octnas.front import SearchResult
    from octnas.front.picture import write_html

    result = SearchResult.from_run(name)
    if html is not None:
        try:
            write_html(result, html)
        except OSError as error:
            raise RunError(
                f"cannot write {html}: {error.strerror}; name a file in a writable folder"
            ) from None
    _print_result(result, as_json)


@app.command(epilog="Example: octnas cost resnet50 --alpha 0.5 --verify")
def cost(
    arch: Arch,
    alpha: Alpha = None,
    downsample: Downsample = None,
    input_: InputShape = None,
    classes: Classes = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Also count the built network with thop and PyTorch.")
    ] = False,
    by_layer: Annotated[bool, typer.Option("--by-layer", help="Also show every layer.")] = False,
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


cli_latency.register(app)


@app.command(epilog="Example: octnas spaces")
def spaces(as_json: Json = False) -> None:
    """List the search spaces: their backbones, size, smallest and largest cost."""
    from octnas.space.report import catalog_report, catalog_table

    report = catalog_report()
    emit({"spaces": report}, as_json, lambda: catalog_table(report))


@app.command(epilog="Example: octnas train NAME --best --scale full")
def train(
    name: Name,
    best: Best = False,
    trial: Trial = None,
    scale: Annotated[
        Literal["proxy", "full", "target"] | None,
        typer.Option(
            help="proxy: as searched; full: all data, four times as long; target: the real network."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs. Default: by scale.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data set, or a folder of images or of videos by class. Default: the search's."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the training.")] = 0,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow store. Default: the search's.")] = None,
    as_json: Json = False,
) -> None:
    """Train a winner. The default scale is target where a GPU is present, else full."""
    from octnas import engine

    report = engine.train(
        name,
        _choice(best, trial),
        scale=scale,
        epochs=epochs,
        data=data,
        seed=seed,
        tracking_uri=tracking_uri,
    )
    emit(report, as_json, lambda: engine.training_text(report))


@app.command(epilog="Example: octnas export NAME --best --to my-model")
def export(
    name: Name,
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    best: Best = False,
    trial: Trial = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow store. Default: the search's.")] = None,
    as_json: Json = False,
) -> None:
    """Write a winner as ONNX, torch.export and safetensors, checked after reload."""
    from octnas import engine

    report = engine.export(name, _choice(best, trial), to=to, tracking_uri=tracking_uri)
    emit(report, as_json, lambda: engine.export_text(report))


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
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


@contextmanager
def _resumable() -> Iterator[None]:
    """Ends with exit code 130 and the line that resumes, where Ctrl-C interrupts a search."""
    try:
        yield
    except Interrupted as interrupt:
        say(f"interrupted; everything measured is kept. Go on with: octnas resume {interrupt.name}")
        raise typer.Exit(130) from None


def _usage_text(error: typer.TyperException) -> str:
    """What typer says of a wrong command line, and the value that it is wrong about."""
    from pydantic import ValidationError

    message = error.format_message().replace("Value error, ", "")
    if isinstance(error.__cause__, ValidationError):
        value = str(error.__cause__.errors()[0]["input"])
        if value not in message:
            return f"{message}, but got {value!r}"
    return message


def _choice(best: bool, trial: str | None) -> str | None:
    """The trial that --best or --trial names; None stands for the best."""
    if best == (trial is not None):
        raise RunError(
            "exactly one of --best and --trial ID must be given: `octnas front NAME` lists the trials"
        )
    return trial


def _print_result(result: SearchResult, as_json: bool) -> None:
    from octnas.front.text import result_text

    emit(result.to_dict(), as_json, lambda: result_text(result))
