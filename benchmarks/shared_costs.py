"""Pieces of `shared_weights.py` on a space as it is: how many scores a minute, and how much memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pieces import Piece, Row

from octnas.data import load_images
from octnas.space import Proxy, SearchSpace, load_space

__all__ = ["Memory", "Throughput"]

WARM_UP = 2
"""Architectures scored before the throughput is timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput(Piece):
    """The time that the shared scores of some members of a space take; the weights are fresh ones, whose
    scores cost the same."""

    space: str
    budget_gflops: float
    backbone: str
    count: int
    worker: int

    def run(self, work: Path) -> Row:
        from octnas.engine.shared_jobs import ends_of
        from octnas.nn import build
        from octnas.train.recalibrate import CALIBRATION_IMAGES
        from octnas.train.scoring import SCORED_IMAGES, SharedScorer
        from octnas.train.settings import settings_from_proxy

        space = load_space(self.space)
        images = load_images(space.proxy.data, size=space.proxy.input_size)
        feasible = space.feasible(self.budget_gflops)
        plain = space.proxy_architecture(ends_of(feasible, self.backbone)[0])
        state = build(plain, num_classes=len(images.classes), in_channels=images.channels).state_dict()
        scorer = SharedScorer(plain, state, images, settings_from_proxy(space.proxy, images))
        rng = np.random.default_rng(self.worker)
        drawn = [
            space.proxy_architecture(feasible.sample(rng, self.backbone)) for _ in range(WARM_UP + self.count)
        ]
        for each in drawn[:WARM_UP]:
            scorer.score(each)
        begin = time.perf_counter()
        for each in drawn[WARM_UP:]:
            scorer.score(each)
        return {
            "seconds": (time.perf_counter() - begin) / self.count,
            "images": min(SCORED_IMAGES, len(images.val)),
            "calibration": min(CALIBRATION_IMAGES, len(images.train)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Piece):
    """The most memory that some steps of a training take, plain or of shared weights, in a fresh process."""

    space: str
    budget_gflops: float
    backbone: str
    shared: bool
    steps: int
    repeat: int

    def run(self, work: Path) -> Row:
        import torch

        from octnas.engine.shared_jobs import ends_of, pool_of
        from octnas.train.memory import PeakMemory
        from octnas.train.proxy import ProxyTraining
        from octnas.train.settings import settings_from_proxy
        from octnas.train.supernet import Sandwich, SupernetTraining, supernet_settings

        space = load_space(self.space)
        images = load_images(space.proxy.data, size=space.proxy.input_size)
        feasible = space.feasible(self.budget_gflops)
        plain, cheapest = (space.proxy_architecture(each) for each in ends_of(feasible, self.backbone))
        settings = settings_from_proxy(_short(space, self.steps), images)
        device = torch.device("cpu")
        pool = pool_of(feasible, self.backbone, seed=0) if self.shared else ()
        peak = PeakMemory(device)
        before = peak.megabytes()
        training: ProxyTraining
        if self.shared:
            proxies = tuple(space.proxy_architecture(each) for each in pool)
            sandwich = Sandwich(plain=plain, cheapest=cheapest, pool=proxies)
            training = SupernetTraining(sandwich, images, supernet_settings(settings, length=1.0), seed=0)
        else:
            training = ProxyTraining(plain, images, settings, seed=0)
        while not training.finished:
            training.run_epoch()
        return {"before": before, "peak": peak.megabytes(), "batch_size": settings.batch_size}


def _short(space: SearchSpace, steps: int) -> Proxy:
    return space.proxy.model_copy(update={"epochs": None, "steps": steps, "evaluations": 1})
