"""The front page's data: JSON values in columns, one entry a trial, so that thousands of them stay small."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from octnas.front.axis import milliseconds, samples
from octnas.front.describe import percent, stages, start_words, units
from octnas.front.layers import BACKBONE_COLOURS, backbone_colours, backbone_names, sort_layers
from octnas.front.page.architectures import drawn_backbones
from octnas.front.page.axes import against, axis_documents, objectives
from octnas.front.page.insight import layers_document, survival
from octnas.front.result import SearchResult
from octnas.front.verdict import seeds_line
from octnas.front.volume import volume_curve
from octnas.record import SharedScore, TrialRecord, TrialState
from octnas.record.links import RunLinks
from octnas.record.spread import on_validation

__all__ = ["MOST_DRAWN", "document", "drawn_trials"]

MOST_DRAWN = 10_000
"""Trials of a search that the page holds; of more the front, the yardsticks, what is confirmed or trained in
full, and then the latest."""

_STATES = tuple(TrialState)


def drawn_trials(result: SearchResult) -> list[TrialRecord]:
    """The trials that the page holds, in the order in which they started."""
    if len(result.records) <= MOST_DRAWN:
        return list(result.records)
    wanted = {each.id for each in result.front} | {each.trial_id for each in result.trainings}
    for objective in objectives(result):
        wanted |= {each.id for each in against(result, objective).front}
    first = {each.id for each in result.records if each.yardstick or each.confirm_seeds or each.id in wanted}
    room = MOST_DRAWN - len(first)
    latest = [each.id for each in reversed(result.records) if each.id not in first][: max(0, room)]
    kept = first.union(latest)
    return [each for each in result.records if each.id in kept]


def document(results: Sequence[SearchResult], links: Mapping[str, RunLinks]) -> dict[str, Any]:
    """All that the page's code draws from; `links` are by the searches' names."""
    return {
        "states": [str(state) for state in _STATES],
        "searches": [
            _search(result, index, links.get(result.name), several=len(results) > 1)
            for index, result in enumerate(results)
        ],
    }


def _search(result: SearchResult, index: int, links: RunLinks | None, *, several: bool) -> dict[str, Any]:
    records = drawn_trials(result)
    places = {record.id: place for place, record in enumerate(records)}
    backbones, of, choices = drawn_backbones([each.architecture for each in records], result.header)
    colours, names = backbone_colours(result), backbone_names(result)
    return {
        "name": result.name,
        "colour": BACKBONE_COLOURS[index % len(BACKBONE_COLOURS)] if several else None,
        "objective": result.objective,
        "axes": axis_documents(result, places),
        "accuracy": f"accuracy of the proxy, % of validation {samples(result.header)}",
        "proxy": f"of the proxy{start_words(result.header)}",
        "units": units(result.header),
        "mixed": result.mixed,
        "noise": result.noise_points,
        "backbones": [
            {**each.to_dict(), "label": names[each.name], "colour": colours[each.name]} for each in backbones
        ],
        "trials": {
            "id": [each.id for each in records],
            "yardstick": [each.yardstick for each in records],
            "backbone": of,
            "state": [_STATES.index(each.state) for each in records],
            "gflops": [_short(each.gflops) for each in records],
            "latency": [_short(each.latency_ms) for each in records] if result.timed else None,
            "accuracy": [_short(each.accuracy) for each in records],
            "epochs": [each.epochs for each in records],
            "seconds": [round(each.seconds, 1) for each in records],
            "params": [each.params for each in records],
            "layers": choices,
            **_of_some(result, records),
        },
        "volume": _volume(result, places),
        "wanted": layers_document(result, backbones),
        "survival": survival(result.records),
        "spans": _spans(result, places),
        "work": _work(result),
        "cloud": _cloud(result, colours),
        "links": None if links is None else _links(links, records),
    }


def _of_some(result: SearchResult, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """What few trials have, by their index."""
    places = {record.id: place for place, record in enumerate(records)}
    bars = {place: on_validation(each) for place, each in enumerate(records)}
    full: dict[int, list[list[Any]]] = {}
    for each in result.trainings:
        if each.trial_id in places:
            row = [each.scale, each.epochs, _short(each.accuracy), _short(each.test_accuracy)]
            full.setdefault(places[each.trial_id], []).append(row)
    return {
        "reason": {place: each.reason for place, each in enumerate(records) if each.reason},
        "downsample": {
            place: each.architecture.downsample
            for place, each in enumerate(records)
            if each.architecture.downsample != "pooled"
        },
        "slower": [place for place, each in enumerate(records) if result.slower_than_plain(each)],
        "seeds": {
            place: [_short(bar.mean), _short(bar.sd), bar.count, seeds_line(records[place])]
            for place, bar in bars.items()
            if bar is not None
        },
        "shared": {
            place: _short(each.shared_accuracy)
            for place, each in enumerate(records)
            if each.shared_accuracy is not None
        },
        "full": full,
        "over": [place for place, each in enumerate(records) if not each.within_budget],
    }


def _volume(result: SearchResult, places: Mapping[str, int]) -> dict[str, Any]:
    """Hypervolume by trial: for each drawn trial, and for each that raised it, its index, its number and the
    volume."""
    curve = volume_curve(result)
    points: list[list[Any]] = []
    before = 0.0
    for each in curve.points:
        if each.record.id in places or each.volume > before:
            points.append([places.get(each.record.id), each.number, _short(each.volume)])
        before = each.volume
    return {
        "points": points,
        "count": len(result.hypervolume_by_trial),
        "yardsticks": _short(curve.yardsticks),
        "range": [curve.low, curve.high],
        "limit": "the budget" if result.budget is not None else result.axis.limit_words,
    }


def _spans(result: SearchResult, places: Mapping[str, int]) -> list[list[Any]]:
    """Of drawn trials: lane, worker, trial, start and end in seconds, ending, and whether it confirms; see
    `Span`."""
    return [
        [
            each.lane,
            each.worker,
            places[each.trial_id],
            round(each.start, 1),
            None if each.end is None else round(each.end, 1),
            each.ending,
            int(each.confirming),
        ]
        for each in result.spans
        if each.trial_id in places
    ]


def _work(result: SearchResult) -> dict[str, float]:
    """Of all spans: how many workers, how many of them at once, until when, and for how long together, in
    seconds."""
    end = max((each.start if each.end is None else each.end for each in result.spans), default=0.0)
    stretches = [(each.start, end if each.end is None else each.end) for each in result.spans]
    return {
        "workers": len({each.lane for each in result.spans}),
        "at_once": _at_once(stretches),
        "end": round(end, 1),
        "busy": round(sum(stop - start for start, stop in stretches), 1),
    }


def _at_once(stretches: Sequence[tuple[float, float]]) -> int:
    """How many of the stretches there were at the same time, at most. One that begins less than a second
    before another ends follows it: a start is reckoned, and may be off by as much."""
    edges = [(start, 1) for start, _ in stretches]
    edges += [(max(start, stop - 1.0), -1) for start, stop in stretches]
    # Of equal times a start counts before an end, so that a stretch without length counts too.
    return max(
        itertools.accumulate(step for _, step in sorted(edges, key=lambda each: (each[0], -each[1]))),
        default=0,
    )


def _cloud(result: SearchResult, colours: Mapping[str, str]) -> dict[str, Any] | None:
    """The shared scores for each axis: cost, accuracy, colour, and what is said of them."""
    if result.shared is None or not result.shared.scores:
        return None
    trained = {each.architecture.digest: each.id for each in result.trials}
    clouds: dict[str, Any] = {}
    for objective in objectives(result):
        drawn = sort_layers(against(result, objective)).cloud
        if drawn is not None:
            clouds[objective] = {
                "name": drawn.name,
                "points": [
                    [
                        _short(cost),
                        _short(each.accuracy),
                        colours[each.architecture.backbone],
                        _score_lines(each, trained.get(each.architecture.digest)),
                    ]
                    for cost, each in zip(drawn.costs, drawn.scores, strict=True)
                ],
            }
    return clouds or None


def _score_lines(score: SharedScore, trained: str | None) -> list[str]:
    """A shared score in few letters: there may be thousands on a page."""
    cost = f"{score.gflops:.3f} GFLOPs"
    if score.latency_ms is not None:
        cost += f", {milliseconds(score.latency_ms)} ms"
    return [
        f"{percent(score.accuracy)} on shared weights",
        "not trained by itself" if trained is None else f"trained as trial {trained}",
        f"{score.architecture.backbone}, {cost}, alphas by stage:",
        *stages(score),
    ]


def _links(links: RunLinks, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Where the search and its trials are seen in MLflow."""
    pages = [links.trial_page(each.id) if each.id in links.trials else None for each in records]
    return {"search": links.search_page, "trials": pages}


def _short(value: float | None) -> float | None:
    """Six digits: what a picture and its figures need."""
    return None if value is None else float(f"{value:.6g}")
