"""The commands that measure time, parsed and printed; nothing is decided here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from octnas import cli_complete
from octnas.cli_arch import Alpha, Arch, Classes, Downsample, InputShape, Json, emit, find_arch, say

__all__ = ["latency", "profile", "register"]

Runtime = Annotated[
    str,
    typer.Option(
        metavar="RUNTIME",
        help="onnxruntime, eager (PyTorch) or compile (torch.compile).",
        autocompletion=cli_complete.one_of("onnxruntime", "eager", "compile"),
    ),
]
Threads = Annotated[int, typer.Option(metavar="N", help="Processor threads, 1 up to this machine's cores.")]
Batch = Annotated[int, typer.Option(metavar="N", help="Images or clips at a time, 1 or more.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(epilog="Example: octnas latency resnet50 --alpha 0.5")(latency)
    app.command(epilog="Example: octnas profile --space imagenet-2d")(profile)


def latency(
    arch: Arch,
    alpha: Alpha = None,
    downsample: Downsample = None,
    input_: InputShape = None,
    classes: Classes = None,
    runtime: Runtime = "onnxruntime",
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE",
            help="cpu, or cuda: the first GPU, in half precision.",
            autocompletion=cli_complete.one_of("cpu", "cuda"),
        ),
    ] = "cpu",
    threads: Threads = 1,
    batch: Batch = 1,
    as_json: Json = False,
) -> None:
    """Time an architecture on this device beside its plain network, in turns."""
    from octnas.timing.latency import latency as measure
    from octnas.timing.report import latency_table
    from octnas.timing.runtimes import as_device, as_runtime

    architecture, shape, num_classes = find_arch(
        arch, alpha=alpha, downsample=downsample, input_=input_, classes=classes
    )
    report = measure(
        architecture,
        runtime=as_runtime(runtime),
        device=as_device(device),
        threads=threads,
        batch=batch,
        input_shape=shape,
        num_classes=num_classes,
        note=say,
    ).to_dict()
    emit(report, as_json, lambda: latency_table(report))


def profile(
    space: Annotated[
        str,
        typer.Option(
            metavar="SPACE",
            help="A space of the catalog (`octnas spaces`), or a YAML file.",
            autocompletion=cli_complete.spaces,
        ),
    ] = "imagenet-2d",
    runtime: Runtime = "onnxruntime",
    device: Annotated[str, typer.Option(metavar="DEVICE", help="cpu; a GPU cannot be profiled.")] = "cpu",
    threads: Threads = 1,
    batch: Batch = 1,
    networks: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Random networks that are timed whole, to correct the sums. Default: 12, compiled 4.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="Measure even where there is a profile.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the profile to this file too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time the layers of a space on this device, so that the latency of any member can be predicted."""
    from octnas.costs.profile_file import profile_path, save_profile
    from octnas.space import load_space
    from octnas.timing import profile as measuring
    from octnas.timing.profile_report import profile_document, profile_progress, profile_text

    chosen = load_space(space)
    setting: dict[str, Any] = {"runtime": runtime, "device": device, "threads": threads, "batch": batch}
    found = None if force else measuring.cached_profile(chosen, **setting)
    if found is None:
        try:
            with profile_progress() as progress:
                made = measuring.profile(chosen, **setting, networks=networks, to=to, progress=progress)
        except KeyboardInterrupt:
            say("interrupted; nothing was written")
            raise typer.Exit(130) from None
    else:
        made = found
        if to is not None:
            save_profile(made, to)
    document = profile_document(
        made, space=chosen.name, file=to or profile_path(made), cached=found is not None
    )
    emit(document, as_json, lambda: profile_text(document))
