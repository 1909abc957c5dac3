"""`octnas rank`, parsed and printed; nothing is decided here."""

from __future__ import annotations

from typing import Annotated

import typer

from octnas.cli_arch import Json, TrackingUri, emit, say
from octnas.cli_search import Name
from octnas.errors import Interrupted

__all__ = ["rank", "register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(epilog="Example: octnas rank NAME --models 16 --seeds 2")(rank)


def rank(
    name: Name,
    models: Annotated[
        int,
        typer.Option(
            min=4, metavar="N", help="Architectures to train in full, from cheap to dear within the budget."
        ),
    ] = 16,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, max=16, metavar="SEEDS", help="Full trainings of each; two or more tell the noise."
        ),
    ] = 2,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="EPOCHS", help="Epochs of full training. Default: four times the proxy's length."
        ),
    ] = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Measure how well each proxy of a search orders architectures as full training does."""
    from octnas import engine

    try:
        with engine.rank_progress() as listener:
            document = engine.rank(
                name, models=models, seeds=seeds, epochs=epochs, tracking_uri=tracking_uri, listener=listener
            )
    except Interrupted:
        again = f"octnas rank {name} --models {models} --seeds {seeds}"
        again += "" if epochs is None else f" --epochs {epochs}"
        say(f"interrupted; everything measured is kept. Go on with: {again}")
        raise typer.Exit(130) from None
    from octnas.front.trust_text import rank_text

    emit(document, as_json, lambda: rank_text(document))
