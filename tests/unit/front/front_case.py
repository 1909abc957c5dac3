"""Small results for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from octnas.architecture import Architecture
from octnas.front import SearchResult
from octnas.record import EpochScore, Objective, SearchHeader, TrialRecord, TrialState


def trial(
    trial_id: str,
    gflops: float,
    accuracy: float | None,
    *,
    budget: float = 2.0,
    state: TrialState = TrialState.COMPLETE,
    backbone: str = "resnet18",
    **changes: Any,
) -> TrialRecord:
    scores = ()
    if accuracy is not None:
        values = {"seconds": 2.0, "train_seconds": 1.5, "images_per_second": 800.0}
        scores = (EpochScore(epoch=1, accuracy=accuracy, loss=1.0, train_loss=1.0, **values),)
    return TrialRecord(
        id=trial_id,
        architecture=Architecture.uniform(backbone, alpha="0.25", downsample="pooled"),
        state=state,
        reason="loss is nan in epoch 1" if state is TrialState.FAILED else None,
        gflops=gflops,
        params=11_689_512,
        accuracy=accuracy,
        epochs=len(scores),
        scores=scores,
        within_budget=gflops <= budget,
        **changes,
    )


def result(
    *records: TrialRecord, budget: float | None = 2.0, name: str = "first", **changes: Any
) -> SearchResult:
    header = SearchHeader(
        name=name,
        space="imagenet-2d",
        space_yaml="",
        budget_gflops=budget,
        trials=len(records),
        seed=0,
        data="glyphs",
        **changes,
    )
    return SearchResult(header=header, records=records)


def whole() -> SearchResult:
    """A search with a member of every kind."""
    return result(
        trial("0", 1.4, 0.90, yardstick="uniform-0.25"),
        trial("1", 1.9, 0.91, yardstick="uniform-0.75", backbone="resnet34"),
        trial("2", 4.0, 0.95, yardstick="plain-pooled", backbone="resnet50"),
        trial("3", 1.8, 0.905, yardstick="plain"),
        trial("4", 1.2, 0.89),
        trial("5", 1.7, 0.93, backbone="resnet34"),
        trial("6", 1.75, 0.92),
        trial("7", 1.0, 0.50, state=TrialState.STOPPED),
        trial("8", 1.1, None, state=TrialState.FAILED),
        trial("9", 1.3, 0.88, state=TrialState.RUNNING),
    )


def seeded(record: TrialRecord, accuracies: Sequence[float], test: Sequence[float] = ()) -> TrialRecord:
    """The record after trainings with seeds 1000, 1001 ..., their test accuracies where there are some."""
    for number, accuracy in enumerate(accuracies):
        record = record.with_seed(1000 + number, accuracy, test[number] if test else None)
    return record


def confirmed() -> SearchResult:
    """`whole` with three further seeds for trial 5 and uniform-0.75, 1.5 points apart on test images."""
    seeds = {
        "1": ((0.903, 0.904, 0.908), (0.895, 0.893, 0.894)),
        "5": ((0.919, 0.920, 0.921), (0.908, 0.910, 0.909)),
    }
    records = (seeded(each, *seeds[each.id]) if each.id in seeds else each for each in whole().records)
    return result(*records)


PROFILE = {
    "device": "a processor, 2 cores",
    "runtime": "onnxruntime",
    "threads": 1,
    "batch": 1,
    "digest": "ab",
}
PLAIN_MS = {"resnet18": 13.0, "resnet34": 21.5, "resnet50": 30.0}
"""Trials 4 and 5 of `timed` are slower than these."""

_MS = (12.5, 20.0, 30.0, 13.0, 14.0, 22.0, 11.0, 9.0, 10.5, 12.0)


def timed(
    objective: Objective = "latency",
    *,
    gflops: float | None = None,
    ms: float | None = 24.0,
    profile: dict[str, Any] = PROFILE,
    of: SearchResult | None = None,
    **options: Any,
) -> SearchResult:
    """`whole`, or `of`, with latencies, under these budgets; trial 4 is slower than uniform-0.25 here."""
    found = of or whole()
    records = [
        replace(
            each,
            latency_ms=latency,
            within_budget=(gflops is None or each.gflops <= gflops) and (ms is None or latency <= ms),
        )
        for each, latency in zip(found.records, _MS, strict=True)
    ]
    return result(
        *records,
        budget=gflops,
        budget_ms=ms,
        objective=objective,
        profile=profile,
        options={"plain_latency_ms": PLAIN_MS, **options},
    )


def mixed() -> SearchResult:
    """A search of clips with 2D and 3D backbones, a deep one among them; the best candidate is 3D."""
    return result(
        trial("0", 0.9, 0.45, yardstick="uniform-0.25"),
        trial("1", 1.9, 0.90, yardstick="uniform-0.75", backbone="i3d_resnet18"),
        trial("2", 4.0, 0.95, yardstick="plain-pooled", backbone="i3d_resnet18"),
        trial("3", 0.8, 0.44),
        trial("4", 1.2, 0.46, backbone="resnet152"),
        trial("5", 1.6, 0.93, backbone="i3d_resnet18"),
        trial("6", 1.75, 0.47),
        trial("7", 1.7, 0.85, backbone="i3d_resnet18"),
        trial("8", 1.1, 0.30, backbone="i3d_resnet18", state=TrialState.STOPPED),
        trial("9", 1.3, 0.42, state=TrialState.STOPPED),
        options={"input_shape": [1, 4, 20, 20]},
    )
