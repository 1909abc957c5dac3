"""The interactive pictures, drawn by Plotly: the front, and the hypervolume by trial."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from octnas.front.axis import budget_note, cost_words, samples
from octnas.front.describe import SLOWER, SLOWER_NOTE, dims_label, percent, stages, trial_label
from octnas.front.labels import Canvas, place_labels
from octnas.front.layers import (
    VOLUMETRIC,
    Layers,
    backbone_colours,
    backbone_names,
    sort_layers,
    staircase,
)
from octnas.front.result import SearchResult
from octnas.front.verdict import seeds_line
from octnas.front.volume import volume_curve
from octnas.record import TrialRecord

__all__ = ["front_figure", "volume_figure"]

_INK = "#1f2933"
_MUTED = "#6b7785"
_GRID = "#e4e8ec"
_SLOWER = "#b00020"
_FONT = {"family": "system-ui, sans-serif", "size": 13, "color": _INK}
_AXIS = {"gridcolor": _GRID, "zeroline": False, "linecolor": _MUTED, "ticks": "outside"}
_HEIGHT, _TOP, _BOTTOM = 640, 44, 120
_VOLUME_HEIGHT = 250
_CANVAS = Canvas(width=520, height=_HEIGHT - _TOP - _BOTTOM, character=6.6, line=16)
"""In px, for letters of 12 px, as wide as where the page is narrow: in the frame of a tracking server."""

_TITLE_LINE, _TITLE_LETTERS = 18, 72
"""Height in px of a line below the axis' title, and how many letters go into one."""


def _hover(record: TrialRecord, layers: Layers) -> str:
    reason = f" ({record.reason})" if record.reason else ""
    seeds = seeds_line(record)
    lines = [
        f"<b>{html.escape(trial_label(record))}</b>",
        f"accuracy {percent(record.accuracy)} of the proxy after {record.epochs} validations",
        *([f"fresh seeds: {html.escape(seeds)}"] if seeds else []),
        html.escape(f"{record.state}{reason}"),
        f"{cost_words(record)}, {record.params / 1e6:.2f} M parameters of the target",
        *([f"<b>{SLOWER_NOTE}</b>"] if record in layers.slower else []),
        f"{dims_label(record)} backbone, alphas by stage, {html.escape(record.architecture.downsample)} "
        "downsampling:",
        *(
            html.escape(f"  {line}")
            for stage in stages(record)
            for line in textwrap.wrap(stage, _HOVER_LETTERS, subsequent_indent="    ")
        ),
    ]
    return "<br>".join(lines)


_HOVER_LETTERS = 80
"""In a line of alphas: a stage of a deep backbone has dozens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mark:
    """How one group of trials is drawn."""

    name: str
    records: Sequence[TrialRecord]
    symbol: str
    size: int
    opacity: float = 1.0
    line: Mapping[str, Any] | None = None


def front_figure(result: SearchResult) -> Any:
    """Accuracy against compute: every trial that has an accuracy, the front, the bars of further seeds."""
    import plotly.graph_objects as go

    layers = sort_layers(result)
    colours = backbone_colours(result)
    front_line = {"color": _INK, "width": 2}
    uniform_line = {"color": _MUTED, "dash": "dash", "width": 1.5}
    figure = go.Figure()
    marks = [
        _Mark(name="front", records=layers.front, symbol="circle", size=13, line=front_line),
        _Mark(name="dominated", records=layers.dominated, symbol="circle", size=8, opacity=0.4),
        _Mark(name=layers.early_name, records=layers.inside, symbol="circle-open", size=7, opacity=0.5),
        _Mark(
            name=f"{len(layers.below)} below this range",
            records=layers.below,
            symbol="triangle-down-open",
            size=8,
            opacity=0.5,
        ),
        _Mark(
            name="uniform alpha, pooled", records=layers.uniform, symbol="diamond", size=11, line=uniform_line
        ),
        _Mark(name="plain", records=layers.plain, symbol="square", size=11),
        _Mark(name="over budget", records=layers.over, symbol="x-open", size=11),
    ]
    _add_line(figure, "uniform alpha, pooled", _corners(layers.uniform_line, result), uniform_line)
    _add_line(figure, "front", _corners(layers.front_line, result), front_line)
    for mark in sorted(marks, key=lambda each: each.size):
        if mark.records:
            _add_points(figure, mark, layers, colours)
    if layers.volumetric:
        _add_volumetric(figure, layers, colours)
    if layers.slower:
        _add_slower(figure, layers)
    if result.best is not None:
        _add_ring(figure, layers.place(result.best))
    if layers.confirmed:
        _add_bars(figure, layers)
    keys = [mark for mark in marks if mark.records or mark.name == "front"]
    _add_keys(figure, keys, layers.bars_name if layers.confirmed else None)
    _add_colour_keys(figure, colours, backbone_names(result))
    _finish(figure, result, layers)
    return figure


def _corners(line: Sequence[TrialRecord], result: SearchResult) -> tuple[list[float], list[float]]:
    return staircase(line, result.limit, result.axis)


def _add_line(
    figure: Any, group: str, corners: tuple[list[float], list[float]], style: dict[str, Any]
) -> None:
    xs, ys = corners
    figure.add_scatter(
        x=xs,
        y=[100 * y for y in ys],
        mode="lines",
        legendgroup=group,
        line=style,
        hoverinfo="skip",
        showlegend=False,
    )


def _add_points(figure: Any, mark: _Mark, layers: Layers, colours: Mapping[str, str]) -> None:
    places = [layers.place(record) for record in mark.records]
    figure.add_scatter(
        x=[x for x, _ in places],
        y=[100 * y for _, y in places],
        mode="markers",
        name=mark.name,
        legendgroup=mark.name,
        opacity=mark.opacity,
        cliponaxis=False,
        showlegend=False,
        marker={
            "symbol": mark.symbol,
            "size": mark.size,
            "color": [colours[record.architecture.backbone] for record in mark.records],
            "line": {"width": 2} if mark.symbol.endswith("open") else {"width": 1, "color": "white"},
        },
        text=[_hover(record, layers) for record in mark.records],
        customdata=[record.id for record in mark.records],
        hovertemplate="%{text}<extra></extra>",
    )


def _add_volumetric(figure: Any, layers: Layers, colours: Mapping[str, str]) -> None:
    """A plus inside the mark of each trial of a 3D backbone: white, or in its colour in a hollow mark."""
    places = [layers.place(record) for record in layers.volumetric]
    tints = [
        colours[record.architecture.backbone] if layers.is_hollow(record) else "white"
        for record in layers.volumetric
    ]
    figure.add_scatter(
        x=[x for x, _ in places],
        y=[100 * y for _, y in places],
        mode="markers",
        name=VOLUMETRIC,
        legendgroup=VOLUMETRIC,
        showlegend=False,
        cliponaxis=False,
        marker={"symbol": "cross-thin", "size": 7, "line": {"width": 2, "color": tints}},
        customdata=[record.id for record in layers.volumetric],
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=VOLUMETRIC,
        legendgroup=VOLUMETRIC,
        legendrank=1900,  # after the keys of all marks
        marker={"symbol": "cross-thin", "size": 9, "line": {"width": 2, "color": _MUTED}},
    )


def _add_slower(figure: Any, layers: Layers) -> None:
    """A red ring around each trial that is slower than plain."""
    places = [layers.place(record) for record in layers.slower]
    figure.add_scatter(
        x=[x for x, _ in places],
        y=[100 * y for _, y in places],
        mode="markers",
        name=SLOWER,
        legendrank=2000,  # after the keys of all marks
        cliponaxis=False,
        marker={"symbol": "circle-open", "size": 16, "color": _SLOWER, "line": {"width": 2}},
        customdata=[record.id for record in layers.slower],
        hoverinfo="skip",
    )


def _add_ring(figure: Any, place: tuple[float, float]) -> None:
    figure.add_scatter(
        x=[place[0]],
        y=[100 * place[1]],
        mode="markers",
        legendgroup="front",
        marker={"symbol": "circle-open", "size": 22, "color": _INK, "line": {"width": 1.5}},
        hoverinfo="skip",
        showlegend=False,
    )


def _add_bars(figure: Any, layers: Layers) -> None:
    """A bar for each confirmed trial, and a thin stroke from it to the trial's single-seed point."""
    places = [layers.place(each.record) for each in layers.confirmed]
    xs = [x for x, _ in places]
    means = [100 * each.mean for each in layers.confirmed]
    figure.add_scatter(
        x=[x for x in xs for _ in range(3)],
        y=[end for (_, y), mean in zip(places, means, strict=True) for end in (100 * y, mean, None)],
        mode="lines",
        legendgroup="bars",
        line={"color": _INK, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=xs,
        y=means,
        error_y={
            "type": "data",
            "array": [100 * each.sd for each in layers.confirmed],
            "color": _INK,
            "thickness": 1.6,
            "width": 5,
        },
        mode="markers",
        legendgroup="bars",
        showlegend=False,
        marker={"symbol": "line-ew", "size": 14, "line": {"width": 2.5, "color": _INK}},
        text=[_hover(each.record, layers) for each in layers.confirmed],
        customdata=[each.record.id for each in layers.confirmed],
        hovertemplate="%{text}<extra></extra>",
    )


def _add_keys(figure: Any, marks: Sequence[_Mark], bars_name: str | None) -> None:
    """What the marks mean, below the picture, in grey."""
    for mark in marks:
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="lines+markers" if mark.line else "markers",
            name=mark.name,
            legendgroup=mark.name,
            line=mark.line,
            opacity=mark.opacity,
            marker={"symbol": mark.symbol, "size": min(mark.size, 10), "color": _MUTED},
        )
    if bars_name:
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=bars_name,
            legendgroup="bars",
            marker={"symbol": "cross-thin", "size": 12, "line": {"width": 2, "color": _INK}},
        )


def _add_colour_keys(figure: Any, colours: Mapping[str, str], names: Mapping[str, str]) -> None:
    """What the colours mean, above the picture."""
    for backbone, colour in colours.items():
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=html.escape(names[backbone]),
            legend="legend2",
            marker={"color": colour, "size": 10},
        )


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
        font=_FONT,
        xaxis={**_AXIS, "title": title},
        yaxis={**_AXIS, "title": f"accuracy of the proxy, % of validation {samples(result.header)}"},
        hoverlabel={"bgcolor": "white", "align": "left", "font": _FONT},
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
    figure.add_vline(x=result.budget, line={"color": _INK, "width": 1.5, "dash": "dot"})
    figure.add_vrect(x0=result.budget, x1=layers.right, fillcolor="#f4f5f7", line_width=0, layer="below")
    figure.add_annotation(x=result.budget, xanchor="left", align="left", xshift=6, **note)


def volume_figure(result: SearchResult) -> Any:
    """Hypervolume by trial as a staircase, above what the yardsticks reach without any candidate."""
    import plotly.graph_objects as go

    curve = volume_curve(result)
    figure = go.Figure()
    if curve.yardsticks:
        figure.add_hline(
            y=curve.yardsticks,
            line={"color": _MUTED, "width": 1.5, "dash": "dash"},
            annotation={"text": f"yardsticks alone {curve.yardsticks:.4f}", "font": {"size": 12}},
            annotation_position="bottom right",
        )
    figure.add_scatter(
        x=[point.number for point in curve.points],
        y=[point.volume for point in curve.points],
        mode="lines+markers",
        line={"color": _INK, "width": 2, "shape": "hv"},
        marker={
            "size": 7,
            "color": _INK,
            "symbol": ["diamond" if point.record.yardstick else "circle" for point in curve.points],
        },
        text=[
            f"{html.escape(trial_label(point.record))}<br>hypervolume {point.volume:.4f}"
            for point in curve.points
        ],
        customdata=[point.record.id for point in curve.points],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(
        template="none",
        height=_VOLUME_HEIGHT,
        margin={"l": 74, "r": 16, "t": 30, "b": 48},
        font=_FONT,
        xaxis={**_AXIS, "title": "complete trials (diamonds: yardsticks)"},
        yaxis={**_AXIS, "title": "hypervolume"},
        hoverlabel={"bgcolor": "white", "align": "left", "font": _FONT},
    )
    figure.update_xaxes(range=[0, 1.02 * len(result.hypervolume_by_trial)], title_font_size=13)
    figure.update_yaxes(range=[curve.low, curve.high], title_font_size=13)
    return figure
