"""The front as a picture: one HTML page that draws with no network, or a PNG (`octnas.front.png`)."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from octnas.front.describe import UNITS, alphas_by_stage, percent, trial_label, what_search
from octnas.front.labels import place_labels
from octnas.front.layers import Layers, backbone_colours, sort_layers, staircase
from octnas.front.png import write_png
from octnas.front.result import SearchResult
from octnas.front.text import state_counts, verdict
from octnas.record import TrialRecord

__all__ = ["html_page", "write_html", "write_png"]

_INK = "#1f2933"
_MUTED = "#6b7785"
_WIDTH, _HEIGHT = 1000, 520
"""About the size of the picture's inner part in px."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; margin: 24px auto;
  max-width: 1150px; padding: 0 16px }}
h1 {{ font-size: 22px; margin: 0 }} p {{ margin: 6px 0; max-width: 75em }} .muted {{ color: #6b7785 }}
table {{ border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums }}
th, td {{ padding: 4px 12px 4px 0; text-align: left; border-bottom: 1px solid #e4e8ec; vertical-align: top }}
.wide {{ overflow-x: auto }}
</style></head><body>
<h1>{title}</h1><p class="muted">{subtitle}</p><p>{verdict}</p>
{figure}
<p class="muted">{units}. Hover a point for its alphas. Points at an edge lie beyond it.</p>
<div class="wide"><table><thead><tr><th>front</th><th>GFLOPs</th><th>accuracy</th><th>backbone</th>
<th>downsample</th><th>alphas by stage, layer by layer</th></tr></thead><tbody>
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
        full_html=False, include_plotlyjs=True, include_mathjax=False, config={"displaylogo": False}
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
        trial_label(record),
        f"{record.gflops:.3f}",
        percent(record.accuracy),
        record.architecture.backbone,
        record.architecture.downsample,
        "; ".join(_stages(record)),
    )
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _stages(record: TrialRecord) -> list[str]:
    """ "1: .25 .5 .25 .25" for each stage, digits as short as they go."""
    stages = alphas_by_stage(record.architecture)
    return [f"{stage}: {' '.join(f'{alpha:.3g}' for alpha in alphas)}" for stage, alphas in stages.items()]


def _hover(record: TrialRecord) -> str:
    lines = [
        f"<b>{html.escape(trial_label(record))}</b>",
        f"{record.gflops:.3f} GFLOPs, {record.params / 1e6:.2f} M parameters (target)",
        f"accuracy {percent(record.accuracy)} after {record.epochs} epochs (proxy), {record.state}",
        f"{html.escape(record.architecture.downsample)} downsampling; alphas by stage:",
        *(html.escape(line) for line in _stages(record)),
    ]
    if record.reason:
        lines.append(html.escape(record.reason))
    return "<br>".join(lines)


def _figure(result: SearchResult) -> Any:
    import plotly.graph_objects as go

    layers = sort_layers(result)
    colours = backbone_colours(result)
    figure = go.Figure()
    _add_line(
        figure,
        "uniform alpha",
        layers.uniform_line,
        result.budget_gflops,
        {"color": _MUTED, "dash": "dash", "width": 1.5},
    )
    _add_line(figure, "front", layers.front_line, result.budget_gflops, {"color": _INK, "width": 2})
    groups: tuple[tuple[str, Sequence[TrialRecord], str, int, float], ...] = (
        ("stopped or under way", layers.early, "circle-open", 7, 0.45),
        ("dominated", layers.dominated, "circle", 8, 0.4),
        ("uniform alpha, pooled", layers.uniform, "diamond", 11, 1.0),
        ("plain", layers.plain, "square", 11, 1.0),
        ("yardstick over budget", layers.over, "x-open", 11, 1.0),
        ("on the front", layers.front, "circle", 13, 1.0),
    )
    for name, records, symbol, size, opacity in groups:
        if records:
            _add_points(figure, name, records, layers, colours, symbol=symbol, size=size, opacity=opacity)
    _finish(figure, result, layers)
    return figure


def _add_line(
    figure: Any, name: str, line: Sequence[TrialRecord], budget: float, style: dict[str, Any]
) -> None:
    xs, ys = staircase(line, budget)
    figure.add_scatter(
        x=xs,
        y=[100 * y for y in ys],
        mode="lines",
        name=name,
        line=style,
        hoverinfo="skip",
        showlegend=bool(xs),
    )


def _add_points(
    figure: Any,
    name: str,
    records: Sequence[TrialRecord],
    layers: Layers,
    colours: dict[str, str],
    *,
    symbol: str,
    size: int,
    opacity: float,
) -> None:
    places = [layers.place(record) for record in records]
    open_symbol = symbol.endswith("open")
    figure.add_scatter(
        x=[x for x, _ in places],
        y=[100 * y for _, y in places],
        mode="markers",
        name=name,
        opacity=opacity,
        marker={
            "symbol": symbol,
            "size": size,
            "color": [colours[record.architecture.backbone] for record in records],
            "line": {"width": 2} if open_symbol else {"width": 1, "color": "white"},
        },
        text=[_hover(record) for record in records],
        customdata=[record.id for record in records],
        hovertemplate="%{text}<extra></extra>",
    )


def _finish(figure: Any, result: SearchResult, layers: Layers) -> None:
    """Axes, the budget's line, names of the yardsticks, and a key of the backbones' colours."""
    for backbone, colour in backbone_colours(result).items():
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=html.escape(backbone),
            marker={"color": colour, "size": 10},
        )
    budget = result.budget_gflops
    figure.add_vline(x=budget, line={"color": _INK, "width": 1.5, "dash": "dot"})
    figure.add_annotation(
        x=budget, y=0.02, yref="paper", text=f"budget {budget:g}", showarrow=False, xanchor="left", xshift=6
    )
    for label in place_labels(result, layers):
        x, y = layers.place(label.record)
        text = html.escape(label.text)
        figure.add_annotation(
            x=x,
            y=100 * y,
            text=text if label.record.yardstick else f"<b>{text}</b>",
            showarrow=False,
            xanchor=label.anchor,
            xshift=_WIDTH * label.dx,
            yshift=_HEIGHT * label.dy,
        )
    axis = {"gridcolor": "#e4e8ec", "zeroline": False, "linecolor": _MUTED, "ticks": "outside"}
    figure.update_layout(
        template="none",
        height=620,
        margin={"l": 70, "r": 20, "t": 20, "b": 60},
        font={"family": "system-ui, sans-serif", "size": 13, "color": _INK},
        xaxis={**axis, "title": "GFLOPs of the target network (10<sup>9</sup> multiply-adds)"},
        yaxis={**axis, "title": "accuracy of the proxy, % of validation images"},
        hoverlabel={"bgcolor": "white", "align": "left"},
        legend={"orientation": "h", "y": -0.14},
    )
    figure.update_xaxes(range=[layers.left, layers.right])
    figure.update_yaxes(range=[100 * layers.low, 100 * layers.high])
