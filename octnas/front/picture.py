"""The front as a picture: one HTML page that draws with no network, or a PNG (`octnas.front.png`)."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octnas.front.describe import UNITS, alphas_by_stage, percent, trial_label, what_search
from octnas.front.labels import Canvas, place_labels
from octnas.front.layers import Layers, backbone_colours, sort_layers, staircase
from octnas.front.png import write_png
from octnas.front.result import SearchResult
from octnas.front.text import state_counts, verdict
from octnas.record import TrialRecord

__all__ = ["html_page", "write_html", "write_png"]

_INK = "#1f2933"
_MUTED = "#6b7785"
_HEIGHT, _TOP, _BOTTOM = 640, 44, 120
_CANVAS = Canvas(width=520, height=_HEIGHT - _TOP - _BOTTOM, character=6.6, line=16)
"""In px, for letters of 12 px, as wide as where the page is narrow: in the frame of a tracking server."""

_BUTTONS = ["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]
"""What may be done with the picture; Plotly's own list has one that sends it to somebody's server."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; margin: 24px auto;
  max-width: 1150px; padding: 0 16px }}
h1 {{ font-size: 22px; margin: 0 }} p {{ margin: 6px 0; max-width: 75em }} .muted {{ color: #6b7785 }}
table {{ border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums }}
th, td {{ padding: 4px 16px 4px 0; text-align: left; border-bottom: 1px solid #e4e8ec; white-space: nowrap }}
td:last-child {{ white-space: normal; min-width: 24em }}
.wide {{ overflow-x: auto }}
</style></head><body>
<h1>{title}</h1><p class="muted">{subtitle}</p><p>{verdict}</p>
{figure}
<p class="muted">{units}. Hover a point for its alphas. Crosses at the right edge and triangles at the lower
edge lie beyond it.</p>
<div class="wide"><table><thead><tr><th>trial on the front</th><th>GFLOPs</th><th>accuracy</th>
<th>backbone</th><th>downsample</th><th>alphas by stage, layer by layer</th></tr></thead><tbody>
{rows}
</tbody></table></div>
</body></html>
"""


def write_html(result: SearchResult, path: str | os.PathLike[str]) -> None:
    """Writes `html_page` to a file of about 5 MB.

    Raises:
        OSError: the file cannot be written.
    """
    Path(path).write_text(html_page(result), encoding="utf-8")


def html_page(result: SearchResult) -> str:
    """The interactive picture with the verdict and the front's table; nothing is fetched when it is shown."""
    counts = f"{state_counts(result)}; hypervolume {result.hypervolume:.4f}"
    figure = _figure(result).to_html(
        full_html=False,
        include_plotlyjs=True,
        include_mathjax=False,
        config={"displaylogo": False, "modeBarButtons": [_BUTTONS]},
    )
    return _PAGE.format(
        title=html.escape(f"Accuracy against compute: {result.name}"),
        subtitle=html.escape(f"{what_search(result.header)}; {counts}"),
        verdict=html.escape(verdict(result)),
        figure=figure,
        units=html.escape(UNITS),
        rows="\n".join(_row(record) for record in result.front),
    )


def _row(record: TrialRecord) -> str:
    cells = (
        f"{record.id}, {record.yardstick}" if record.yardstick else record.id,
        f"{record.gflops:.3f}",
        percent(record.accuracy),
        record.architecture.backbone,
        record.architecture.downsample,
        "; ".join(_stages(record)),
    )
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _stages(record: TrialRecord) -> list[str]:
    """ "1: 0.25 0.5 0.25 0.25" for each stage, digits as short as they go."""
    stages = alphas_by_stage(record.architecture)
    return [f"{stage}: {' '.join(f'{alpha:.3g}' for alpha in alphas)}" for stage, alphas in stages.items()]


def _hover(record: TrialRecord) -> str:
    reason = f" ({record.reason})" if record.reason else ""
    lines = [
        f"<b>{html.escape(trial_label(record))}</b>",
        f"accuracy {percent(record.accuracy)} of the proxy after {record.epochs} validations",
        html.escape(f"{record.state}{reason}"),
        f"{record.gflops:.3f} GFLOPs, {record.params / 1e6:.2f} M parameters of the target",
        f"alphas by stage, {html.escape(record.architecture.downsample)} downsampling:",
        *(html.escape(f"  {line}") for line in _stages(record)),
    ]
    return "<br>".join(lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mark:
    """How one group of trials is drawn."""

    name: str
    records: Sequence[TrialRecord]
    symbol: str
    size: int
    opacity: float = 1.0
    line: Mapping[str, Any] | None = None


def _figure(result: SearchResult) -> Any:
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
    _add_line(figure, "uniform alpha, pooled", layers.uniform_line, result.budget_gflops, uniform_line)
    _add_line(figure, "front", layers.front_line, result.budget_gflops, front_line)
    for mark in sorted(marks, key=lambda each: each.size):
        if mark.records:
            _add_points(figure, mark, layers, colours)
    if result.best is not None:
        _add_ring(figure, result.best)
    _add_keys(figure, [mark for mark in marks if mark.records or mark.name == "front"], colours)
    _finish(figure, result, layers)
    return figure


def _add_line(
    figure: Any, group: str, line: Sequence[TrialRecord], budget: float, style: dict[str, Any]
) -> None:
    xs, ys = staircase(line, budget)
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
        text=[_hover(record) for record in mark.records],
        customdata=[record.id for record in mark.records],
        hovertemplate="%{text}<extra></extra>",
    )


def _add_ring(figure: Any, best: TrialRecord) -> None:
    figure.add_scatter(
        x=[best.gflops],
        y=[100 * (best.accuracy or 0.0)],
        mode="markers",
        legendgroup="front",
        marker={"symbol": "circle-open", "size": 22, "color": _INK, "line": {"width": 1.5}},
        hoverinfo="skip",
        showlegend=False,
    )


def _add_keys(figure: Any, marks: Sequence[_Mark], colours: Mapping[str, str]) -> None:
    """What the marks mean, below the picture, in grey; what the colours mean, above it."""
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
    for backbone, colour in colours.items():
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=html.escape(backbone),
            legend="legend2",
            marker={"color": colour, "size": 10},
        )


def _finish(figure: Any, result: SearchResult, layers: Layers) -> None:
    """Axes, the budget's line and the names of the yardsticks."""
    budget = result.budget_gflops
    figure.add_vline(x=budget, line={"color": _INK, "width": 1.5, "dash": "dot"})
    figure.add_vrect(x0=budget, x1=layers.right, fillcolor="#f4f5f7", line_width=0, layer="below")
    figure.add_annotation(
        x=budget, y=0.02, yref="paper", text=f"budget {budget:g}", showarrow=False, xanchor="left", xshift=6
    )
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
    axis = {"gridcolor": "#e4e8ec", "zeroline": False, "linecolor": _MUTED, "ticks": "outside"}
    font = {"family": "system-ui, sans-serif", "size": 13, "color": _INK}
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "itemdoubleclick": False}
    figure.update_layout(
        template="none",
        height=_HEIGHT,
        margin={"l": 62, "r": 16, "t": _TOP, "b": _BOTTOM},
        font=font,
        xaxis={**axis, "title": "GFLOPs of the target network (10<sup>9</sup> multiply-adds)"},
        yaxis={**axis, "title": "accuracy of the proxy, % of validation images"},
        hoverlabel={"bgcolor": "white", "align": "left", "font": font},
        legend={**legend, "y": -0.14, "yanchor": "top"},
        legend2={**legend, "y": 1.02, "yanchor": "bottom", "itemclick": False},
    )
    figure.update_annotations(font_size=12)
    figure.update_xaxes(range=[layers.left, layers.right], title_font_size=14)
    figure.update_yaxes(range=[100 * layers.low, 100 * layers.high], title_font_size=14)
