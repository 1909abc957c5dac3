"""What `octnas train` made of a search's trials: the reports in its folder, as plain values."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from octnas.record.runs import RunFolder, SearchHeader

__all__ = ["Training", "trainings"]

Scale = Literal["proxy", "full", "target"]

_SCALES: dict[str, Scale] = {each: each for each in get_args(Scale)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One finished training of a trial; accuracies are shares (0 to 1).

    `scale` "proxy" and "full" are of the proxy network (full: on all training images, four times as long),
    "target" of the real one.
    """

    trial_id: str
    scale: Scale
    epochs: int
    accuracy: float
    """Of validation images."""
    test_accuracy: float | None = None
    """None where the data has no test images."""
    seconds: float = 0.0


def trainings(run: RunFolder) -> tuple[Training, ...]:
    """The finished trainings of a run on the data that it was searched with, by trial and scale.

    A training on other data is left out, as its accuracy is of another task; so is a report that cannot be
    read.
    """
    found = []
    for path in sorted((run.path / "trainings").glob("*-*/training.json")):
        trial_id, _, name = path.parent.name.rpartition("-")
        scale = _SCALES.get(name)
        if scale is None:
            continue
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if _is_own(facts, run.header):
                found.append(_training(trial_id, scale, facts))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return tuple(found)


def _is_own(facts: dict[str, Any], header: SearchHeader) -> bool:
    """Whether a report is of a search's data: named alike, or the same wherever it lies now."""
    source, found = facts.get("data_source"), facts.get("data_fingerprint")
    return source in (None, header.data) or (found is not None and found == header.data_fingerprint)


def _training(trial_id: str, scale: Scale, facts: dict[str, Any]) -> Training:
    test, seconds = facts.get("test_accuracy"), facts.get("seconds")
    return Training(
        trial_id=trial_id,
        scale=scale,
        epochs=int(_finite(facts["epochs"])),
        accuracy=_finite(facts["accuracy"]),
        test_accuracy=None if test is None else _finite(test),
        seconds=0.0 if seconds is None else _finite(seconds),
    )


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a training's figures must be finite, but got {value}")
    return number
