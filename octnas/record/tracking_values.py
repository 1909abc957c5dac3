"""What is told to a tracking store of a trial and of a front: plain values, no library."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from octnas.record.runs import SearchHeader
from octnas.record.trial import EpochScore, TrialRecord

__all__ = ["FrontReport", "Value", "architecture_params", "curves", "search_params", "values_at"]

_CURVES = ("accuracy", "loss", "train_loss", "images_per_second")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontReport:
    """What a search's run shows of its front; `octnas.front.report` makes it.

    `note` is Markdown, `finished` the number of finished trials, `files` the artifacts by name.
    """

    note: str
    hypervolume: float
    front_size: int
    finished: int
    files: Mapping[str, str | bytes]


class Value(NamedTuple):
    """One number of a run: its name, itself, when (ms since 1970), and at which step."""

    name: str
    value: float
    at: int
    step: int


def architecture_params(record: TrialRecord) -> dict[str, Any]:
    """Backbone and alphas: every layer's in one parameter, and each stage's mean to sort and filter by."""
    architecture = record.architecture
    stages: dict[int, list[float]] = {}
    for slot, alpha in zip(architecture.table().slots, architecture.alphas, strict=True):
        stages.setdefault(slot.stage, []).append(alpha)
    return {
        "backbone": architecture.backbone,
        "downsample": architecture.downsample,
        "alphas": " | ".join(" ".join(f"{alpha:.3g}" for alpha in alphas) for alphas in stages.values()),
        **{f"alpha.stage{stage}": f"{sum(alphas) / len(alphas):.4g}" for stage, alphas in stages.items()},
    }


def search_params(header: SearchHeader) -> dict[str, Any]:
    """What a search was asked for."""
    return {
        "space": header.space,
        "budget_gflops": header.budget_gflops,
        "trials": header.trials,
        "max_minutes": header.max_minutes,
        "sampler": header.sampler,
        "seed": header.seed,
        "data": header.data,
        "backbone": header.backbone,
    }


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
