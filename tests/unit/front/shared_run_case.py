"""The journal of a search that began with shared weights, written line by line as a search would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from octnas.architecture import Architecture
from octnas.record import (
    EpochScore,
    RunFolder,
    SearchHeader,
    SharedScore,
    TrialRecord,
    TrialState,
)
from octnas.space import Feasible, load_space

BASES = {"resnet18": 0.62, "resnet26": 0.70, "resnet34": 0.68, "resnet50": 0.66}
PREDICTOR = {
    "scored": 800,
    "tau": 0.71,
    "tau_interval": [0.68, 0.74],
    "noise": 0.05,
    "baseline": 0.52,
    "useful": True,
    "ranked": 19_612,
    "chosen": [],
}


def shared_run(
    *,
    name: str = "shared",
    scores: int = 300,
    trials: int = 16,
    noise: float = 0.006,
    offset: float = -0.04,
    predictor: Mapping[str, Any] | None = PREDICTOR,
    **options: Any,
) -> RunFolder:
    """A finished search of `imagenet-2d` under 2 GFLOPs: three supernets and one that was dropped, shared
    scores spread over costs, yardsticks, and trials that the scores chose.

    Args:
        noise: standard deviation of a shared score, and of a training, around what an architecture is worth.
        offset: of shared scores from trained accuracies.
    """
    space = load_space("imagenet-2d")
    feasible = space.feasible(2.0)
    rng = np.random.default_rng(0)
    header = SearchHeader(
        name=name,
        space=space.name,
        space_yaml=space.to_yaml(),
        budget_gflops=2.0,
        trials=trials,
        seed=0,
        data="glyphs",
        sampler="thompson",
        options={"init": "shared", "score": scores, "fine_tune": None, "supernet_of": None, **options},
    )
    run = RunFolder.create(name, header)
    run.journal.release()
    found = _scored(feasible, scores, offset, noise, rng)
    lines = [*_supernets(), *(each.to_event() for each in found)]
    if predictor is not None:
        lines.append({"event": "predictor", **predictor})
    lines += [
        {"event": "trial", "trial": record.to_dict()}
        for record in _trials(feasible, found, trials, noise, rng)
    ]
    _append(run.journal.path, [*lines, {"event": "end", "state": "complete"}])
    return RunFolder.open(name)


def worth(architecture: Architecture, feasible: Feasible) -> float:
    """More compute is better, and an octave in the first stages better than one in the last."""
    alphas = [
        alpha * (slot.stage - 1)
        for slot, alpha in zip(architecture.table().slots, architecture.alphas, strict=True)
    ]
    return BASES[architecture.backbone] + 0.06 * feasible.gflops(architecture) - 0.05 * float(np.mean(alphas))


def score(epoch: int, accuracy: float, seconds: float = 9.5) -> EpochScore:
    return EpochScore(
        epoch=epoch,
        accuracy=accuracy,
        loss=1.2,
        train_loss=1.3,
        seconds=seconds,
        train_seconds=0.9 * seconds,
        images_per_second=640.0,
    )


def _supernets() -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for name, base in BASES.items():
        epochs = 2 if name == "resnet50" else 8
        for epoch in range(1, epochs + 1):
            reached = base * (0.5 + 0.5 * epoch / 8)
            lines.append(
                {"event": "supernet", "backbone": name, "score": score(epoch, reached, 11.5).to_dict()}
            )
        dropped = name == "resnet50"
        lines.append(
            {
                "event": "supernet-end",
                "backbone": name,
                "state": "dropped" if dropped else "complete",
                "reason": "its 12 probes are all below the front of the other backbones" if dropped else None,
                "seconds": 11.5 * epochs,
            }
        )
    return lines


def _scored(
    feasible: Feasible, count: int, offset: float, noise: float, rng: np.random.Generator
) -> list[SharedScore]:
    names = [name for name in feasible.backbones if name != "resnet50"]
    drawn = dict.fromkeys(feasible.sample(rng, names[i % len(names)]) for i in range(2 * count))
    scored = list(drawn)[:count]
    accuracies = [worth(each, feasible) + offset + noise * float(rng.standard_normal()) for each in scored]
    apart = np.random.default_rng(0).normal(0, 0.005, count)
    return [
        SharedScore(
            architecture=each,
            accuracy=accuracy,
            loss=2 - accuracy + float(more),
            gflops=feasible.gflops(each),
        )
        for each, accuracy, more in zip(scored, accuracies, apart, strict=False)
    ]


def _trials(
    feasible: Feasible, scores: Sequence[SharedScore], count: int, noise: float, rng: np.random.Generator
) -> list[TrialRecord]:
    """Yardsticks, then the best shared scores at costs from cheap to dear."""
    records = [
        _trial("0", feasible.space.uniform("resnet26", "0.25"), None, "uniform-0.25", feasible, noise, rng),
        _trial("1", feasible.space.uniform("resnet18", 0), None, "uniform-0", feasible, noise, rng),
        _trial("2", feasible.space.uniform("resnet50", 0), None, "plain-pooled", feasible, noise, rng),
    ]
    by_cost = sorted(scores, key=lambda each: each.gflops or 0.0)
    for place, part in enumerate(np.array_split(np.arange(len(by_cost)), max(1, count))):
        if count:
            best = max((by_cost[i] for i in part), key=lambda each: each.accuracy)
            label = str(len(records))
            records.append(_trial(label, best.architecture, best.accuracy, None, feasible, noise, rng))
            if place % 5 == 4:
                records[-1] = records[-1].with_state(TrialState.STOPPED, "outside the best at a rung")
    return records


def _trial(
    trial_id: str,
    architecture: Architecture,
    shared: float | None,
    yardstick: str | None,
    feasible: Feasible,
    noise: float,
    rng: np.random.Generator,
) -> TrialRecord:
    record = TrialRecord(
        id=trial_id,
        architecture=architecture,
        state=TrialState.RUNNING,
        gflops=feasible.gflops(architecture),
        params=14_000_000,
        yardstick=yardstick,
        within_budget=feasible.within(architecture),
        shared_accuracy=shared,
    )
    last = worth(architecture, feasible) + noise * float(rng.standard_normal())
    for epoch in range(1, 5):
        record = record.with_score(score(epoch, last * (0.6 + 0.1 * epoch)))
    return record.with_state(TrialState.COMPLETE)


def _append(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({**line, "time": 1.0}) + "\n" for line in lines)
