"""What `octnas rank` measured: which architectures, every finished training, every score without training.

A run's `rank.jsonl` is a journal of its own beside the search's, under the same lock:

- {"event": "rank", "schema_version": 1}: the first line
- {"event": "model", "architecture": {...}, "gflops": 1.7, "params": 9, "latency_ms": null, "trial": "3"}:
  an architecture that is compared, and the search's trial of it, if there is one
- {"event": "training", "kind": "full", "digest": "...", "seed": 2000, "epochs": 16, "scores": [...]}: a
  finished training, see `Kind`
- {"event": "value", "digest": "...", "proxy": "synflow", "value": 12.3}: a score without a training
- {"event": "failed", "id": "...", "reason": "..."}: for people; what failed is tried again by the next call
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from octnas.architecture import Architecture
from octnas.errors import RunError
from octnas.record.journal import Journal
from octnas.record.runs import RunFolder
from octnas.record.trial import EpochScore

__all__ = [
    "RANK_VERSION",
    "SHARED",
    "SHARED_LOSS",
    "Kind",
    "Model",
    "Ranked",
    "Training",
    "keep_rank",
    "rank_document",
    "rank_journal",
    "rank_metrics",
    "read_rank",
    "training_event",
]

RANK_VERSION = 1
SHARED = "shared"
"""Proxy's name of the accuracy on shared weights, in events of values."""
SHARED_LOSS = "shared-loss"
"""The same of the validation loss on them."""
_FILE = "rank.jsonl"
_DOCUMENT = "rank.json"

Kind = Literal["scratch", "warm", "full"]
"""scratch: the proxy's training; warm: the short one from given weights; full: the proxy network on all
training data for four times as long, which the proxies are compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An architecture that is compared; its cost is the target network's."""

    architecture: Architecture
    gflops: float
    """10^9 multiply-adds."""
    params: int
    latency_ms: float | None = None
    """As the search's profile predicts it, if it has one."""
    trial: str | None = None
    """The search's trial whose training is taken over."""

    @property
    def digest(self) -> str:
        """The architecture's."""
        return self.architecture.digest

    def to_dict(self) -> dict[str, Any]:
        """The event."""
        return {
            "event": "model",
            "architecture": json.loads(self.architecture.to_json()),
            "gflops": self.gflops,
            "params": self.params,
            "latency_ms": self.latency_ms,
            "trial": self.trial,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Model:
        """The model of an event."""
        return cls(
            architecture=Architecture.from_json(json.dumps(value["architecture"])),
            gflops=float(value["gflops"]),
            params=int(value["params"]),
            latency_ms=None if value.get("latency_ms") is None else float(value["latency_ms"]),
            trial=value.get("trial"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Which training of an architecture this is."""

    kind: Kind
    digest: str
    seed: int
    epochs: int
    """Scores of the whole training."""


@dataclass(slots=True, kw_only=True)
class Ranked:
    """All that is known so far."""

    models: list[Model] = field(default_factory=list)
    """In the order in which they were chosen."""
    trainings: dict[Training, tuple[EpochScore, ...]] = field(default_factory=dict)
    """The scores of each finished training, one for each epoch."""
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    """Scores without a training, by an architecture's digest and the proxy's name."""

    def scores(
        self, kind: Kind, digest: str, seed: int, epochs: int | None = None
    ) -> tuple[EpochScore, ...] | None:
        """The scores of a finished training, None where there is none; of any length where none is given."""
        if epochs is not None:
            return self.trainings.get(Training(kind=kind, digest=digest, seed=seed, epochs=epochs))
        found = [
            scores
            for each, scores in self.trainings.items()
            if (each.kind, each.digest, each.seed) == (kind, digest, seed)
        ]
        return found[-1] if found else None

    def take(self, event: Mapping[str, Any]) -> None:
        """Adds what one line of the journal says."""
        match event["event"]:
            case "model":
                self.models.append(Model.from_dict(event))
            case "training":
                key = Training(
                    kind=event["kind"], digest=event["digest"], seed=event["seed"], epochs=event["epochs"]
                )
                self.trainings[key] = tuple(EpochScore.from_dict(each) for each in event["scores"])
            case "value":
                self.values.setdefault(event["digest"], {})[event["proxy"]] = float(event["value"])


def training_event(training: Training, scores: Iterable[EpochScore]) -> dict[str, Any]:
    """The line of a finished training."""
    return {
        "event": "training",
        "kind": training.kind,
        "digest": training.digest,
        "seed": training.seed,
        "epochs": training.epochs,
        "scores": [score.to_dict() for score in scores],
    }


def rank_journal(run: RunFolder) -> Journal:
    """The journal of a run's ranking; its lock is the run's own, so nothing searches or deletes meanwhile."""
    return Journal(run.path / _FILE)


def read_rank(run: RunFolder) -> Ranked:
    """What a run's ranking measured so far; nothing, where there was none.

    Raises:
        RunError: the file cannot be read, is damaged, or was written by a newer version.
    """
    ranked, journal = Ranked(), rank_journal(run)
    if not journal.path.exists():
        return ranked
    for event in journal.read():
        if event["event"] == "rank" and event.get("schema_version") != RANK_VERSION:
            raise RunError(
                f"{journal.path} has schema version {event.get('schema_version')}, this octnas reads "
                f"{RANK_VERSION}; read it with the octnas that wrote it"
            )
        ranked.take(event)
    return ranked


def keep_rank(run: RunFolder, document: Mapping[str, Any], picture: bytes) -> tuple[Path, Path]:
    """Writes what a ranking reports, and its picture, beside the search; returns where.

    Raises:
        RunError: the folder cannot be written.
    """
    file, image = run.path / _DOCUMENT, run.path / "rank.png"
    try:
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        image.write_bytes(picture)
    except OSError as error:
        raise RunError(
            f"cannot write {run.path}: {error.strerror}; free space or permit writing there"
        ) from None
    return file, image


def rank_metrics(document: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a ranking by metric's name, for a tracking store; what is not defined is left out."""
    names = ("ceiling", "ceiling_spearman", "noise_points", "signal_points")
    values: dict[str, float | None] = {name: document[name] for name in names}
    for proxy, found in document["proxies"].items():
        for name in ("tau", "spearman"):
            values[f"{name}/{proxy}"] = found[name]
            low, high = found[f"{name}_interval"] or (None, None)
            values |= {f"{name}_low/{proxy}": low, f"{name}_high/{proxy}": high}
    return {name: value for name, value in values.items() if value is not None}


def rank_document(run: RunFolder) -> dict[str, Any] | None:
    """What the last `octnas rank` of a run reported; None where there was none, or it cannot be read."""
    try:
        document = json.loads((run.path / _DOCUMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and "proxies" in document else None
