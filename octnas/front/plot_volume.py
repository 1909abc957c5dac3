"""The interactive picture of the hypervolume by trial, drawn by Plotly."""

from __future__ import annotations

import html
from typing import Any

from octnas.front.describe import trial_label
from octnas.front.palette import INK, MUTED
from octnas.front.plot_style import AXIS, FONT
from octnas.front.result import SearchResult
from octnas.front.volume import volume_curve

__all__ = ["volume_figure"]

_HEIGHT = 250


def volume_figure(result: SearchResult) -> Any:
    """Hypervolume by trial as a staircase, above what the yardsticks reach without any candidate."""
    import plotly.graph_objects as go

    curve = volume_curve(result)
    figure = go.Figure()
    if curve.yardsticks:
        figure.add_hline(
            y=curve.yardsticks,
            line={"color": MUTED, "width": 1.5, "dash": "dash"},
            annotation={"text": f"yardsticks alone {curve.yardsticks:.4f}", "font": {"size": 12}},
            annotation_position="bottom right",
        )
    figure.add_scatter(
        x=[point.number for point in curve.points],
        y=[point.volume for point in curve.points],
        mode="lines+markers",
        line={"color": INK, "width": 2, "shape": "hv"},
        marker={
            "size": 7,
            "color": INK,
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
        height=_HEIGHT,
        margin={"l": 74, "r": 16, "t": 30, "b": 48},
        font=FONT,
        xaxis={**AXIS, "title": "complete trials (diamonds: yardsticks)"},
        yaxis={**AXIS, "title": "hypervolume"},
        hoverlabel={"bgcolor": "white", "align": "left", "font": FONT},
    )
    figure.update_xaxes(range=[0, 1.02 * len(result.hypervolume_by_trial)], title_font_size=13)
    figure.update_yaxes(range=[curve.low, curve.high], title_font_size=13)
    return figure
