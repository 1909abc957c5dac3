"""How long shared weights take, for `dry_run`: supernets and scores, from a few timed steps of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from octnas.engine.shared_jobs import pace_of
from octnas.engine.shared_plan import pace_job, whole_seconds
from octnas.space import Feasible

if TYPE_CHECKING:
    from octnas.data import ImageSet
    from octnas.engine.sizing import Pace
    from octnas.engine.workers import Workers

__all__ = ["shared_seconds", "shortened"]


def shared_seconds(
    feasible: Feasible,
    images: ImageSet,
    *,
    score: int,
    lent: bool,
    workers: Workers,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Seconds on this machine, JSON values: `supernet_seconds` of each backbone, `scoring_seconds` and, of
    the two, `shared_seconds`, wall-clock, if no backbone is dropped.

    Args:
        score: architectures to score.
        lent: whether the weights are there already.
    """
    from octnas.train.supernet import LENGTH

    trainings: dict[str, float] = {}
    scores: list[float] = []
    for backbone in feasible.backbones:
        note(f"timing the supernet of {backbone}")
        training, scored = pace_of(pace_job(feasible, backbone, threads=workers.cpus), images)
        trainings[backbone] = 0.0 if lent else LENGTH * training
        scores.append(scored)
    scoring = score * sum(scores) / len(scores) / workers.count
    whole = scoring + whole_seconds(list(trainings.values()), workers.count)
    return {
        "supernet_seconds": {name: round(seconds, 1) for name, seconds in trainings.items()},
        "scoring_seconds": round(scoring, 1),
        "shared_seconds": round(whole, 1),
        "scored": score,
    }


def shortened(paces: Mapping[str, Pace], epochs: int) -> dict[str, Pace]:
    """The paces of trainings with another number of scores, as far apart as those of the whole ones."""
    short = {}
    for name, pace in paces.items():
        each = pace.until[-1] / len(pace.until)
        beyond = tuple(each * (n + 1) for n in range(len(pace.until), epochs))
        short[name] = replace(pace, until=(*pace.until, *beyond)[:epochs])
    return short
