"""What a journal tells of shared weights: the training of each backbone's supernet, and the scores on it.

A shared score is the accuracy of one architecture on the weights that all of its backbone share, with
batch-norm statistics of its own. It is no trained accuracy, and no trial's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from octnas.architecture import Architecture

__all__ = [
    "SharedScore",
    "SupernetRecord",
    "SupernetState",
    "predictions",
    "shared_scores",
    "supernets",
    "unscored_event",
]

SupernetState = Literal["running", "complete", "dropped", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedScore:
    """One architecture on its backbone's shared weights; on validation images."""

    architecture: Architecture
    """The target's."""
    accuracy: float
    """0 to 1."""
    loss: float
    """Mean cross-entropy."""
    gflops: float | None = None
    """10^9 multiply-adds of the target; None in journals that do not tell."""
    latency_ms: float | None = None
    """Predicted for the target, as for a trial; None where the search has no profile of a device."""

    def to_event(self) -> dict[str, Any]:
        """The journal's line."""
        known = {"accuracy": self.accuracy, "loss": self.loss, "gflops": self.gflops}
        timed = {} if self.latency_ms is None else {"latency_ms": self.latency_ms}
        return {**_event(self.architecture), **known, **timed}


@dataclass(frozen=True, kw_only=True, slots=True)
class SupernetRecord:
    """Where the training of one backbone's shared weights stands."""

    backbone: str
    state: SupernetState
    reason: str | None = None
    """Why it was dropped, why it failed, or what cut a complete one short."""
    epochs: int = 0
    """Scored epochs."""
    accuracy: float | None = None
    """Of the plain network after the last of them, 0 to 1; None before the first."""
    seconds: float = 0.0
    """Wall-clock of the training, with its validations."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "backbone": self.backbone,
            "state": self.state,
            "reason": self.reason,
            "epochs": self.epochs,
            "accuracy": self.accuracy,
            "seconds": round(self.seconds, 3),
        }


def unscored_event(architecture: Architecture, reason: str) -> dict[str, Any]:
    """The journal's line on an architecture that could not be scored."""
    return {**_event(architecture), "accuracy": None, "loss": None, "reason": reason}


def _event(architecture: Architecture) -> dict[str, Any]:
    return {"event": "shared", "architecture": json.loads(architecture.to_json())}


def shared_scores(events: Iterable[Mapping[str, Any]]) -> list[SharedScore]:
    """The shared scores of a journal, in the order of its lines; of one architecture the first."""
    scores: dict[str, SharedScore] = {}
    for event in events:
        if event["event"] == "shared" and event["accuracy"] is not None:
            architecture = Architecture.from_json(json.dumps(event["architecture"]))
            score = SharedScore(
                architecture=architecture,
                accuracy=float(event["accuracy"]),
                loss=float(event["loss"]),
                gflops=event.get("gflops"),
                latency_ms=event.get("latency_ms"),
            )
            scores.setdefault(architecture.digest, score)
    return list(scores.values())


def supernets(events: Iterable[Mapping[str, Any]]) -> list[SupernetRecord]:
    """The supernets of a journal, in the order in which they were first heard of."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["event"] == "supernet":
            known = found.setdefault(event["backbone"], {"state": "running", "scores": {}})
            known["scores"][int(event["score"]["epoch"])] = event["score"]
        elif event["event"] == "supernet-end":
            known = found.setdefault(event["backbone"], {"scores": {}})
            known |= {name: event[name] for name in ("state", "reason", "seconds")}
            known |= {name: event[name] for name in ("epochs", "accuracy") if name in event}
    return [_record(backbone, known) for backbone, known in found.items()]


def _record(backbone: str, known: Mapping[str, Any]) -> SupernetRecord:
    scores: Mapping[int, Mapping[str, Any]] = known["scores"]
    last = scores[max(scores)] if scores else None
    seconds = known.get("seconds")
    return SupernetRecord(
        backbone=backbone,
        state=known["state"],
        reason=known.get("reason"),
        epochs=int(known.get("epochs", max(scores, default=0))),
        accuracy=known.get("accuracy", None if last is None else float(last["accuracy"])),
        seconds=float(sum(s["seconds"] for s in scores.values()) if seconds is None else seconds),
    )


def predictions(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was said of the predictor, each time that it was asked; see `octnas.engine.predictor`."""
    return [
        {key: value for key, value in event.items() if key not in ("event", "time")}
        for event in events
        if event["event"] == "predictor"
    ]
