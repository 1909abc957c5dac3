"""One trial: trains the proxy of an architecture and reports its scores. Knows no Ray, Optuna or MLflow.

Anything of the same shape can take the place of `evaluate`: an importable function of a job, the data and a
`report`, which takes an `EpochScore` after each epoch and answers whether to go on. The last epoch's report
ends the trial; whatever is raised makes it a failed one with the error as its reason.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from octnas.architecture import Architecture
from octnas.errors import OctnasError, RunError
from octnas.record import EpochScore
from octnas.space import Proxy
from octnas.storage import Place

if TYPE_CHECKING:
    from octnas.data import ImageSet
    from octnas.train import ProxyTraining

__all__ = ["Evaluate", "Report", "TrialJob", "evaluate", "failure_reason", "name_of", "named", "scores_of"]

KEPT_SECONDS = 2.0
"""An epoch that took this long is kept on disk, so that a worker's death does not cost it."""

Report = Callable[[EpochScore], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialJob:
    """What a worker needs to know of a trial, beside the images."""

    id: str
    architecture: Architecture
    """The target's."""
    gflops: float
    """10^9 multiply-adds of the target."""
    proxy_architecture: Architecture
    """The network that is trained."""
    proxy: Proxy
    epochs: int
    """Scores that a whole training gives."""
    seed: int
    checkpoint: Place
    """Where the training is kept: at a pause, after a death, and whole."""
    scored: int = 0
    """Epochs whose scores the journal has: a trial that goes on reports from the next one."""
    rungs: tuple[int, ...] = ()
    """Epochs after which the trial may be paused, so that it must be kept."""
    test: bool = False
    """Score the last epoch on the test images too, where there are any."""
    threads: int = 1
    """CPU threads that the trial may use."""
    initial: Place | bytes | None = field(default=None, repr=False)
    """A safetensors file, or what is in it, with the weights that the training begins from; None: drawn by
    the seed."""
    fine_tune: int | None = None
    """Scores of a short training (`warm_settings`) in place of the proxy's."""


Evaluate = Callable[[TrialJob, Any, Report], None]


def scores_of(proxy: Proxy) -> int:
    """How many scores a whole training gives: its epochs, or its evaluations where the length is in steps."""
    return proxy.epochs if proxy.epochs is not None else proxy.evaluations or 1


def evaluate(job: TrialJob, data: Any, report: Report) -> None:
    """Trains the proxy network of a job on an `ImageSet`, epoch by epoch, from its checkpoint if it has one.

    The last score is of all validation images; the weights are on disk before it is reported. Where they
    cannot be written (a full disk) the score counts all the same, and the trial's row names no checkpoint.
    """
    training = _training(job, data)
    if training.same_as(job.checkpoint):
        training.load(job.checkpoint)
        for known in training.scores[job.scored :]:  # it died after the checkpoint, before the report
            if not report(known):
                return
    while not training.finished:
        last = training.epoch + 1 == training.settings.scores
        score = training.run_epoch(full_validation=last)
        if last and job.test and data.test is not None:
            score = replace(score, test_accuracy=training.test_accuracy())
            training.scores[-1] = score
        if last or score.epoch in job.rungs or score.seconds >= KEPT_SECONDS:
            with contextlib.suppress(RunError):
                training.save(job.checkpoint)
        if not report(score):
            return


def _training(job: TrialJob, data: ImageSet) -> ProxyTraining:
    from octnas.train import ProxyTraining, settings_from_proxy
    from octnas.train.pretrained import fitted_state, read_state
    from octnas.train.settings import warm_settings

    settings = replace(settings_from_proxy(job.proxy, data), threads=job.threads)
    if job.fine_tune is not None:
        settings = warm_settings(settings, job.fine_tune, len(data.train))
    initial = None
    if job.initial is not None:
        initial, _ = fitted_state(
            read_state(job.initial, name=f"the initial weights of {job.architecture.backbone}"),
            job.proxy_architecture,
            num_classes=len(data.classes),
            in_channels=data.channels,
            name=f"the initial weights of {job.architecture.backbone}",
        )
    return ProxyTraining(job.proxy_architecture, data, settings, seed=job.seed, initial=initial)


def name_of(function: Evaluate) -> str:
    """'package.module:function', by which a worker finds the function again.

    Raises:
        RunError: the function cannot be imported, so no worker could.
    """
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    found = getattr(sys.modules.get(module), name, None)
    if module == "__main__" or not name.isidentifier() or found is not function:
        raise RunError(
            f"`evaluate` must be a function at the top of an importable module, but got {function!r}: "
            "move it into a file of its own and import it"
        )
    return f"{module}:{name}"


def named(name: str) -> Evaluate:
    """The function that `name_of` named.

    Raises:
        RunError: it can no longer be imported.
    """
    module, _, function = name.partition(":")
    try:
        found: Evaluate = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RunError(f"`evaluate` of this search is {name!r}, which cannot be imported: {error}") from None
    return found


def failure_reason(error: BaseException) -> str:
    """One line on why a trial failed."""
    text = " ".join(str(error).split())
    if isinstance(error, OctnasError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
