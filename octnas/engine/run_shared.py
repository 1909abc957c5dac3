"""Supernets and shared scores of a run, from its journal to their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from octnas.engine.events import Listener
from octnas.engine.limits import TimeLimit
from octnas.engine.scoring import Batches, Prediction, Scoring
from octnas.engine.shared_campaign import SharedCampaign
from octnas.engine.shared_jobs import scored_images
from octnas.engine.shared_plan import Recipes, dearest_first
from octnas.record import RunFolder, SharedScore, shared_scores
from octnas.space import Feasible

if TYPE_CHECKING:
    from octnas.data import ImageSet
    from octnas.engine.workers import Workers

__all__ = ["EVALUATE", "new_shared", "run_shared"]

EVALUATE = "octnas.engine.shared_jobs:evaluate_shared"
"""What workers call with the jobs."""


def run_shared(
    run: RunFolder,
    *,
    feasible: Feasible,
    images: ImageSet,
    workers: Workers,
    listeners: Iterable[Listener],
    start: float,
    minutes: float | None,
) -> SharedCampaign:
    """Trains and scores what is left of a run whose journal is locked, within a Ray session or its own.

    Args:
        minutes: from `start` to the end of it all; None: as long as it takes.

    Raises:
        SearchFailedError: no supernet could be trained, or nothing scored.
        KeyboardInterrupt: Ctrl-C; all that was measured is in the journal.
    """
    from octnas.engine.ray_adapter import run_trials

    campaign = new_shared(
        run,
        feasible=feasible,
        images=scored_images(images),
        workers=workers.count,
        listeners=listeners,
        start=start,
        limit=None if minutes is None else TimeLimit.after(minutes, start=start),
    )
    run_trials(campaign, evaluate=EVALUATE, data=images, workers=workers)
    if campaign.interrupted:
        raise KeyboardInterrupt
    campaign.close()
    campaign.note(_summary(campaign, int(run.header.options["score"])))
    return campaign


def new_shared(
    run: RunFolder,
    *,
    feasible: Feasible,
    images: int,
    workers: int,
    listeners: Iterable[Listener] = (),
    start: float | None = None,
    limit: TimeLimit | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SharedCampaign:
    """The supernets and shared scores of a run from its journal.

    Args:
        images: validation images behind a score.
    """
    header = run.header
    events = run.journal.read()
    total = int(header.options["score"])

    def batches(within: Feasible) -> Batches:
        from octnas.engine.optuna_adapter import Proposer

        # The Gaussian process takes seconds a proposal long before there are a thousand.
        sampler = "thompson" if header.sampler == "gp" else header.sampler
        return Proposer(within, sampler=sampler, seed=header.seed, rank_by="accuracy")

    def predict(scores: Sequence[SharedScore], within: Feasible, count: int) -> Prediction:
        from octnas.engine.predictor import predicted_best

        campaign.note(f"predictor: learning from {len(scores)} shared scores")
        rng = np.random.default_rng([header.seed, 3])
        return predicted_best(scores, within, count=count, rng=rng)

    def on_prediction(prediction: Prediction) -> None:
        run.journal.append({"event": "predictor", **prediction.to_dict()})
        campaign.note(_prediction_text(prediction))

    scoring = Scoring(
        feasible,
        total=total,
        seed=header.seed,
        workers=workers,
        events=events,
        scores=shared_scores(events),
        first=[each.architecture for each in header.yardsticks if feasible.contains(each.architecture)],
        batches=batches,
        predict=predict,
        on_prediction=on_prediction,
    )
    campaign = SharedCampaign(
        run,
        recipes=Recipes(run, feasible, distill=float(header.options.get("distill", 0.0))),
        scoring=scoring,
        costs=dearest_first(feasible),
        images=images,
        drops=total > 0 and header.options.get("fine_tune") is None,
        length=_length(header.options.get("length")),
        workers=workers,
        limit=limit,
        listeners=listeners,
        clock=clock,
        start=start,
    )
    return campaign


def _length(chosen: float | None) -> float:
    from octnas.train.supernet import LENGTH

    return LENGTH if chosen is None else float(chosen)


def _summary(campaign: SharedCampaign, total: int) -> str:
    complete = [each.backbone for each in campaign.supernets if each.state == "complete"]
    weights = f"shared weights of {', '.join(complete) or 'no backbone'}"
    if not total:
        return weights
    scored = f"{weights}, {len(campaign.scores)} architectures scored on them"
    return scored if campaign.scores else f"{scored}: candidates are the sampler's own"


def _prediction_text(prediction: Prediction) -> str:
    from octnas.engine.predictor import Prediction as Found

    assert isinstance(prediction, Found)
    if prediction.tau is None or prediction.tau_interval is None:
        return "predictor: too few scores to tell whether it ranks any better than noise; it is not used"
    low, high = prediction.tau_interval
    tau = f"held-out Kendall's tau {prediction.tau:.2f} ({low:.2f} to {high:.2f})"
    if not prediction.useful:
        return f"predictor: {tau}, no better than noise or compute alone; it is not used"
    return (
        f"predictor: {tau}, by compute alone {prediction.baseline:.2f}; of {prediction.ranked} more "
        f"architectures it ranks {len(prediction.architectures)} are scored"
    )
