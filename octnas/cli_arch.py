"""What commands that take an ARCH share: its options, its parsing, and how a document is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from octnas import cli_complete
from octnas.errors import ArchitectureError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from octnas.architecture import Architecture

__all__ = [
    "Alpha",
    "Arch",
    "Classes",
    "Downsample",
    "InputShape",
    "Json",
    "TrackingUri",
    "emit",
    "find_arch",
    "parse_shape",
    "say",
]

Arch = Annotated[
    str,
    typer.Argument(
        metavar="ARCH",
        help="A backbone, your own package.module:factory, a JSON file, or NAME:ID of a search's trial.",
        autocompletion=cli_complete.backbones,
    ),
]
Alpha = Annotated[
    str | None,
    typer.Option(
        metavar="ALPHA",
        help="One alpha for the whole backbone, 0 to 1: the share of channels at half the resolution. "
        "Default: 0, the plain network.",
    ),
]
Downsample = Annotated[
    Literal["strided", "pooled"] | None,
    typer.Option(help="What plain layers with stride 2 do. Default: strided."),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="Input shape: CxHxW, or CxTxHxW for a clip, such as 3x8x224x224. Default: the backbone's usual.",
    ),
]
Classes = Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of classes. Default: 1000.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON document on standard output.")]
TrackingUri = Annotated[str | None, typer.Option(metavar="URI", help="MLflow store. Default: the search's.")]


def find_arch(
    arch: str,
    *,
    alpha: str | None,
    downsample: Literal["strided", "pooled"] | None,
    input_: str | None,
    classes: int | None,
) -> tuple[Architecture, tuple[int, ...] | None, int]:
    """The architecture that ARCH and its options name, its input shape (None: the usual) and its classes."""
    from octnas.backbones import is_users
    from octnas.lookup import find_architecture

    shape = None if input_ is None else parse_shape(input_)
    found = find_architecture(
        arch, alpha=alpha, downsample=downsample, input_size=None if shape is None else min(shape[-2:])
    )
    if classes is not None and is_users(found.architecture.backbone):
        has = found.architecture.table(num_classes=classes).num_classes
        if has != classes:
            raise ArchitectureError(
                f"{arch} has {has} classes and its factory takes no others, but --classes is {classes}: "
                "leave it out, or give the factory a `num_classes` argument"
            )
    return found.architecture, shape or found.input_shape, classes or found.num_classes


def parse_shape(text: str) -> tuple[int, ...]:
    """The value of --input: "3x224x224" as (channels, H, W), or "3x8x224x224" as (channels, T, H, W)."""
    parts = text.lower().split("x")
    if len(parts) not in (3, 4) or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ArchitectureError(
            "`--input` must be CxHxW or CxTxHxW in whole numbers of 1 or more, "
            f"for instance 3x224x224 or 3x8x224x224, but got {text!r}"
        )
    return tuple(map(int, parts))


def emit(document: dict[str, Any], as_json: bool, render: Callable[[], RenderableType]) -> None:
    """Print the document as JSON, or what `render` makes of it, on standard output."""
    if as_json:
        sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
        return
    from rich.console import Console

    rendered = render()
    Console(soft_wrap=isinstance(rendered, str)).print(rendered, markup=False, highlight=False)


def say(message: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(f"octnas: {' '.join(message.split())}\n")
    sys.stderr.flush()
