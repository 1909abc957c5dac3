"""What scored architectures say of the rest of the space: the members most worth scoring next.

Scores are cheap on shared weights, but a space has more members than can be scored. A regression
(`octnas.engine.regression`) ranks thousands more in seconds, and only where its held-out rank correlation
beats both noise and compute alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from octnas.architecture import Architecture
from octnas.engine.regression import HeldOut, Predictor
from octnas.engine.rungs import Point, best_first, pareto_ranks
from octnas.front.smoothing import smoothed
from octnas.space import Feasible

if TYPE_CHECKING:
    from octnas.record.shared import SharedScore

__all__ = ["HeldOut", "Prediction", "Predictor", "predicted_best"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a predictor found in the rest of a space, and how far it can be trusted."""

    held_out: HeldOut
    ranked: int
    """Architectures without scores that were ranked; 0 where the predictor is not useful."""
    architectures: tuple[Architecture, ...]
    """Of those the first by predicted accuracy and cost, spread along the predicted front."""
    accuracies: tuple[float, ...]
    """Their predicted scores."""

    @property
    def tau(self) -> float | None:
        """See `HeldOut`."""
        return self.held_out.tau

    @property
    def tau_interval(self) -> tuple[float, float] | None:
        """See `HeldOut`."""
        return self.held_out.tau_interval

    @property
    def baseline(self) -> float:
        """See `HeldOut`."""
        return self.held_out.baseline

    @property
    def useful(self) -> bool:
        """See `HeldOut`."""
        return self.held_out.useful

    def to_dict(self) -> dict[str, Any]:
        """JSON values, for the journal; `from_dict` reads them back."""
        chosen = [
            {"architecture": json.loads(each.to_json()), "accuracy": accuracy}
            for each, accuracy in zip(self.architectures, self.accuracies, strict=True)
        ]
        return {**self.held_out.to_dict(), "ranked": self.ranked, "chosen": chosen}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Prediction:
        """The prediction that `to_dict` wrote; keys that this version does not know are ignored."""
        interval = value["tau_interval"]
        return cls(
            held_out=HeldOut(
                scored=int(value["scored"]),
                tau=value["tau"],
                tau_interval=None if interval is None else (float(interval[0]), float(interval[1])),
                noise=float(value["noise"]),
                baseline=float(value["baseline"]),
            ),
            ranked=int(value["ranked"]),
            architectures=tuple(
                Architecture.from_json(json.dumps(each["architecture"])) for each in value["chosen"]
            ),
            accuracies=tuple(float(each["accuracy"]) for each in value["chosen"]),
        )


def predicted_best(
    scored: Sequence[SharedScore],
    feasible: Feasible,
    *,
    count: int,
    rng: np.random.Generator,
    rest: int = 20_000,
) -> Prediction:
    """The members most worth scoring next, of `rest` that nobody scored, where the scores allow to tell.

    The rest are drawn as `Feasible.sample` draws, over all costs, from the backbones that were scored; a
    space with no more members is ranked whole.

    Args:
        scored: on shared weights; their accuracies are smoothed by their losses. Of an architecture that
            stands there twice the last counts.
        count: members asked for, at most.

    Returns:
        no architectures where the predictor is not useful: the caller goes on as it would without it.
    """
    within = [each for each in scored if feasible.contains(each.architecture)]
    known = dict(zip((each.architecture for each in within), smoothed(within), strict=True))
    predictor = Predictor(feasible.space, seed=int(rng.integers(2**31)))
    predictor.fit(list(known), list(known.values()))
    if not predictor.useful:
        return Prediction(held_out=predictor.held_out, ranked=0, architectures=(), accuracies=())
    unseen = _unseen(feasible, known, rest, rng)
    accuracies = predictor.predict(unseen).tolist()
    costs = [float(feasible.units(each)) for each in unseen]
    chosen = _first(list(zip(accuracies, costs, strict=True)), count)
    return Prediction(
        held_out=predictor.held_out,
        ranked=len(unseen),
        architectures=tuple(unseen[i] for i in chosen),
        accuracies=tuple(accuracies[i] for i in chosen),
    )


def _unseen(
    feasible: Feasible, known: Mapping[Architecture, float], rest: int, rng: np.random.Generator
) -> list[Architecture]:
    """Members without scores of the backbones that have some: all, or that many draws, in equal parts."""
    names = [name for name in feasible.backbones if any(each.backbone == name for each in known)]
    if feasible.size <= rest:
        members: Iterable[Architecture] = (each for name in names for each in feasible.walk(name, rng))
    else:
        members = (feasible.sample(rng, names[i % len(names)]) for i in range(rest))
    return [each for each in dict.fromkeys(members) if each not in known]


def _first(points: Sequence[Point], count: int) -> list[int]:
    """Indices of `count` points: front after front, and of the last one those that stand apart."""
    ranks = pareto_ranks(points)
    last = sorted(ranks)[: max(1, count)][-1] if ranks else 0
    ahead = [i for i, rank in enumerate(ranks) if rank <= last]
    return [ahead[i] for i in best_first([points[i] for i in ahead])[:count]]
