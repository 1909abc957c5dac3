"""The interactive picture of the front, drawn by Plotly."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from octnas.front.axis import budget_note, samples
from octnas.front.labels import Canvas, place_labels
from octnas.front.layers import Layers, backbone_colours, backbone_names, sort_layers, staircase
from octnas.front.palette import INK, MUTED, OVER
from octnas.front.plot_marks import (
    Mark,
    add_bars,
    add_cloud,
    add_colour_keys,
    add_keys,
    add_line,
    add_points,
    add_ring,
    add_slower,
    add_volumetric,
)
from octnas.front.plot_style import AXIS, FONT
from octnas.front.result import SearchResult
from octnas.record import TrialRecord

__all__ = ["front_figure"]

_HEIGHT, _TOP, _BOTTOM = 640, 44, 120
_CANVAS = Canvas(width=520, height=_HEIGHT - _TOP - _BOTTOM, character=6.6, line=16)
"""In px, for letters of 12 px, as wide as where the page is narrow: in the frame of a tracking server."""

_TITLE_LINE, _TITLE_LETTERS = 18, 72
"""Height in px of a line below the axis' title, and how many letters go into one."""


def front_figure(result: SearchResult) -> Any:
    """Accuracy against compute: every trial that has an accuracy, the front, the bars of further seeds."""
    import plotly.graph_objects as go

    layers = sort_layers(result)
    colours = backbone_colours(result)
    front_line = {"color": INK, "width": 2}
    uniform_line = {"color": MUTED, "dash": "dash", "width": 1.5}
    figure = go.Figure()
    marks = [
        Mark(name="front", records=layers.front, symbol="circle", size=13, line=front_line),
        Mark(name="dominated", records=layers.dominated, symbol="circle", size=8, opacity=0.4),
        Mark(name=layers.early_name, records=layers.inside, symbol="circle-open", size=7, opacity=0.5),
        Mark(
            name=f"{len(layers.below)} below this range",
            records=layers.below,
            symbol="triangle-down-open",
            size=8,
            opacity=0.5,
        ),
        Mark(
            name="uniform alpha, pooled", records=layers.uniform, symbol="diamond", size=11, line=uniform_line
        ),
        Mark(name="plain", records=layers.plain, symbol="square", size=11),
        Mark(name="over budget", records=layers.over, symbol="x-open", size=11),
    ]
    if layers.cloud is not None:
        add_cloud(figure, layers.cloud, colours, result)
    add_line(figure, "uniform alpha, pooled", _corners(layers.uniform_line, result), uniform_line)
    add_line(figure, "front", _corners(layers.front_line, result), front_line)
    for mark in sorted(marks, key=lambda each: each.size):
        if mark.records:
            add_points(figure, mark, layers, colours, result)
    if layers.volumetric:
        add_volumetric(figure, layers, colours)
    if layers.slower:
        add_slower(figure, layers)
    if result.best is not None:
        add_ring(figure, layers.place(result.best))
    if layers.confirmed:
        add_bars(figure, layers, result)
    keys = [mark for mark in marks if mark.records or mark.name == "front"]
    add_keys(figure, keys, layers.bars_name if layers.confirmed else None)
    add_colour_keys(figure, colours, backbone_names(result))
    _finish(figure, result, layers)
    return figure


def _corners(line: Sequence[TrialRecord], result: SearchResult) -> tuple[list[float], list[float]]:
    return staircase(line, result.limit, result.axis)


def _finish(figure: Any, result: SearchResult, layers: Layers) -> None:
    """Axes, the budget and the names of the yardsticks."""
    _add_budget(figure, result, layers)
    for label in place_labels(result, layers, _CANVAS):
        x, y = layers.place(label.record)
        text = html.escape(label.text)
        figure.add_annotation(
            x=x,
            y=100 * y,
            text=text if label.record.yardstick else f"<b>{text}</b>",
            showarrow=False,
            xanchor=label.anchor,
            xshift=label.dx,
            yshift=label.dy,
        )
    below = layers.axis.title_lines(_TITLE_LETTERS)
    more = _TITLE_LINE * len(below)
    small = "".join(f'<br><span style="font-size:12px">{html.escape(line)}</span>' for line in below)
    title = layers.axis.title.replace("10^9", "10<sup>9</sup>") + small
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "itemdoubleclick": False}
    figure.update_layout(
        template="none",
        height=_HEIGHT + more,
        margin={"l": 74, "r": 16, "t": _TOP, "b": _BOTTOM + more},
        font=FONT,
        xaxis={**AXIS, "title": title},
        yaxis={**AXIS, "title": f"accuracy of the proxy, % of validation {samples(result.header)}"},
        hoverlabel={"bgcolor": "white", "align": "left", "font": FONT},
        legend={**legend, "y": -0.14 - more / _CANVAS.height, "yanchor": "top"},
        legend2={**legend, "y": 1.02, "yanchor": "bottom", "itemclick": False},
    )
    figure.update_annotations(font_size=12)
    figure.update_xaxes(range=[layers.left, layers.right], title_font_size=14)
    figure.update_yaxes(range=[100 * layers.low, 100 * layers.high], title_font_size=14)


def _add_budget(figure: Any, result: SearchResult, layers: Layers) -> None:
    """The line of the budget on this axis, and in words what else limits the search."""
    note = {
        "y": 0.02,
        "yref": "paper",
        "text": budget_note(result.header).replace("\n", "<br>"),
        "showarrow": False,
        "yanchor": "bottom",
    }
    if result.budget is None:
        figure.add_annotation(x=1, xref="paper", xanchor="right", align="right", **note)
        return
    figure.add_vline(x=result.budget, line={"color": INK, "width": 1.5, "dash": "dot"})
    figure.add_vrect(x0=result.budget, x1=layers.right, fillcolor=OVER, line_width=0, layer="below")
    figure.add_annotation(x=result.budget, xanchor="left", align="left", xshift=6, **note)
