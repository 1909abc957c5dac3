"""Which supernet is trained next, and which backbone is given up. Pure logic; nothing here trains.

Every backbone first gets a third of its training, the dearest first, as long trainings that begin late leave
workers idle. Then a dozen of its architectures within the budgets, the probes, are scored on its weights. A
backbone is dropped when every one of its probes is clearly beaten by a probe of another backbone that costs
no more; the others are trained to the end, the dearest first. Whoever is beaten by what comes later is
dropped then, at its next score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from octnas.engine.rungs import Point
from octnas.record import EpochScore
from octnas.record.shared import SupernetRecord, SupernetState, supernets

__all__ = ["CLEARLY", "FIRST_PART", "Supernet", "Supernets"]

FIRST_PART = 3
"""The probes are scored after one part in so many of a training."""
CLEARLY = 0.03
"""Accuracy by which a probe must be behind, beside two standard errors of the difference."""


@dataclass(slots=True)
class Supernet:
    """One backbone's, as it stands."""

    backbone: str
    epochs: int = 0
    """Scored so far."""
    probes: tuple[Point, ...] | None = None
    """(accuracy, cost) of its probes; None before they are scored."""
    state: SupernetState = "running"
    """"running" stands for all that has not ended, begun or not."""
    under_way: bool = False
    """Whether a worker trains it now."""
    seconds: float = 0.0
    accuracy: float | None = None
    reason: str | None = None

    @property
    def record(self) -> SupernetRecord:
        """As the journal has it."""
        return SupernetRecord(
            backbone=self.backbone,
            state=self.state,
            reason=self.reason,
            epochs=self.epochs,
            accuracy=self.accuracy,
            seconds=self.seconds,
        )


class Supernets:
    """The supernets of a search.

    Args:
        backbones: the dearest first.
        epochs: scores of a whole training.
        drops: whether backbones may be dropped.
        images: validation images behind a probe's accuracy.
        events: the journal so far.
    """

    def __init__(
        self,
        backbones: Sequence[str],
        *,
        epochs: int,
        drops: bool,
        images: int,
        events: Iterable[Mapping[str, Any]],
    ) -> None:
        self.epochs = epochs
        self._images = images
        drops = drops and len(backbones) > 1 and epochs > 1
        self.first = max(1, round(epochs / FIRST_PART)) if drops else None
        """The score after which the probes are scored; None where nothing is dropped."""
        self._all = {backbone: Supernet(backbone) for backbone in backbones}
        events = list(events)
        for record in supernets(events):
            if record.backbone in self._all:
                self._all[record.backbone] = _begun(record)
        for event in events:
            if event["event"] == "probes" and event["backbone"] in self._all:
                points = tuple((float(accuracy), float(cost)) for accuracy, cost in event["points"])
                self._all[event["backbone"]].probes = points

    def __getitem__(self, backbone: str) -> Supernet:
        return self._all[backbone]

    @property
    def all(self) -> tuple[Supernet, ...]:
        """One a backbone, the dearest first."""
        return tuple(self._all.values())

    @property
    def unended(self) -> list[Supernet]:
        """Those whose training is not over."""
        return [each for each in self._all.values() if each.state == "running"]

    @property
    def complete(self) -> list[str]:
        """Backbones that have their shared weights."""
        return [each.backbone for each in self._all.values() if each.state == "complete"]

    def next(self) -> Supernet | None:
        """The one that a free worker trains now; None where all others are under way or over."""
        waiting = [each for each in self.unended if not each.under_way]
        unprobed = [each for each in waiting if self.lacks_probes(each)]
        return next(iter(unprobed or waiting), None)

    def lacks_probes(self, supernet: Supernet) -> bool:
        """Whether its training pauses for its probes before it goes on."""
        return self.first is not None and supernet.probes is None

    def until(self, supernet: Supernet) -> int:
        """The score up to which its training goes now."""
        return self.first if self.first is not None and self.lacks_probes(supernet) else self.epochs

    def take(self, supernet: Supernet, score: EpochScore) -> None:
        """Enters one more score."""
        supernet.epochs = score.epoch
        supernet.accuracy = score.accuracy
        supernet.seconds += score.seconds

    def hopeless(self, supernet: Supernet) -> str | None:
        """Why a backbone is to be dropped; None where it is not.

        Its probes are compared with those of the backbones that have not been given up. They are all of the
        same age, a third of a training.
        """
        if self.first is None or supernet.probes is None:
            return None
        others = [
            point
            for each in self._all.values()
            if each is not supernet and each.state in ("running", "complete")
            for point in each.probes or ()
        ]
        least = math.inf
        for accuracy, cost in supernet.probes:
            best = max((theirs for theirs, price in others if price <= cost), default=None)
            if best is None:
                return None
            variance = (accuracy * (1 - accuracy) + best * (1 - best)) / self._images
            if best - accuracy <= CLEARLY + 2 * math.sqrt(max(0.0, variance)):
                return None
            least = min(least, best - accuracy)
        return (
            f"after epoch {self.first} of {self.epochs} each of its {len(supernet.probes)} probes is "
            f"{100 * least:.1f} points or more behind another backbone that costs no more"
        )


def _begun(record: SupernetRecord) -> Supernet:
    return Supernet(
        backbone=record.backbone,
        epochs=record.epochs,
        state=record.state,
        seconds=record.seconds,
        accuracy=record.accuracy,
        reason=record.reason,
    )
