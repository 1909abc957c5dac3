"""What the workers of a ranking do: trainings of any kind, and scores that cost none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from octnas.architecture import Architecture
from octnas.engine.evaluate import TrialJob, named, scores_of
from octnas.engine.initial import job_weights, kept_weights
from octnas.record import RunFolder, supernets
from octnas.record.ranking import SHARED, SHARED_LOSS, Kind, Model, Training
from octnas.space import Proxy, SearchSpace
from octnas.storage import Place

if TYPE_CHECKING:
    from octnas.data import ImageSet
    from octnas.train import TrainSettings

__all__ = ["Plans", "TrainingJob", "UntrainedJob", "work"]

WARM_SHARE = 4
"""A warm start has one in so many of the proxy's scores, where the search did not say how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One training."""

    training: Training
    job: TrialJob
    evaluate: str
    """Name of what trains, the search's own."""
    steps: float
    """Length in optimiser steps, by which the time that is left is told."""
    initial: Place | bytes | None = field(default=None, repr=False)
    """Weights that it begins from, see `TrialJob`."""

    @property
    def id(self) -> str:
        """Of the job, and of its checkpoint."""
        return self.job.id

    @property
    def threads(self) -> int:
        """CPU threads that it may use."""
        return self.job.threads


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrainedJob:
    """Scores without a training, of some architectures of one backbone."""

    id: str
    threads: int
    models: tuple[tuple[str, Architecture], ...]
    """Digest of the target's architecture, and the proxy's."""
    names: tuple[str, ...]
    """Of `ZERO_COST`, and `SHARED` and `SHARED_LOSS` where there are weights."""
    proxy: Proxy
    seed: int
    steps: float = 0.0
    initial: Place | bytes | None = field(default=None, repr=False)
    """The backbone's shared weights."""


def work(job: TrainingJob | UntrainedJob, data: Any, report: Callable[[Any], bool]) -> None:
    """Does a job, in a worker; a `UntrainedJob` reports [digest, name, value] for each score."""
    if isinstance(job, TrainingJob):
        named(job.evaluate)(replace(job.job, initial=job.initial), data, report)
        return
    from octnas.train import settings_from_proxy
    from octnas.train.speed import mode_of
    from octnas.train.zero_cost import zero_cost_scores

    settings = replace(settings_from_proxy(job.proxy, data), threads=job.threads)
    mode = mode_of(settings)
    for digest, architecture in job.models:
        scores = zero_cost_scores(
            architecture, data, batch_size=settings.batch_size, seed=job.seed, mode=mode
        )
        for name, value in scores.items():
            report([digest, name, value])
    if job.initial is not None:
        _score_shared(job, data, settings, report)


def _score_shared(
    job: UntrainedJob, data: ImageSet, settings: TrainSettings, report: Callable[[Any], bool]
) -> None:
    from octnas.train.pretrained import read_state
    from octnas.train.scoring import SharedScorer

    assert job.initial is not None
    state = read_state(job.initial, name=f"the shared weights of {job.models[0][1].backbone}")
    scorer = SharedScorer(job.models[0][1], state, data, settings)
    for digest, architecture in job.models:
        accuracy, loss = scorer.score(architecture)
        report([digest, SHARED, accuracy])
        if math.isfinite(loss):  # what is not cannot be written down
            report([digest, SHARED_LOSS, loss])


class Plans:
    """The jobs of a run's ranking.

    Args:
        data: the images or clips.
        epochs: of full trainings, where the scale's own number is not wanted.
    """

    def __init__(
        self, run: RunFolder, space: SearchSpace, data: ImageSet, *, epochs: int | None = None
    ) -> None:
        from octnas.train import settings_at_scale, settings_from_proxy
        from octnas.train.settings import warm_settings

        self._run = run
        self._space = space
        # Weights of a backbone that was dropped, or is not trained to the end, rank nothing.
        trained = supernets(run.journal.read())
        self._unfinished = {each.backbone for each in trained if each.state != "complete"}
        images = len(data.train)
        proxy = settings_from_proxy(space.proxy, data)
        full = settings_at_scale(proxy, "full", images=images, epochs=epochs)
        self._full = space.proxy.model_copy(
            update={
                "epochs": full.epochs,
                "steps": None,
                "evaluations": None,
                "train_images": None,
                "augment": full.augment,
            }
        )
        fine_tune = run.header.options.get("fine_tune")
        if fine_tune is None and not self.given:
            fine_tune = max(1, scores_of(space.proxy) // WARM_SHARE)
        self._fine_tune: int | None = fine_tune
        subset = min(images, proxy.train_images or images)
        warm = proxy if fine_tune is None else warm_settings(proxy, fine_tune, images)
        self.steps: dict[Kind, float] = {
            "scratch": proxy.step_bounds(subset)[-1],
            "warm": warm.step_bounds(subset)[-1],
            "full": full.step_bounds(images)[-1],
        }
        """Optimiser steps of a whole training of each kind."""
        self.epochs: dict[Kind, int] = {
            "scratch": proxy.scores,
            "warm": warm.scores,
            "full": full.scores,
        }
        """Scores of a whole training of each kind."""

    @property
    def given(self) -> bool:
        """Whether the search's trainings begin from weights that it was given."""
        return self._run.header.options.get("init", "scratch") not in ("scratch", "shared")

    @property
    def trials_are(self) -> Kind:
        """What the search's own trials are."""
        options = self._run.header.options
        shared = options.get("init") == "shared" and options.get("fine_tune") is not None
        return "warm" if shared or self.given else "scratch"

    def supernet(self, backbone: str) -> Place | None:
        """The shared weights of a backbone, None where the run has none."""
        path = self._run.supernet(backbone)
        return path if path.is_file() and backbone not in self._unfinished else None

    def warm(self, backbone: str) -> Place | None:
        """The weights that a warm start begins from; None where the run has none for this backbone."""
        path = job_weights(self._run, backbone) if self.trials_are == "warm" else self.supernet(backbone)
        return path if path is not None and path.is_file() else None

    def training(self, kind: Kind, model: Model, seed: int) -> TrainingJob:
        """One training of an architecture."""
        training = Training(kind=kind, digest=model.digest, seed=seed, epochs=self.epochs[kind])
        job_id = f"rank.{kind}.{training.epochs}.{model.digest}.{seed}"
        backbone = model.architecture.backbone
        initial = self.warm(backbone) if kind == "warm" else None
        if kind == "full" and self.given:
            initial = kept_weights(self._run, backbone)
        header = self._run.header
        return TrainingJob(
            training=training,
            evaluate=str(header.options["evaluate"]),
            steps=self.steps[kind],
            initial=initial,
            job=TrialJob(
                id=job_id,
                architecture=model.architecture,
                gflops=model.gflops,
                proxy_architecture=self._space.proxy_architecture(model.architecture),
                proxy=self._full if kind == "full" else self._space.proxy,
                epochs=training.epochs,
                seed=seed,
                checkpoint=self._run.checkpoint(job_id),
                fine_tune=self._fine_tune if kind == "warm" else None,
                threads=max(1, int(header.cpus_per_trial)),
            ),
        )

    def untrained(self, models: list[Model], names: tuple[str, ...], number: int) -> UntrainedJob:
        """The scores without training of some models of one backbone."""
        backbone = models[0].architecture.backbone
        return UntrainedJob(
            id=f"rank.scores.{number}",
            threads=max(1, int(self._run.header.cpus_per_trial)),
            models=tuple((each.digest, self._space.proxy_architecture(each.architecture)) for each in models),
            names=names,
            proxy=self._space.proxy,
            seed=self._run.header.seed,
            initial=self.supernet(backbone) if SHARED in names else None,
        )
