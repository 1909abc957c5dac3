"""The command that shows fronts, parsed and printed; nothing is decided here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from octnas.cli_arch import Json, emit
from octnas.cli_complete import runs
from octnas.cli_search import print_result

__all__ = ["front", "register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to `app`."""
    app.command(epilog="Example: octnas front NAME --html front.html")(front)


def front(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Name of a search, as `octnas list` shows it; of several, to lay them over one another.",
            autocompletion=runs,
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the picture as one page that needs no network."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the front of a search beside the yardsticks, or of several searches."""
    from octnas import engine

    results = engine.fronts(names)
    if html is not None:
        engine.write_page(results, html)
    if len(results) == 1:
        print_result(results[0], as_json)
        return
    emit({"searches": [each.to_dict() for each in results]}, as_json, lambda: engine.fronts_text(results))
