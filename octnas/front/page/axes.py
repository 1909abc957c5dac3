"""A search against one cost, as the page draws it: groups, lines, range and labels.

The cost that the search weighed comes first. Where latencies are known the page can switch to the other one:
front, groups and lines are then found anew by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from octnas.front.axis import Axis, budget_note
from octnas.front.labels import label_text
from octnas.front.layers import Layers, sort_layers, staircase
from octnas.front.result import SearchResult
from octnas.record import Objective, TrialRecord

__all__ = ["GROUPS", "against", "axis_documents", "objectives"]

GROUPS = ("front", "dominated", "early", "uniform", "plain", "over")
"""What a trial is on an axis; its index is what the page holds, -1 for a trial without an accuracy."""

_DEVICE_LETTERS = 90


def objectives(result: SearchResult) -> tuple[Objective, ...]:
    """The costs that the page can draw, the search's own first."""
    if result.objective == "latency":
        return ("latency", "gflops")
    timed = bool(result.records) and all(each.latency_ms is not None for each in result.records)
    return ("gflops", "latency") if timed else ("gflops",)


def against(result: SearchResult, objective: Objective) -> SearchResult:
    """The same trials, weighed against a cost."""
    if objective == result.objective:
        return result
    options = {key: value for key, value in result.header.options.items() if key != "limit"}
    return replace(result, header=replace(result.header, objective=objective, options=options))


def axis_documents(result: SearchResult, places: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """JSON values of each axis, by objective.

    Args:
        places: the index of each drawn trial, by its id; others are left out.
    """
    return {each: _document(against(result, each), places) for each in objectives(result)}


def _document(result: SearchResult, places: Mapping[str, int]) -> dict[str, Any]:
    layers, axis = sort_layers(result), result.axis
    return {
        "unit": axis.unit,
        "title": axis.title,
        "below": axis.title_lines(_DEVICE_LETTERS),
        "budget": result.budget,
        "note": budget_note(result.header),
        "limit": result.limit,
        "range": [layers.left, layers.right, layers.low, layers.high],
        "groups": _groups(layers, places),
        "front": _corners(layers.front_line, result.limit, axis),
        "uniform": _corners(layers.uniform_line, result.limit, axis),
        "best": None if result.best is None else places.get(result.best.id),
        "early": layers.early_name,
        "members": [places[each.id] for each in layers.front_line if each.id in places],
        "labels": [
            [places[each.id], label_text(each, layers)] for each in layers.named(result) if each.id in places
        ],
    }


def _groups(layers: Layers, places: Mapping[str, int]) -> list[int]:
    groups = [-1] * len(places)
    members = (layers.front, layers.dominated, layers.early, layers.uniform, layers.plain, layers.over)
    for index, records in enumerate(members):
        for record in records:
            if record.id in places:
                groups[places[record.id]] = index
    return groups


def _corners(line: Sequence[TrialRecord], limit: float, axis: Axis) -> list[list[float]]:
    """The corners of a staircase, (cost, accuracy)."""
    return [list(corner) for corner in zip(*staircase(line, limit, axis), strict=True)]
