"""What both pictures draw of the hypervolume by trial."""

from __future__ import annotations

from dataclasses import dataclass

from octnas.front.pareto import hypervolume
from octnas.front.result import SearchResult
from octnas.record import TrialRecord

__all__ = ["VolumeCurve", "VolumePoint", "volume_curve"]


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumePoint:
    """The hypervolume once the complete trial `number`, counted from 1, was there."""

    number: int
    record: TrialRecord
    volume: float


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeCurve:
    """Hypervolume by trial, from the first that has some, and what the yardsticks reach without candidates.

    `low` to `high` is the range worth showing: from what the yardsticks alone reach, as theirs is most of the
    area and the first trials of every search.
    """

    points: tuple[VolumePoint, ...]
    yardsticks: float
    low: float
    high: float


def volume_curve(result: SearchResult) -> VolumeCurve:
    """The curve of a search; without points where no complete trial is below the budget."""
    numbered = enumerate(result.hypervolume_by_trial, start=1)
    points = tuple(
        VolumePoint(number=number, record=record, volume=volume)
        for number, (record, volume) in numbered
        if volume > 0
    )
    alone = (each for each in result.records if each.yardstick)
    yardsticks = hypervolume(alone, result.limit, result.objective)
    if not points:
        return VolumeCurve(points=(), yardsticks=yardsticks, low=0.0, high=1.0)
    floor = yardsticks or points[0].volume
    margin = max(0.2 * (points[-1].volume - floor), 0.01 * points[-1].volume)
    return VolumeCurve(
        points=points, yardsticks=yardsticks, low=floor - margin, high=points[-1].volume + margin
    )
