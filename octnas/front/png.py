"""The front as a PNG, drawn by matplotlib without any display."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octnas.front.axis import Axis, budget_note, samples
from octnas.front.cloud import Cloud
from octnas.front.describe import SLOWER, what_search
from octnas.front.labels import Canvas, place_labels
from octnas.front.layers import (
    VOLUMETRIC,
    Layers,
    backbone_colours,
    backbone_names,
    sort_layers,
    staircase,
)
from octnas.front.palette import INK, MUTED, OVER, SLOWER_COLOUR
from octnas.front.png_volume import draw_volume, style_axes
from octnas.front.result import SearchResult
from octnas.front.shared_text import agreement_words, is_low
from octnas.front.text import state_counts
from octnas.front.trust import LOW_TAU
from octnas.front.verdict import claim_sentence
from octnas.record import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer

__all__ = ["png_bytes", "write_png"]

_INCHES = (11.0, 9.8)
_AXES = (0.075, 3.48 / 9.8, 0.9, 4.75 / 9.8)
"""Left, bottom, width and height of the inner part in shares of the picture."""

_TITLE_LINE, _TITLE_LETTERS = 0.19 / 9.8, 115
"""Height of a line below the axis' title, which the inner part gives up, and how many letters go into one."""

_VOLUME_AXES = (0.075, 0.55 / 9.8, 0.9, 1.35 / 9.8)
"""The same of the hypervolume by trial."""

_SENTENCES = ((10.0, 125), (8.3, 150))
"""Size of what is said above the picture and letters in a line; the second where four lines are too few."""


def write_png(result: SearchResult, path: str | os.PathLike[str]) -> None:
    """Writes `png_bytes` to a file.

    Raises:
        OSError: the file cannot be written.
    """
    Path(path).write_bytes(png_bytes(result))


def png_bytes(result: SearchResult) -> bytes:
    """The picture, 1650 x 1470 px: claim, front, and hypervolume by trial."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "text.usetex": False,
        "text.parse_math": False,  # a name with dollar signs is a name
    }
    with rc_context(style):
        figure = Figure(figsize=_INCHES, dpi=150, facecolor="white")
        FigureCanvasAgg(figure)
        layers = sort_layers(result)
        place = _place(layers.axis)
        axes = figure.add_axes(place)
        _frame(axes, result, layers)
        _lines(axes, result, layers)
        _points(axes, result, layers)
        _labels(axes, result, layers, place)
        bars = _bars(axes, layers)
        _legend(figure, result, layers, bars)
        draw_volume(figure.add_axes(_VOLUME_AXES), result)
        figure.text(0.075, 0.962, f"{layers.axis.subject}: {result.name}", fontsize=15, weight="bold")
        subtitle = (
            f"{what_search(result.header)}; {state_counts(result)}; hypervolume {result.hypervolume:.4f}"
        )
        size, letters = _SENTENCES[0]
        figure.text(0.075, 0.935, subtitle, fontsize=size * min(1, letters / len(subtitle)), color=MUTED)
        size, said = _said(result, layers)
        figure.text(0.075, 0.922, said, fontsize=size, va="top", linespacing=1.35)
        content = io.BytesIO()
        figure.savefig(content, format="png")
    return content.getvalue()


def _place(axis: Axis) -> tuple[float, float, float, float]:
    """`_AXES`, with room for what stands below the axis' title."""
    left, bottom, width, height = _AXES
    room = _TITLE_LINE * len(axis.title_lines(_TITLE_LETTERS))
    return left, bottom + room, width, height - room


def _said(result: SearchResult, layers: Layers) -> tuple[float, str]:
    """The claim, or that there is none, in lines, and the size of its letters."""
    if result.claim is not None:
        said = claim_sentence(result.claim)
    elif layers.confirmed:
        said = "No candidate and uniform yardstick were trained with seeds in common, so nothing is claimed."
    else:
        said = "Nothing was confirmed with further seeds: each accuracy is of one seed."
    said += _said_of_scores(result, layers)
    filled = [(size, textwrap.fill(said, letters)) for size, letters in _SENTENCES]
    return filled[0] if filled[0][1].count("\n") < 4 else filled[1]


def _said_of_scores(result: SearchResult, layers: Layers) -> str:
    """Which number is which, where the picture shows shared scores."""
    if layers.cloud is None or not layers.cloud.inside:
        return ""
    own = result.agreement
    low = f", under {LOW_TAU:g}" if is_low(own) else ""
    known = own.tau_interval is not None
    tau = f" (by their losses, Kendall's tau with the trainings {agreement_words(own)}{low})" if known else ""
    return f" Faint dots: accuracy on shared weights, before any training of an architecture's own{tau}."


def _frame(axes: Axes, result: SearchResult, layers: Layers) -> None:
    style_axes(axes)
    axes.set_xlim(layers.left, layers.right)
    axes.set_ylim(100 * layers.low, 100 * layers.high)
    title = layers.axis.title
    if "10^9" in title:
        axes.set_xlabel(title.replace("10^9", "10$^9$"), parse_math=True, fontsize=11)
    else:
        axes.set_xlabel("\n".join((title, *layers.axis.title_lines(_TITLE_LETTERS))), fontsize=11)
    axes.set_ylabel(f"accuracy of the proxy, % of validation {samples(result.header)}", fontsize=11)
    if result.budget is None:
        axes.annotate(
            budget_note(result.header), (0.995, 0.02), xycoords="axes fraction", ha="right", fontsize=9
        )
        return
    axes.axvspan(result.budget, layers.right, color=OVER, zorder=0)
    axes.axvline(result.budget, color=INK, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
    axes.annotate(
        budget_note(result.header),
        (result.budget, 0.04),
        xycoords=("data", "axes fraction"),
        xytext=(6, 0),
        textcoords="offset points",
        fontsize=9,
    )


def _lines(axes: Axes, result: SearchResult, layers: Layers) -> None:
    for line, colour, width, dash in (
        (layers.uniform_line, MUTED, 1.5, (0, (5, 3))),
        (layers.front_line, INK, 2.0, "solid"),
    ):
        xs, ys = staircase(line, result.limit, layers.axis)
        axes.plot(xs, [100 * y for y in ys], color=colour, linewidth=width, linestyle=dash, zorder=2)


def _points(axes: Axes, result: SearchResult, layers: Layers) -> None:
    colours = backbone_colours(result)
    if layers.cloud is not None:
        _cloud(axes, layers.cloud, colours)

    def draw(records: Sequence[TrialRecord], marker: str, size: float, *, hollow: bool, **more: Any) -> None:
        tints = [colours[record.architecture.backbone] for record in records]
        places = [layers.place(record) for record in records]
        axes.scatter(
            [x for x, _ in places],
            [100 * y for _, y in places],
            s=size,
            marker=marker,
            facecolors="white" if hollow else tints,
            edgecolors=tints if hollow else "white",
            **{"linewidths": 1.0, **more},
        )

    draw(layers.below, "v", 26, hollow=True, alpha=0.5, zorder=3, clip_on=False)
    draw(layers.inside, "o", 26, hollow=True, alpha=0.5, zorder=3)
    draw(layers.dominated, "o", 38, hollow=False, alpha=0.4, zorder=4)
    draw(layers.uniform, "D", 62, hollow=False, zorder=6)
    draw(layers.plain, "s", 66, hollow=False, zorder=6)
    draw(layers.over, "X", 80, hollow=True, linewidths=1.5, zorder=6)
    draw(layers.front, "o", 95, hollow=False, zorder=7)
    for record in layers.volumetric:
        x, y = layers.place(record)
        tint = colours[record.architecture.backbone] if layers.is_hollow(record) else "white"
        axes.scatter([x], [100 * y], s=28, marker="+", color=tint, linewidths=1.6, zorder=7.2, clip_on=False)
    for record in layers.slower:
        x, y = layers.place(record)
        axes.scatter(
            [x],
            [100 * y],
            s=160,
            facecolors="none",
            edgecolors=SLOWER_COLOUR,
            linewidths=1.6,
            zorder=7.5,
            clip_on=False,
        )
    if result.best is not None:
        x, y = layers.place(result.best)
        axes.scatter([x], [100 * y], s=260, facecolors="none", edgecolors=INK, linewidths=1.5, zorder=8)


def _cloud(axes: Axes, cloud: Cloud, colours: Mapping[str, str]) -> None:
    """Shared scores as faint dots behind the trials."""
    axes.scatter(
        cloud.costs,
        [100 * each.accuracy for each in cloud.scores],
        s=10,
        c=[colours[each.architecture.backbone] for each in cloud.scores],
        alpha=0.22,
        linewidths=0,
        zorder=1.5,
    )


def _bars(axes: Axes, layers: Layers) -> ErrorbarContainer | None:
    """The bars of confirming seeds, each tied to its trial's single-seed point; None without any."""
    if not layers.confirmed:
        return None
    for each in layers.confirmed:
        x, y = layers.place(each.record)
        axes.plot([x, x], [100 * y, 100 * each.mean], color=INK, linewidth=0.8, linestyle=":", zorder=8)
    return axes.errorbar(
        [layers.place(each.record)[0] for each in layers.confirmed],
        [100 * each.mean for each in layers.confirmed],
        yerr=[100 * each.sd for each in layers.confirmed],
        label=layers.bars_name,
        marker="_",
        linestyle="",
        color=INK,
        markersize=11,
        markeredgewidth=2.2,
        elinewidth=1.5,
        capsize=3.5,
        zorder=8,
    )


def _labels(
    axes: Axes, result: SearchResult, layers: Layers, place: tuple[float, float, float, float]
) -> None:
    from matplotlib import patheffects

    halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    # in points, 72 an inch, for letters of 9 points
    width, height = (72 * inches * share for inches, share in zip(_INCHES, place[2:], strict=True))
    canvas = Canvas(width=width, height=height, character=5.6, line=12)
    for label in place_labels(result, layers, canvas):
        axes.annotate(
            label.text,
            layers.relative(label.record),
            xycoords="axes fraction",
            xytext=(label.dx, label.dy),
            textcoords="offset points",
            ha=label.anchor,
            va="center",
            fontsize=9,
            weight="normal" if label.record.yardstick else "bold",
            path_effects=halo,
            zorder=9,
        )


def _legend(figure: Any, result: SearchResult, layers: Layers, bars: ErrorbarContainer | None) -> None:
    from matplotlib.lines import Line2D

    def key(label: str, marker: str = "", *, hollow: bool = False, **more: Any) -> Line2D:
        face = "white" if hollow else MUTED
        return Line2D([], [], marker=marker, label=label, **{"color": MUTED, "markerfacecolor": face, **more})

    below = f"{len(layers.below)} below this range"
    keys = (
        (layers.front_line, key("front", "o", markersize=9, color=INK, linewidth=2)),
        (layers.dominated, key("dominated", "o", markersize=6, alpha=0.4, linestyle="")),
        (layers.inside, key(layers.early_name, "o", hollow=True, markersize=5, alpha=0.6, linestyle="")),
        (layers.below, key(below, "v", hollow=True, markersize=5, alpha=0.6, linestyle="")),
        (layers.uniform, key("uniform alpha, pooled", "D", markersize=7, linestyle=(0, (3, 2)))),
        (layers.plain, key("plain", "s", markersize=7, linestyle="")),
        (layers.over, key("over budget", "X", hollow=True, markersize=8, linestyle="")),
        (layers.volumetric, key(VOLUMETRIC, "+", markersize=7, markeredgewidth=1.8, linestyle="")),
        (
            layers.slower,
            key(SLOWER, "o", markerfacecolor="none", markersize=10, color=SLOWER_COLOUR, linestyle=""),
        ),
    )
    shapes: list[Any] = [drawn for records, drawn in keys if records]
    if bars is not None:
        shapes.append(bars)
    if layers.cloud is not None:
        shapes.append(key(layers.cloud.name, "o", markersize=3, alpha=0.5, linestyle=""))
    names = backbone_names(result)
    backbones = [
        Line2D([], [], marker="o", linestyle="", markersize=8, color=colour, label=names[name])
        for name, colour in backbone_colours(result).items()
    ]
    place = {
        "loc": "upper left",
        "frameon": False,
        "fontsize": 9.5,
        "handletextpad": 0.5,
        "handlelength": 3.0,
        "columnspacing": 1.4,
    }
    figure.legend(handles=shapes, ncols=4, bbox_to_anchor=(0.066, 2.94 / 9.8), **place)
    figure.legend(handles=backbones, ncols=8, bbox_to_anchor=(0.066, 2.42 / 9.8), **place)
