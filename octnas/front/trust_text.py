"""What `octnas rank` prints: a table of the proxies, the ceiling, and what to make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octnas.counted import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["rank_text"]


def rank_text(document: Mapping[str, Any]) -> RenderableType:
    """The table of `trust_document`, with the ceiling below it and the warnings last."""
    from rich import box
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    models, seeds = document["models"], document["seeds"]
    table = Table(
        title=f"Proxies of {escape(document['name'])} against full training",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("proxy", overflow="fold")
    for head in ("tau", "Spearman"):
        table.add_column(head, no_wrap=True)
    table.add_column("of ceiling", justify="right", no_wrap=True)
    fewer = any(each["count"] != models for each in document["proxies"].values())
    if fewer:
        table.add_column("of", justify="right", no_wrap=True)
    for proxy, each in document["proxies"].items():
        share = each["share_of_ceiling"]
        table.add_row(
            each["label"],
            _figure(each["tau"], each["tau_interval"]),
            _figure(each["spearman"], each["spearman_interval"]),
            "-" if share is None else f"{100 * share:.0f} %",
            *([str(each["count"])] if fewer else []),
            style="bold" if proxy in document["ranked_by"] else None,
        )
    table.caption = (
        "bold: what the search ranks by; tau: Kendall's tau-b; in brackets: 95 % bootstrap intervals"
    )
    table.caption_justify = "left"
    parts: list[RenderableType] = [
        Text(
            f"{document['name']}: {counted(models, 'architecture')}, each trained in full "
            f"({counted(document['full_epochs'], 'epoch')}) with {counted(seeds, 'seed')}"
        ),
        table,
        Text(_ceiling_words(document)),
    ]
    parts += [Text(sentence) for sentence in document["left_out"]]
    parts += [Text(f"\n{sentence}", style="yellow") for sentence in document["warnings"]]
    if document.get("picture"):
        picture, here = Path(document["picture"]), Path.cwd()
        shown = picture.relative_to(here) if picture.is_relative_to(here) else picture
        parts.append(Text(f"\nPicture: {shown}"))
    return Group(*parts)


def _ceiling_words(document: Mapping[str, Any]) -> str:
    if document["ceiling"] is None:
        return "Ceiling: not known, as one seed of full training tells no noise: rank with --seeds 2 or more."
    tau = _figure(document["ceiling"], document["ceiling_interval"])
    rho = _figure(document["ceiling_spearman"], document["ceiling_spearman_interval"])
    return (
        f"Ceiling: tau {tau}, Spearman {rho}. Full training varies by {document['noise_points']:.2f} points "
        f"from seed to seed, and by {document['signal_points']:.2f} between architectures (standard "
        "deviations), so a proxy without any error of its own would reach about this; more than that is luck."
    )


def _figure(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "the same for all"
    return f"{value:.2f}" if interval is None else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"
