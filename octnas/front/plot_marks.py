"""The marks of the interactive picture, and the keys that say what they mean."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from octnas.front.cloud import Cloud
from octnas.front.describe import SLOWER
from octnas.front.layers import VOLUMETRIC, Layers
from octnas.front.palette import INK, MUTED, SLOWER_COLOUR
from octnas.front.plot_hover import score_hover, trial_hover
from octnas.front.result import SearchResult
from octnas.record import TrialRecord

__all__ = [
    "Mark",
    "add_bars",
    "add_cloud",
    "add_colour_keys",
    "add_keys",
    "add_line",
    "add_points",
    "add_ring",
    "add_slower",
    "add_volumetric",
]

_FAINT = 0.25
"""Opacity of a shared score."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How one group of trials is drawn."""

    name: str
    records: Sequence[TrialRecord]
    symbol: str
    size: int
    opacity: float = 1.0
    line: Mapping[str, Any] | None = None


def add_line(
    figure: Any, group: str, corners: tuple[list[float], list[float]], style: dict[str, Any]
) -> None:
    """A staircase, through corners (costs, accuracies)."""
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


def add_points(
    figure: Any, mark: Mark, layers: Layers, colours: Mapping[str, str], result: SearchResult
) -> None:
    """One group of trials."""
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
        text=[trial_hover(record, layers, result) for record in mark.records],
        customdata=[record.id for record in mark.records],
        hovertemplate="%{text}<extra></extra>",
    )


def add_cloud(figure: Any, cloud: Cloud, colours: Mapping[str, str], result: SearchResult) -> None:
    """Shared scores as faint dots, each in its backbone's colour, and their key."""
    trained = {each.architecture.digest: each.id for each in result.trials}
    figure.add_scatter(
        x=[round(cost, 4) for cost in cloud.costs],
        y=[round(100 * each.accuracy, 3) for each in cloud.scores],
        mode="markers",
        name=cloud.name,
        legendgroup="cloud",
        showlegend=False,
        opacity=_FAINT,
        marker={
            "symbol": "circle",
            "size": 5,
            "color": [colours[each.architecture.backbone] for each in cloud.scores],
            "line": {"width": 0},
        },
        text=[score_hover(each, trained.get(each.architecture.digest)) for each in cloud.scores],
        hovertemplate="%{text}<extra></extra>",
    )
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=cloud.name,
        legendgroup="cloud",
        legendrank=2100,  # after the keys of all marks
        opacity=0.5,
        marker={"symbol": "circle", "size": 5, "color": MUTED},
    )


def add_volumetric(figure: Any, layers: Layers, colours: Mapping[str, str]) -> None:
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
        marker={"symbol": "cross-thin", "size": 9, "line": {"width": 2, "color": MUTED}},
    )


def add_slower(figure: Any, layers: Layers) -> None:
    """A red ring around each trial that is slower than plain."""
    places = [layers.place(record) for record in layers.slower]
    figure.add_scatter(
        x=[x for x, _ in places],
        y=[100 * y for _, y in places],
        mode="markers",
        name=SLOWER,
        legendrank=2000,  # after the keys of all marks
        cliponaxis=False,
        marker={"symbol": "circle-open", "size": 16, "color": SLOWER_COLOUR, "line": {"width": 2}},
        customdata=[record.id for record in layers.slower],
        hoverinfo="skip",
    )


def add_ring(figure: Any, place: tuple[float, float]) -> None:
    """Around the best candidate."""
    figure.add_scatter(
        x=[place[0]],
        y=[100 * place[1]],
        mode="markers",
        legendgroup="front",
        marker={"symbol": "circle-open", "size": 22, "color": INK, "line": {"width": 1.5}},
        hoverinfo="skip",
        showlegend=False,
    )


def add_bars(figure: Any, layers: Layers, result: SearchResult) -> None:
    """A bar for each confirmed trial, and a thin stroke from it to the trial's single-seed point."""
    places = [layers.place(each.record) for each in layers.confirmed]
    xs = [x for x, _ in places]
    means = [100 * each.mean for each in layers.confirmed]
    figure.add_scatter(
        x=[x for x in xs for _ in range(3)],
        y=[end for (_, y), mean in zip(places, means, strict=True) for end in (100 * y, mean, None)],
        mode="lines",
        legendgroup="bars",
        line={"color": INK, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=xs,
        y=means,
        error_y={
            "type": "data",
            "array": [100 * each.sd for each in layers.confirmed],
            "color": INK,
            "thickness": 1.6,
            "width": 5,
        },
        mode="markers",
        legendgroup="bars",
        showlegend=False,
        marker={"symbol": "line-ew", "size": 14, "line": {"width": 2.5, "color": INK}},
        text=[trial_hover(each.record, layers, result) for each in layers.confirmed],
        customdata=[each.record.id for each in layers.confirmed],
        hovertemplate="%{text}<extra></extra>",
    )


def add_keys(figure: Any, marks: Sequence[Mark], bars_name: str | None) -> None:
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
            marker={"symbol": mark.symbol, "size": min(mark.size, 10), "color": MUTED},
        )
    if bars_name:
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=bars_name,
            legendgroup="bars",
            marker={"symbol": "cross-thin", "size": 12, "line": {"width": 2, "color": INK}},
        )


def add_colour_keys(figure: Any, colours: Mapping[str, str], names: Mapping[str, str]) -> None:
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
