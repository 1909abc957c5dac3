"""`octnas dashboard`, parsed and printed; nothing is decided here."""

from __future__ import annotations

import sys
import webbrowser
from typing import Annotated

import typer

from octnas import cli_complete
from octnas.cli_arch import Json, TrackingUri, emit

__all__ = ["dashboard", "register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(epilog="Example: octnas dashboard NAME")(dashboard)


def dashboard(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Name of a search. Default: all of them.", autocompletion=cli_complete.runs
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="Port of 127.0.0.1. Default: 5000, or any free one where that is taken.",
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", metavar="", help="Only print the links, and open no browser.")
    ] = False,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Show a search in MLflow: its front, its run, its trials. Ctrl-C ends the server that this starts."""
    from octnas import engine

    try:
        with engine.dashboard(name, tracking_uri=tracking_uri, port=port) as found:
            emit(found.to_dict(), as_json, lambda: engine.dashboard_text(found))
            sys.stdout.flush()
            if not no_browser and engine.has_display():
                webbrowser.open(found.url)
            found.wait()
    except KeyboardInterrupt:  # before it was there; later it is the way to end it
        raise typer.Exit(130) from None
