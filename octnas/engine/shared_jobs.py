"""What workers do for shared weights: train a backbone's supernet, and score architectures on it.

`evaluate_shared` takes the place of `octnas.engine.evaluate.evaluate` for these jobs. A worker that scores
keeps the supernet from batch to batch. Knows no Ray.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from octnas.architecture import Architecture
from octnas.engine import evaluate
from octnas.engine.budgets import plain_downsample
from octnas.errors import RunError
from octnas.record import EpochScore
from octnas.space import Feasible, Proxy
from octnas.storage import Place

if TYPE_CHECKING:
    from octnas.data import ImageSet
    from octnas.train.scoring import SharedScorer
    from octnas.train.settings import TrainSettings
    from octnas.train.supernet import Sandwich

__all__ = [
    "BATCH",
    "POOL",
    "TIMED_STEPS",
    "PaceJob",
    "ScoringJob",
    "SharedJob",
    "SupernetJob",
    "ends_of",
    "epochs_of",
    "evaluate_shared",
    "pace_of",
    "pool_of",
    "scored_images",
]

POOL = 512
"""Architectures from which those of a supernet's steps are drawn."""
BATCH = 16
"""Architectures of a scoring job, at most."""
TIMED_STEPS = 4
"""Steps of a supernet's training that are timed, after as many to warm up."""

Report = Callable[["EpochScore | list[Any]"], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetJob:
    """A part of the training of a backbone's shared weights, from where its checkpoint stands."""

    id: str
    backbone: str
    plain: Architecture
    """The proxy's, without low channels, as are all architectures here."""
    cheapest: Architecture
    pool: tuple[Architecture, ...] = field(repr=False)
    proxy: Proxy
    length: float
    """Of the whole training, in trainings of one proxy."""
    distill: float = 0.0
    seed: int = 0
    checkpoint: Place
    weights: Place
    """Where the shared weights are written, at each score that was long in coming and at the last."""
    until: int
    """The score after which this part ends."""
    scored: int = 0
    """Scores that the journal has: the next one is reported."""
    probes: tuple[Architecture, ...] = field(default=(), repr=False)
    """Scored at the end of this part, and reported as a list of [accuracy, loss]."""
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringJob:
    """A few architectures of one backbone to be scored on its shared weights.

    Reported as a list of [accuracy, loss]; [None, reason] where a number is not finite.
    """

    id: str
    backbone: str
    plain: Architecture
    targets: tuple[Architecture, ...] = field(repr=False)
    """The target's, in the order of `architectures`."""
    architectures: tuple[Architecture, ...] = field(repr=False)
    """The proxy's."""
    proxy: Proxy
    initial: Place | bytes = field(repr=False)
    """The shared weights, a safetensors file or what is in it."""
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceJob:
    """Times a backbone's supernet. Reported as a list: the seconds of a training as long as one proxy's, and
    the seconds of one score."""

    id: str
    supernet: SupernetJob
    threads: int = 1


SharedJob = SupernetJob | ScoringJob | PaceJob


def evaluate_shared(job: SharedJob, data: Any, report: Report) -> None:
    """Does a job on an `ImageSet`."""
    if isinstance(job, SupernetJob):
        _train(job, data, report)
    elif isinstance(job, ScoringJob):
        report(_scores(job, data))
    else:
        report(list(pace_of(job, data)))


def pool_of(feasible: Feasible, backbone: str, *, seed: int) -> tuple[Architecture, ...]:
    """Up to `POOL` distinct target architectures of a backbone within the budgets, spread over their cost."""
    rng = np.random.default_rng([seed, *backbone.encode()])
    drawn = (feasible.sample(rng, backbone) for _ in range(POOL))
    return tuple({each.digest: each for each in drawn}.values())


def ends_of(feasible: Feasible, backbone: str) -> tuple[Architecture, Architecture]:
    """The plain network of a backbone, within the budgets or not, and the member of least compute."""
    members = feasible.space.members(backbone)
    way = plain_downsample(feasible.space)
    return feasible.space.uniform(backbone, 0, way), members.architecture(members.graph.smallest(), way)


def epochs_of(proxy: Proxy, length: float) -> int:
    """Scores of a supernet's whole training."""
    from octnas.train.settings import settings_from_proxy
    from octnas.train.supernet import supernet_settings

    return supernet_settings(settings_from_proxy(proxy), length=length).scores


def scored_images(data: ImageSet) -> int:
    """Validation images behind a shared score."""
    from octnas.train.scoring import SCORED_IMAGES

    return min(SCORED_IMAGES, len(data.val))


# -------------------------------------------------------------------- supernets
def _train(job: SupernetJob, data: ImageSet, report: Report) -> None:
    from octnas.train.supernet import SupernetTraining
    from octnas.train.weights import save_weights

    training = SupernetTraining(_sandwich(job), data, _settings(job, data, job.threads), seed=job.seed)
    if training.same_as(job.checkpoint):
        training.load(job.checkpoint)
        if training.finished:
            save_weights(training.network, job.weights)
        for known in training.scores[job.scored :]:  # it died after the checkpoint, before the report
            if not report(known):
                return
    while training.epoch < job.until:
        score = training.run_epoch()
        if training.finished:
            save_weights(training.network, job.weights)  # nothing is scored without them
        if training.epoch == job.until or score.seconds >= evaluate.KEPT_SECONDS:
            with contextlib.suppress(RunError):  # a full disk costs what a death would cost, no more
                training.save(job.checkpoint)
                save_weights(training.network, job.weights)
        if not report(score):
            return
    if job.probes:
        report([list(training.score(each)) for each in job.probes])


def _sandwich(job: SupernetJob) -> Sandwich:
    from octnas.train.supernet import Sandwich

    # What distils needs its teacher on the same batch.
    return Sandwich(
        plain=job.plain,
        cheapest=job.cheapest,
        pool=job.pool,
        together=job.distill > 0,
        distill=job.distill,
    )


def _settings(job: SupernetJob, data: ImageSet, threads: int, length: float | None = None) -> TrainSettings:
    from octnas.train.settings import settings_from_proxy
    from octnas.train.supernet import supernet_settings

    settings = supernet_settings(
        settings_from_proxy(job.proxy, data), length=job.length if length is None else length
    )
    return replace(settings, threads=threads)


def pace_of(pace: PaceJob, data: ImageSet) -> tuple[float, float]:
    """Seconds of a supernet's training that is as long as one proxy's, and of one score."""
    from octnas.train.scoring import SharedScorer
    from octnas.train.supernet import SupernetTraining

    job = pace.supernet
    settings = _settings(job, data, pace.threads, length=1.0)
    training = SupernetTraining(_sandwich(job), data, settings, seed=job.seed)
    training.train_steps(TIMED_STEPS)
    begin = time.perf_counter()
    training.train_steps(TIMED_STEPS)
    trained = time.perf_counter()
    training.validate(full=False)
    validated = time.perf_counter()
    scorer = SharedScorer(job.plain, training.network.state_dict(), data, settings)
    ready = time.perf_counter()
    scorer.score(job.pool[0])
    scored = time.perf_counter() - ready
    images = min(len(data.train), settings.train_images or len(data.train))
    steps = settings.step_bounds(images)[-1]
    whole = steps * (trained - begin) / TIMED_STEPS + settings.scores * (validated - trained)
    return whole, scored


# -------------------------------------------------------------------- scores
_kept: tuple[Architecture, Place | bytes, SharedScorer] | None = None
"""The supernet that this worker scored on last."""


def _scores(job: ScoringJob, data: ImageSet) -> list[Any]:
    scorer = _scorer(job, data)
    found: list[Any] = []
    for architecture in job.architectures:
        accuracy, loss = scorer.score(architecture)
        finite = math.isfinite(accuracy) and math.isfinite(loss)
        found.append([accuracy, loss] if finite else [None, f"loss is {loss}"])
    return found


def _scorer(job: ScoringJob, data: ImageSet) -> SharedScorer:
    global _kept
    if _kept is None or _kept[:2] != (job.plain, job.initial):
        from octnas.train.pretrained import read_state
        from octnas.train.scoring import SharedScorer
        from octnas.train.settings import settings_from_proxy

        _kept = None  # two need not fit in memory
        state = read_state(job.initial, name=f"the shared weights of {job.backbone}")
        settings = replace(settings_from_proxy(job.proxy, data), threads=job.threads)
        _kept = job.plain, job.initial, SharedScorer(job.plain, state, data, settings)
    return _kept[2]
