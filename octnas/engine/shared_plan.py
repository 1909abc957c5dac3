"""What the jobs for shared weights are made of, and how long supernets are trained where time is short."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from octnas.architecture import Architecture
from octnas.engine.shared_jobs import (
    PaceJob,
    ScoringJob,
    SupernetJob,
    ends_of,
    epochs_of,
    pool_of,
)
from octnas.engine.supernets import Supernet
from octnas.record import RunFolder, SharedScore
from octnas.space import Feasible

__all__ = [
    "PROBES",
    "Recipes",
    "dearest_first",
    "fitted_length",
    "pace_job",
    "shortened_text",
    "whole_seconds",
]

PROBES = 12
"""Architectures of a backbone that are scored after the first part of its supernet's training."""
MUCH_SHORTER = 0.25
"""Share of the usual length below which a supernet's scores are warned of."""
SUPERNETS_SHARE = 0.75
"""Of the time for shared weights, what supernets have in any case: a front that 80 scores choose is as good
as one of hundreds (`benchmarks/README.md`)."""


class Recipes:
    """Makes the jobs of a run.

    Args:
        distill: share of the loss of all but the plain network that is the cross-entropy to its output.
    """

    def __init__(self, run: RunFolder, feasible: Feasible, *, distill: float = 0.0) -> None:
        self._run = run
        self._feasible = feasible
        self._space = feasible.space
        self._distill = distill
        self._seed = run.header.seed
        self._threads = max(1, int(run.header.cpus_per_trial))
        self._probes: dict[str, tuple[Architecture, ...]] = {}

    def score(self, target: Architecture, accuracy: float, loss: float) -> SharedScore:
        """A shared score, with what the target costs."""
        return SharedScore(
            architecture=target,
            accuracy=accuracy,
            loss=loss,
            gflops=self._feasible.gflops(target),
            latency_ms=self._feasible.latency_ms(target),
        )

    def epochs(self, length: float) -> int:
        """Scores of a supernet's whole training."""
        return epochs_of(self._space.proxy, length)

    def pace(self, backbone: str) -> PaceJob:
        """Times a supernet."""
        return pace_job(self._feasible, backbone, threads=self._threads, distill=self._distill)

    def supernet(self, supernet: Supernet, *, length: float, until: int, probed: bool) -> SupernetJob:
        """A part of a training, from where it stands.

        Args:
            probed: whether the probes are scored at its end.
        """
        backbone = supernet.backbone
        plain, cheapest = map(self._proxy, ends_of(self._feasible, backbone))
        weights = self._run.supernet(backbone)
        return SupernetJob(
            id=f"supernet.{backbone}",
            backbone=backbone,
            plain=plain,
            cheapest=cheapest,
            pool=tuple(map(self._proxy, pool_of(self._feasible, backbone, seed=self._seed))),
            proxy=self._space.proxy,
            length=length,
            distill=self._distill,
            seed=self._seed,
            checkpoint=weights.with_suffix(".pt"),
            weights=weights,
            until=until,
            scored=supernet.epochs,
            probes=tuple(map(self._proxy, self.probes(backbone))) if probed else (),
            threads=self._threads,
        )

    def scoring(self, number: int, backbone: str, targets: tuple[Architecture, ...]) -> ScoringJob:
        """The score of a few target architectures."""
        return ScoringJob(
            id=f"scores.{number}",
            backbone=backbone,
            plain=self._proxy(ends_of(self._feasible, backbone)[0]),
            targets=targets,
            architectures=tuple(map(self._proxy, targets)),
            proxy=self._space.proxy,
            initial=self._run.supernet(backbone),
            threads=self._threads,
        )

    def probes(self, backbone: str) -> tuple[Architecture, ...]:
        """Target architectures of a backbone within the budgets, spread over their cost."""
        if backbone not in self._probes:
            rng = np.random.default_rng([self._seed, 2, *backbone.encode()])
            found: dict[str, Architecture] = {}
            for _ in range(4 * PROBES):  # a backbone may have fewer members
                if len(found) < PROBES:
                    drawn = self._feasible.sample(rng, backbone)
                    found[drawn.digest] = drawn
            self._probes[backbone] = tuple(found.values())
        return self._probes[backbone]

    def costs(self, backbone: str) -> list[float]:
        """Of the probes, by the objective: GFLOPs (10^9 multiply-adds) or ms."""
        return [self._feasible.cost(each) for each in self.probes(backbone)]

    def _proxy(self, architecture: Architecture) -> Architecture:
        return self._space.proxy_architecture(architecture)


def pace_job(feasible: Feasible, backbone: str, *, threads: int, distill: float = 0.0) -> PaceJob:
    """Times the supernet of a backbone, and one score on it."""
    proxy = feasible.space.proxy_architecture
    plain, cheapest = map(proxy, ends_of(feasible, backbone))
    whole = SupernetJob(
        id=f"pace.{backbone}",
        backbone=backbone,
        plain=plain,
        cheapest=cheapest,
        pool=tuple(map(proxy, pool_of(feasible, backbone, seed=0))),
        proxy=feasible.space.proxy,
        length=1.0,
        distill=distill,
        checkpoint=Path(),
        weights=Path(),
        until=1,
        threads=threads,
    )
    return PaceJob(id=whole.id, supernet=whole, threads=threads)


def dearest_first(feasible: Feasible) -> dict[str, float]:
    """GFLOPs (10^9 multiply-adds) of each backbone's plain network, the dearest first: a supernet's training
    takes about in proportion to it."""
    plain = {name: feasible.gflops(ends_of(feasible, name)[0]) for name in feasible.backbones}
    return dict(sorted(plain.items(), key=lambda each: -each[1]))


def whole_seconds(trainings: Sequence[float], workers: int) -> float:
    """The most that trainings of so many seconds take, each begun by whoever is free: work / workers +
    (1 - 1 / workers) x the longest."""
    return sum(trainings) / workers + (1 - 1 / workers) * max(trainings)


def fitted_length(
    paces: Sequence[tuple[float, float]], *, usual: float, score: int, workers: int, seconds: float
) -> float:
    """The length of each supernet's training with which all are trained, and `score` architectures scored,
    within a time; at most the usual one.

    Scoring is cut short first: supernets have `SUPERNETS_SHARE` of the time in any case.

    Args:
        paces: for each backbone the seconds of a training of length 1, and of one score.
        usual: length, in trainings of one proxy.
    """
    whole = whole_seconds([usual * training for training, _ in paces], workers)
    scoring = score * sum(each for _, each in paces) / len(paces) / workers
    room = max(seconds - scoring, SUPERNETS_SHARE * seconds)
    return usual * min(1.0, max(0.0, room) / whole)


def shortened_text(length: float, usual: float) -> str:
    """What is said where `fitted_length` is below the usual one."""
    text = (
        f"each supernet is trained for {length:.2g} trainings of one proxy instead of {usual:g}, so that all "
        "are done within the time limit"
    )
    much = length < MUCH_SHORTER * usual
    return f"{text}; on so short a training scores tell little: raise --max-minutes" if much else text
