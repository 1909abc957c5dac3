"""Searches of many trials, with random architectures and figures, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from front_case import PROFILE

from octnas.architecture import Architecture
from octnas.front import SearchResult
from octnas.front.spans import Span
from octnas.record import Objective, SearchHeader, TrialRecord, TrialState
from octnas.space import load_space

__all__ = ["many", "random_result", "splits"]


def splits(backbone: str, count: int, seed: int, **changes: Any) -> list[Architecture]:
    """Architectures with random low channels, each layer for itself."""
    rng = np.random.default_rng(seed)
    slots = Architecture.uniform(backbone, alpha=0, **changes).table().slots
    return [
        Architecture(
            backbone=backbone,
            low_channels=tuple(
                int(each.multiple * rng.integers(0, each.channels // each.multiple + 1)) for each in slots
            ),
            **changes,
        )
        for _ in range(count)
    ]


def random_result(
    seed: int,
    *,
    count: int = 60,
    objective: Objective = "gflops",
    gflops: float | None = 2.0,
    ms: float | None = None,
) -> SearchResult:
    """Trials of all kinds, with costs and accuracies on a coarse grid, so that many are equal."""
    rng = np.random.default_rng(seed)
    others = (TrialState.STOPPED, TrialState.RUNNING, TrialState.PAUSED, TrialState.FAILED)
    states = (*[TrialState.COMPLETE] * 4, *others)
    records = []
    for place in range(count):
        state = TrialState.COMPLETE if place < 6 else states[int(rng.integers(len(states)))]
        yardstick = ("uniform-0.25", "uniform-0.5", "plain-pooled", "plain")[place] if place < 4 else None
        cost = float(rng.integers(2, 13)) / 5
        latency = float(int(8 * cost) + rng.integers(2, 10))
        within = (gflops is None or cost <= gflops) and (ms is None or latency <= ms)
        if yardstick is None and not within:
            cost, latency, within = cost / 2, latency / 2, True
        backbone = ("resnet18", "resnet34")[int(rng.integers(2))]
        records.append(
            TrialRecord(
                id=str(place),
                architecture=Architecture.uniform(
                    backbone, alpha=("0", "0.25", "0.5")[place % 3], downsample="pooled"
                ),
                state=state,
                gflops=cost,
                latency_ms=latency,
                params=1_000_000 + place,
                accuracy=None if state is TrialState.FAILED else _accuracy(cost, rng),
                reason="out of memory" if state is TrialState.FAILED else None,
                epochs=int(rng.integers(1, 10)),
                yardstick=yardstick,
                within_budget=within,
            )
        )
    header = SearchHeader(
        name="random",
        space_yaml="",
        budget_gflops=gflops,
        budget_ms=ms,
        objective=objective,
        profile=PROFILE,
        trials=count,
        seed=seed,
        data="glyphs",
        options={"limit": 2.5} if objective == "gflops" else {"limit": 40.0},
    )
    return SearchResult(header=header, records=tuple(records))


def _accuracy(gflops: float, rng: np.random.Generator) -> float:
    """What costs more is better, give or take: a front has several members then."""
    return (4 + int(8 * gflops) + int(rng.integers(4))) / 32


def many(count: int, *, distinct: int = 400) -> SearchResult:
    """A search of `imagenet-2d` under 2 GFLOPs of so many trials; of every `distinct` in a row the
    architectures differ. The first three are yardsticks, trained by eight workers."""
    space = load_space("imagenet-2d")
    feasible, rng = space.feasible(2.0), np.random.default_rng(0)
    sampled = [feasible.sample(rng) for _ in range(min(count, distinct))]
    drawn = [(each, feasible.gflops(each)) for each in sampled]
    yardsticks = {
        0: ("uniform-0.25", feasible.space.uniform("resnet26", "0.25")),
        1: ("uniform-0", feasible.space.uniform("resnet18", 0)),
        2: ("plain-pooled", feasible.space.uniform("resnet50", 0)),
    }
    records: list[TrialRecord] = []
    spans: list[Span] = []
    noise, stopped = rng.standard_normal(count), rng.random(count) < 0.5
    for place in range(count):
        architecture, gflops = drawn[place % len(drawn)]
        label = None
        if place in yardsticks:
            label, architecture = yardsticks[place]
            gflops = feasible.gflops(architecture)
        ended = bool(stopped[place]) and label is None
        epochs = (1, 3)[place % 2] if ended else 9
        records.append(
            TrialRecord(
                id=str(place + 1),
                architecture=architecture,
                state=TrialState.STOPPED if ended else TrialState.COMPLETE,
                gflops=gflops,
                params=14_000_000,
                accuracy=0.55 + 0.12 * gflops + 0.02 * float(noise[place]) - 0.1 * ended,
                epochs=epochs,
                seconds=5.0 * epochs,
                yardstick=label,
                within_budget=feasible.within(architecture),
                reason=f"outside the best third after epoch {epochs}" if ended else None,
            )
        )
        begin = 50.0 * (place // 8)
        spans.append(
            Span(
                trial_id=str(place + 1),
                start=begin,
                end=begin + 5.0 * epochs,
                ending="stopped" if ended else "complete",
                worker=f"node-{place % 2}/{4711 + place % 8}",
                lane=place % 8,
            )
        )
    header = SearchHeader(
        name="many",
        space="imagenet-2d",
        space_yaml="",
        budget_gflops=2.0,
        trials=count - 3,
        seed=0,
        data="fashion",
        options={"target_input_shape": [3, 224, 224]},
    )
    return SearchResult(header=header, records=tuple(records), spans=tuple(spans))


def with_records(result: SearchResult, records: Sequence[TrialRecord], **options: Any) -> SearchResult:
    """The same search with other trials, and more options in its header."""
    header = replace(result.header, options={**result.header.options, **options})
    return replace(result, header=header, records=tuple(records))
