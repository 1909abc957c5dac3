"""The proxies against full training as a PNG, a panel for each, drawn by matplotlib without any display."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from octnas.counted import counted
from octnas.front.layers import BACKBONE_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["rank_png"]

_INK = "#1f2933"
_MUTED = "#6b7785"
_GRID = "#e4e8ec"
_COLUMNS = 3
_PANEL = (3.7, 2.75)
"""Inches of a panel with its titles."""
_HEAD, _FOOT = 1.05, 0.5
_AXES = {
    "shared": "accuracy on shared weights, %",
    "warm": "accuracy, %",
    "scratch": "accuracy, %",
    "training-losses": "minus their sum",
    "gflops": "GFLOPs (10^9 multiply-adds)",
    "params": "millions",
    "synflow": "natural logarithm",
    "grad-norm": "at initialisation",
}


def rank_png(document: Mapping[str, Any]) -> bytes:
    """The picture of what `octnas.front.trust.trust_document` made."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "text.usetex": False,
        "text.parse_math": False,  # a name with dollar signs is a name
    }
    proxies = list(document["proxies"])
    columns = min(_COLUMNS, len(proxies))
    rows = -(-len(proxies) // columns)
    said = textwrap.fill(_said(document), 46 * columns)
    head = _HEAD + 0.17 * said.count("\n")
    width, height = _PANEL[0] * columns, _PANEL[1] * rows + head + _FOOT
    names = list(dict.fromkeys(each["backbone"] for each in document["architectures"]))
    colours = {name: BACKBONE_COLOURS[at % len(BACKBONE_COLOURS)] for at, name in enumerate(names)}
    with rc_context(style):
        figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
        FigureCanvasAgg(figure)
        for number, proxy in enumerate(proxies):
            row, column = divmod(number, columns)
            place = (
                (column + 0.16) / columns,
                (_FOOT + _PANEL[1] * (rows - 1 - row) + 0.5) / height,
                0.78 / columns,
                (_PANEL[1] - 0.85) / height,
            )
            _panel(figure.add_axes(place), document, proxy, colours, labelled=column == 0)
        left = 0.16 / columns
        figure.text(
            left,
            1 - 0.33 / height,
            f"Proxies against full training: {document['name']}",
            fontsize=14,
            weight="bold",
        )
        figure.text(left, 1 - 0.48 / height, said, fontsize=9.5, va="top", linespacing=1.3, color=_INK)
        _legend(figure, colours)
        content = io.BytesIO()
        figure.savefig(content, format="png")
    return content.getvalue()


def _said(document: Mapping[str, Any]) -> str:
    text = (
        f"{counted(document['models'], 'architecture')}, {counted(document['full_epochs'], 'epoch')} of full "
        f"training, {counted(document['seeds'], 'seed')}; a bar goes from the lowest seed to the highest."
    )
    if document["ceiling"] is None:
        return text
    return f"{text} A proxy without any error of its own would reach about tau {document['ceiling']:.2f}."


def _panel(
    axes: Axes, document: Mapping[str, Any], proxy: str, colours: Mapping[str, str], *, labelled: bool
) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_MUTED)
    axes.tick_params(colors=_MUTED, labelcolor=_INK, labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    reached = [100 * accuracy for each in document["architectures"] for accuracy in each["full_accuracy"]]
    room = 0.06 * (max(reached) - min(reached)) or 1.0
    axes.set_ylim(min(reached) - room, max(reached) + room)  # the same in all panels
    for name, colour in colours.items():
        found = [
            each
            for each in document["architectures"]
            if each["backbone"] == name and each["proxies"][proxy] is not None
        ]
        if not found:
            continue
        means = [sum(each["full_accuracy"]) / len(each["full_accuracy"]) for each in found]
        axes.errorbar(
            [_shown(proxy, each["proxies"][proxy]) for each in found],
            [100 * mean for mean in means],
            yerr=[
                [100 * (mean - min(each["full_accuracy"])) for each, mean in zip(found, means, strict=True)],
                [100 * (max(each["full_accuracy"]) - mean) for each, mean in zip(found, means, strict=True)],
            ],
            linestyle="",
            marker="o",
            markersize=5,
            color=colour,
            markeredgecolor="white",
            markeredgewidth=0.7,
            elinewidth=1.0,
            capsize=2,
        )
    each = document["proxies"][proxy]
    bold = "bold" if proxy in document["ranked_by"] else "normal"
    axes.set_title(
        f"{each['label']}\ntau {_figure(each['tau'], each['tau_interval'])}", fontsize=9.5, weight=bold
    )
    axes.set_xlabel(_AXES[_kind(proxy)], fontsize=8.5, labelpad=2)
    if labelled:
        axes.set_ylabel("full training, %", fontsize=9)


def _kind(proxy: str) -> str:
    return proxy if proxy in _AXES else proxy.partition("-")[0]


def _shown(proxy: str, value: float) -> float:
    if _AXES[_kind(proxy)].endswith("%"):
        return 100 * value
    return value / 1e6 if proxy == "params" else value


def _figure(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "not defined: the same for all"
    return f"{value:.2f}" if interval is None else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _legend(figure: Any, colours: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=7, color=colour, label=name)
        for name, colour in colours.items()
    ]
    figure.legend(
        handles=handles, ncols=min(4, len(handles)), loc="lower center", frameon=False, fontsize=9.5
    )
