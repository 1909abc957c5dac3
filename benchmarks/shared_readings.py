"""What the pieces of `shared_weights.py` say: rank correlations, and hypervolume against processor seconds.

Taus are means over the seeds of the shared weights; their 95 % intervals are bootstraps over architectures.
Hypervolumes are shares of the true front's, of the front that a method's own accuracies choose, valued at the
truth ("chosen" in `readings.py`); their intervals are bootstraps over replications.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from problem import hypervolume, non_dominated
from readings import Estimate, at

from octnas.architecture import Architecture
from octnas.engine.finalists import Finalists
from octnas.engine.optuna_adapter import Proposer
from octnas.engine.predictor import predicted_best
from octnas.engine.scoring import Scoring
from octnas.front.correlation import kendall
from octnas.record import EpochScore, SharedScore, TrialRecord, TrialState
from octnas.space import Feasible

__all__ = [
    "Steps",
    "chosen",
    "finalists",
    "interval_text",
    "mean_tau",
    "scored_in_turn",
    "seconds_to_equal",
    "share_of_theirs",
    "stratified",
]

RESAMPLES = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A step curve of one search: from `seconds[i]` on the hypervolume is `values[i]`."""

    seconds: Floats
    values: Floats


def stratified(members: Mapping[str, Sequence[Architecture]], count: int) -> list[Architecture]:
    """Architectures of every backbone in equal number, evenly through each one's members, which come by
    cost, cheapest and dearest among them."""
    shares = [count // len(members) + (i < count % len(members)) for i in range(len(members))]
    found: list[Architecture] = []
    for own, share in zip(members.values(), shares, strict=True):
        places = np.linspace(0, len(own) - 1, min(share, len(own))).round().astype(int)
        found += [own[int(place)] for place in places]
    return found


def mean_tau(scores: Floats, truth: Floats) -> Estimate:
    """Kendall's tau with the truth (A,), the mean over rows of scores (S, A), and its interval."""

    def of(rows: NDArray[np.int64]) -> float:
        return float(np.mean([kendall(each[rows], truth[rows]) or 0.0 for each in scores]))

    rng = np.random.default_rng(0)
    count = len(truth)
    drawn = [of(rng.integers(count, size=count)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value=of(np.arange(count)), low=float(low), high=float(high))


def chosen(truth: Floats, seen: Floats, *, budget: float, reference: float) -> float:
    """Hypervolume of the true points (N, 2) of the members of the front of what was seen (N, 2)."""
    return hypervolume(truth[non_dominated(seen)], budget=budget, reference=reference)


def finalists(
    feasible: Feasible,
    scores: Sequence[SharedScore],
    train: Callable[[Architecture], EpochScore],
    *,
    rank_by: str,
    count: int,
) -> Iterator[Architecture]:
    """The scored architectures that a search with shared weights trains, in its order.

    Args:
        train: the last score of a training.
        count: of trainings, at most; nothing but what was scored is trained.
    """
    proposals = Finalists(feasible, scores, rank_by=rank_by, sampler=_Nothing())
    for number in range(min(count, len(scores))):
        architecture = proposals.ask()
        assert architecture is not None
        last = train(architecture)
        proposals.tell(
            TrialRecord(
                id=str(number),
                architecture=architecture,
                state=TrialState.COMPLETE,
                gflops=feasible.gflops(architecture),
                params=0,
                accuracy=last.accuracy,
                loss=last.loss,
                epochs=last.epoch,
            )
        )
        yield architecture


class _Nothing:
    """A sampler that has nothing to propose."""

    def ask(self) -> Architecture | None:
        return None

    def add(self, architecture: Architecture, *, counts: bool = False) -> None:
        pass

    def tell(self, record: TrialRecord) -> None:
        pass


def seconds_to_equal(
    ours: Sequence[Steps], theirs: Sequence[Steps], *, seconds: float, grid: Floats
) -> Estimate:
    """The compute at which `ours` have on average what `theirs` have on average after `seconds`, as a share
    of it. Searches are resampled in pairs, the i-th of one with the i-th of the other."""
    mine = np.array([at(each.seconds, each.values, grid) for each in ours])
    other = np.array([at(each.seconds, each.values, np.array([seconds]))[0] for each in theirs])

    def of(rows: NDArray[np.int64]) -> float:
        reached = np.flatnonzero(mine[rows].mean(0) >= other[rows].mean())
        return float(grid[reached[0]]) / seconds if reached.size else float("inf")

    rng = np.random.default_rng(0)
    drawn = sorted(of(rng.integers(len(mine), size=len(mine))) for _ in range(RESAMPLES))
    last = len(drawn) - 1
    return Estimate(
        value=of(np.arange(len(mine))), low=drawn[round(0.025 * last)], high=drawn[round(0.975 * last)]
    )


def share_of_theirs(
    seconds: Sequence[float], values: Sequence[float], theirs: Sequence[Steps], *, grid: Floats
) -> Estimate:
    """Our mean compute as a share of that at which `theirs` have on average what we have on average: 0 where
    they never have. Searches are resampled in pairs, the i-th of one with the i-th of the other."""
    spent, reached = np.array(seconds), np.array(values)
    other = np.array([at(each.seconds, each.values, grid) for each in theirs])

    def of(rows: NDArray[np.int64]) -> float:
        there = np.flatnonzero(other[rows].mean(0) >= reached[rows].mean())
        return float(spent[rows].mean() / grid[there[0]]) if there.size else 0.0

    rng = np.random.default_rng(0)
    drawn = [of(rng.integers(len(spent), size=len(spent))) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value=of(np.arange(len(spent))), low=float(low), high=float(high))


def scored_in_turn(
    feasible: Feasible, score: Callable[[Architecture], SharedScore], *, total: int, seed: int
) -> list[SharedScore]:
    """What a search with shared weights of all its backbones scores, in its order: a spread, what the sampler
    asks for, what the predictor ranks first."""
    scoring = Scoring(
        feasible,
        total=total,
        seed=seed,
        workers=1,
        events=(),
        scores=(),
        batches=lambda within: Proposer(within, sampler="thompson", seed=seed, rank_by="accuracy"),
        predict=lambda scores, within, count: predicted_best(
            scores, within, count=count, rng=np.random.default_rng([seed, 3])
        ),
    )
    while not scoring.over and (batch := scoring.next(feasible.backbones, whole=True)) is not None:
        for each in batch[1]:
            scoring.tell(score(each))
    return scoring.scores


def interval_text(found: Estimate, digits: int = 2) -> str:
    """ "0.61 (0.54 to 0.68)"."""

    def number(value: float) -> str:
        return f"{value:.{digits}f}" if np.isfinite(value) else "not there"

    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"
