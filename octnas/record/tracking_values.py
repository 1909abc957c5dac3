"""What is told to a tracking store of a trial and of a front: plain values, no library."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from octnas.record.runs import SearchHeader
from octnas.record.spread import on_test, on_validation
from octnas.record.trial import EpochScore, TrialRecord

__all__ = [
    "FrontReport",
    "Value",
    "architecture_params",
    "curves",
    "record_tags",
    "record_values",
    "search_identity",
    "search_params",
    "search_tags",
    "seed_values",
    "values_at",
]

_CURVES = ("accuracy", "loss", "train_loss", "images_per_second")
_PROFILE = ("device", "runtime", "threads", "batch")
"""What is told of the profile that predicts a search's latencies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontReport:
    """What a search's run shows of its front; `octnas.front.report` makes it.

    `note` is Markdown, `finished` the number of finished trials, `files` the artifacts by name.
    `hypervolumes` is the hypervolume once the first, second ... complete trial was there, `claim` the figures
    of what was confirmed by metric's name (empty where nothing was), `outcome` what they amount to, `shared`
    the figures of shared weights by metric's name (empty without any). `front` are the ids of its members.
    """

    note: str
    hypervolume: float
    front_size: int
    finished: int
    files: Mapping[str, str | bytes]
    hypervolumes: tuple[float, ...] = ()
    claim: Mapping[str, float] = field(default_factory=dict)
    shared: Mapping[str, float] = field(default_factory=dict)
    outcome: str | None = None
    front: tuple[str, ...] = ()


class Value(NamedTuple):
    """One number of a run: its name, itself, when (ms since 1970), and at which step."""

    name: str
    value: float
    at: int
    step: int


def architecture_params(record: TrialRecord) -> dict[str, Any]:
    """Backbone, its dimensions, and alphas: every layer's in one parameter, and each stage's mean to sort and
    filter by."""
    architecture = record.architecture
    stages: dict[int, list[float]] = {}
    for slot, alpha in zip(architecture.table().slots, architecture.alphas, strict=True):
        stages.setdefault(slot.stage, []).append(alpha)
    return {
        "backbone": architecture.backbone,
        "dims": architecture.dims,
        "downsample": architecture.downsample,
        "alphas": " | ".join(" ".join(f"{alpha:.3g}" for alpha in alphas) for alphas in stages.values()),
        **{f"alpha.stage{stage}": f"{sum(alphas) / len(alphas):.4g}" for stage, alphas in stages.items()},
    }


def search_params(header: SearchHeader) -> dict[str, Any]:
    """What a search was asked for: budgets in 10^9 multiply-adds and in ms of predicted latency, the proxy's
    input, such as "1x32x32" or "1x4x20x20" of clips, and where its trials' weights come from."""
    return {
        "space": header.space,
        "budget_gflops": header.budget_gflops,
        "budget_ms": header.budget_ms,
        "objective": header.objective,
        "trials": header.trials,
        "max_minutes": header.max_minutes,
        "sampler": header.sampler,
        "seed": header.seed,
        "data": header.data,
        "input": "x".join(map(str, header.options.get("input_shape", ()))) or None,
        "backbone": header.backbone,
        "init": header.options.get("init", "scratch"),
        "score": header.options.get("score"),
        "fine_tune": header.options.get("fine_tune"),
    }


def search_identity(header: SearchHeader) -> dict[str, str]:
    """The tags that no other run than a search's has."""
    return {"octnas.search": header.name, "octnas.kind": "search", "octnas.created": header.created}


def search_tags(header: SearchHeader) -> dict[str, str]:
    """What a search's run is found by, what it ran on, and with which versions."""
    profile = header.profile or {}
    return {
        **search_identity(header),
        "octnas.data_fingerprint": header.data_fingerprint,
        "mlflow.source.name": "octnas search",
        **{f"octnas.{name}": str(profile[name]) for name in _PROFILE if name in profile},
        **{f"octnas.version.{name}": version for name, version in header.versions.items()},
    }


def record_tags(record: TrialRecord) -> dict[str, str]:
    """How a trial stands, in words."""
    seeds = " ".join(str(seed) for seed in record.confirm_seeds)
    return {
        "octnas.state": str(record.state),
        "octnas.within_budget": str(record.within_budget).lower(),
        **({"octnas.reason": record.reason[:4000]} if record.reason else {}),
        **({"octnas.yardstick": record.yardstick} if record.yardstick else {}),
        **({"octnas.confirm_seeds": seeds} if seeds else {}),
    }


def record_values(record: TrialRecord, start: int, only: Collection[int]) -> list[Value]:
    """A trial's numbers, of its curve only the epochs in `only`; those of confirming seeds by their count."""
    values = curves(record.scores, start, only=only)
    values += values_at({"gflops": record.gflops, "params": float(record.params)}, 0, start)
    for name in ("latency_ms", "shared_accuracy"):
        if (known := getattr(record, name)) is not None:
            values += values_at({name: known}, 0, start)
    if record.epochs:
        values += values_at({"seconds": record.seconds}, record.epochs, start)
    if not record.scores and record.accuracy is not None:
        values += values_at({"accuracy": record.accuracy}, record.epochs, start)
    return values + values_at(seed_values(record), len(record.confirm_seeds), start)


def seed_values(record: TrialRecord) -> dict[str, float]:
    """Means and sample standard deviations (0 to 1) over the confirming seeds; empty without any."""
    values: dict[str, float] = {}
    for name, spread in (("accuracy_seed", on_validation(record)), ("test_accuracy", on_test(record))):
        if spread is not None:
            values[f"{name}_mean"] = spread.mean
            if spread.sd is not None:
                values[f"{name}_sd"] = spread.sd
    return values


def curves(scores: Iterable[EpochScore], start: int, only: Collection[int] | None = None) -> list[Value]:
    """The numbers of each epoch, or of the epochs in `only`.

    Times follow from `start` and the scores, so that sending them again changes nothing.
    """
    values: list[Value] = []
    at = float(start)
    for score in scores:
        at += 1000 * score.seconds
        if only is None or score.epoch in only:
            values += [Value(name, float(getattr(score, name)), int(at), score.epoch) for name in _CURVES]
    return values


def values_at(values: Mapping[str, float], step: int, at: int) -> list[Value]:
    """Several numbers at one step and time."""
    return [Value(name, float(value), at, step) for name, value in values.items()]
