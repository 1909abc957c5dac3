"""Synthetic searches of any size, for pictures of them: accuracies follow compute as far as
2.5 GFLOPs, less what octaves cost."""

from __future__ import annotations

import numpy as np

from octnas.front import SearchResult
from octnas.front.spans import Span
from octnas.record import SearchHeader, TrialRecord, TrialState
from octnas.space import load_space

__all__ = ["synthetic_search"]

_WORKERS = 8


def synthetic_search(trials: int, *, name: str = "synthetic", seed: int = 0) -> SearchResult:
    """A finished search of `imagenet-2d` under 2 GFLOPs on eight workers: three yardsticks, and candidates of
    which about half were stopped at a rung."""
    space = load_space("imagenet-2d")
    feasible = space.feasible(2.0)
    rng = np.random.default_rng(seed)
    yardsticks = [
        ("uniform-0.25", "resnet26", "0.25"),
        ("uniform-0", "resnet18", 0),
        ("plain-pooled", "resnet50", 0),
    ]
    free = [0.0] * _WORKERS
    records, spans = [], []
    for number in range(trials):
        label, backbone, alpha = yardsticks[number] if number < len(yardsticks) else (None, "", 0)
        architecture = feasible.sample(rng) if label is None else space.uniform(backbone, alpha)
        gflops = feasible.gflops(architecture)
        stopped = label is None and rng.random() < 0.5
        epochs = int(rng.choice([1, 3])) if stopped else 9
        accuracy = 0.6 + 0.12 * min(gflops, 2.5) - 0.03 * float(np.mean(architecture.alphas)) - 0.1 * stopped
        record = TrialRecord(
            id=str(number + 1),
            architecture=architecture,
            state=TrialState.STOPPED if stopped else TrialState.COMPLETE,
            gflops=gflops,
            params=14_000_000,
            accuracy=accuracy + 0.02 * float(rng.standard_normal()),
            epochs=epochs,
            seconds=5.0 * epochs,
            yardstick=label,
            within_budget=feasible.within(architecture),
            reason=f"outside the best 1/3 after epoch {epochs}" if stopped else None,
        )
        worker = int(np.argmin(free))
        start, free[worker] = free[worker], free[worker] + record.seconds * (0.8 + 0.4 * rng.random())
        spans.append(
            Span(
                trial_id=record.id,
                start=start,
                end=free[worker] - 0.5,
                ending="stopped" if stopped else "complete",
                worker=f"node-{worker // 4 + 1}/{4711 + worker}",
                lane=worker,
            )
        )
        records.append(record)
    header = SearchHeader(
        name=name,
        space=space.name,
        space_yaml=space.to_yaml(),
        budget_gflops=2.0,
        trials=trials - len(yardsticks),
        seed=seed,
        data="fashion",
        options={"target_input_shape": [3, 224, 224]},
    )
    return SearchResult(header=header, records=tuple(records), spans=tuple(spans))
