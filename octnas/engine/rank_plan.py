"""What a ranking lacks: its jobs in order, and what the search's own trials have done for it already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from octnas.engine.rank_jobs import Plans, UntrainedJob
from octnas.engine.ranking import RankJob
from octnas.engine.rungs import rung_levels
from octnas.front.trust import SMOOTHED
from octnas.record import RunFolder, TrialRecord, TrialState
from octnas.record.ranking import SHARED, SHARED_LOSS, Kind, Model, Ranked, Training, training_event
from octnas.space import Feasible, SearchSpace

if TYPE_CHECKING:
    from octnas.data import ImageSet
    from octnas.engine.workers import Workers

__all__ = ["Asked", "labels_of", "missing_jobs", "ranked_by", "reused_trainings", "seconds_per_step"]

UNTRAINED = ("synflow", "grad-norm")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What is ranked, checked at the door."""

    run: RunFolder
    space: SearchSpace
    feasible: Feasible
    data: ImageSet
    workers: Workers
    plans: Plans
    records: list[TrialRecord]
    ranked: Ranked
    count: int
    seeds: tuple[int, ...]
    """Of full training."""

    @property
    def seed(self) -> int:
        """Of the proxies' trainings."""
        return self.run.header.seed

    @property
    def models(self) -> list[Model]:
        """The architectures that are asked for."""
        return self.ranked.models[: self.count]

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which the search compares trials."""
        rungs = self.space.proxy.rungs
        return rung_levels(
            min_epochs=rungs.min_epochs, eta=rungs.eta, max_epochs=self.plans.epochs["scratch"]
        )


def reused_trainings(asked: Asked) -> Iterator[dict[str, Any]]:
    """Events of the search's own complete trials, which are proxies that need no training any more."""
    kind, known = asked.plans.trials_are, asked.ranked.trainings
    trials = {record.architecture: record for record in asked.records if record.state is TrialState.COMPLETE}
    for model in asked.models:
        record = trials.get(model.architecture)
        if record is None or record.seed != asked.seed:
            continue
        training = Training(kind=kind, digest=model.digest, seed=record.seed, epochs=asked.plans.epochs[kind])
        if training not in known and len(record.scores) == training.epochs:
            yield training_event(training, record.scores)


def missing_jobs(asked: Asked) -> Iterator[RankJob]:
    """What is missing, in the order in which it is done."""
    plans, ranked = asked.plans, asked.ranked
    yield from _untrained(asked)
    rounds: list[tuple[Kind, int]] = [("scratch", asked.seed), ("warm", asked.seed)]
    rounds += [("full", seed) for seed in asked.seeds]
    for kind, seed in rounds:
        for model in asked.models:
            if kind == "warm" and plans.warm(model.architecture.backbone) is None:
                continue
            if ranked.scores(kind, model.digest, seed, plans.epochs[kind]) is None:
                yield plans.training(kind, model, seed)


def _untrained(asked: Asked) -> Iterator[UntrainedJob]:
    """One job a backbone, for the architectures that lack a score."""
    for number, backbone in enumerate(asked.feasible.backbones):
        names = UNTRAINED if asked.plans.supernet(backbone) is None else (*UNTRAINED, SHARED, SHARED_LOSS)
        lacking = [
            model
            for model in asked.models
            if model.architecture.backbone == backbone
            and not asked.ranked.values.get(model.digest, {}).keys() >= set(names)
        ]
        if lacking:
            yield asked.plans.untrained(lacking, names, number)


def labels_of(ranked: Ranked) -> dict[str, str]:
    """ "resnet18 1.137 GFLOPs" by digest."""
    return {
        model.digest: f"{model.architecture.backbone} {model.gflops:.3g} GFLOPs" for model in ranked.models
    }


def seconds_per_step(asked: Asked) -> float | None:
    """What a step took in the search's own trials."""
    found = [record for record in asked.records if record.epochs and record.seconds]
    if not found:
        return None
    share = asked.plans.steps["scratch"] / asked.plans.epochs["scratch"]
    return sum(record.seconds for record in found) / sum(record.epochs * share for record in found)


def ranked_by(asked: Asked) -> tuple[str, ...]:
    """The proxies by which the search chooses: shared scores say what is trained, trials what is reported."""
    trials = asked.plans.trials_are
    shared = asked.run.header.options.get("init") == "shared"
    return (SMOOTHED, trials) if shared else (trials,)
