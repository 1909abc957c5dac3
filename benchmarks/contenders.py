"""The methods that are measured against each other, each as a trace of what it trained to the end.

A search of octnas is the real campaign with its sampler, rungs and journal on a simulated clock; it asks for
as many candidates as the budget of epochs could ever begin and is interrupted when the epochs are spent.
The methods that are not octnas's have no rungs and no engine: they train what they ask for to the end.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from problem import Problem, without_rungs

from octnas.architecture import Architecture
from octnas.engine.evaluate import TrialJob
from octnas.engine.run_search import new_campaign
from octnas.engine.simulated import SimulatedClock, simulate
from octnas.record import EpochScore, RunFolder, SearchHeader

__all__ = ["METHODS", "Method", "Trained", "run"]

DRAWS = 1_000_000
"""Draws without a new member within the budget after which straight random search ends."""
SUGGESTIONS = 3
"""Suggestions after which plain Optuna ends, as a multiple of the trainings that the epochs pay for: what it
proposes in vain or again costs it nothing, so the epochs alone would not end it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One architecture that was trained to the end."""

    epochs: int
    """Spent by the whole search when it was."""
    gflops: float
    truth: float
    seen: float
    """The accuracy that the search saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One contender."""

    kind: str
    """"engine", "straight", "optuna" or "uniform"."""
    sampler: str = ""
    rungs: bool = False
    grouped: bool = False


METHODS: dict[str, Method] = {
    "thompson": Method(kind="engine", sampler="thompson"),
    "thompson + rungs": Method(kind="engine", sampler="thompson", rungs=True),
    "tpe": Method(kind="engine", sampler="tpe"),
    "tpe + rungs": Method(kind="engine", sampler="tpe", rungs=True),
    "tpe grouped": Method(kind="engine", sampler="tpe", grouped=True),
    "tpe grouped + rungs": Method(kind="engine", sampler="tpe", rungs=True, grouped=True),
    "nsga2": Method(kind="engine", sampler="nsga2"),
    "nsga2 + rungs": Method(kind="engine", sampler="nsga2", rungs=True),
    "random stratified": Method(kind="engine", sampler="random"),
    "random stratified + rungs": Method(kind="engine", sampler="random", rungs=True),
    "random straight": Method(kind="straight"),
    "optuna tpe": Method(kind="optuna", sampler="tpe"),
    "optuna nsga2": Method(kind="optuna", sampler="nsga2"),
    "uniform alphas": Method(kind="uniform"),
}
"""By the name that the report has."""


@dataclass
class _Ledger:
    """Trains, and counts the epochs."""

    problem: Problem
    seed: int
    epochs: int
    """That may be spent."""
    spent: int = 0
    trained: list[Trained] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether the epochs are spent."""
        return self.spent >= self.epochs

    def scores(self, architecture: Architecture, *, after: int = 0) -> Iterator[EpochScore]:
        """The scores of a training beyond epoch `after`; each one drawn is an epoch spent."""
        for score in self.problem.scores(architecture, self.seed):
            if score.epoch <= after:
                continue
            if self.over:
                return
            self.spent += 1
            if score.epoch == self.problem.epochs:
                self.trained.append(
                    Trained(
                        epochs=self.spent,
                        gflops=self.problem.space.gflops(architecture),
                        truth=self.problem.truth(architecture),
                        seen=score.accuracy,
                    )
                )
            yield score

    def train(self, architecture: Architecture) -> float | None:
        """The last accuracy of a whole training; None where nothing is known of the architecture, or the
        epochs did not suffice."""
        scores: list[EpochScore] = []
        with contextlib.suppress(KeyError):
            scores.extend(self.scores(architecture))
        return scores[-1].accuracy if len(scores) == self.problem.epochs else None


def run(problem: Problem, method: Method, *, seed: int, epochs: int, workers: int = 1) -> list[Trained]:
    """What a method trained to the end with so many epochs.

    Args:
        seed: of the replication: of the method's choices and of the trainings that it sees.
        workers: simulated, of the searches of octnas.
    """
    ledger = _Ledger(problem, seed, epochs)
    match method.kind:
        case "engine":
            _engine(ledger, method, workers)
        case "straight":
            for architecture in _straight(problem, seed):
                ledger.train(architecture)
                if ledger.over:
                    break
        case "optuna":
            _optuna(ledger, method.sampler)
        case "uniform":
            for architecture in _uniform(problem):
                ledger.train(architecture)
    return ledger.trained


# -------------------------------------------------------------------- octnas
def _engine(ledger: _Ledger, method: Method, workers: int) -> None:
    problem = ledger.problem
    space = problem.space if method.rungs else without_rungs(problem.space, epochs=problem.epochs)
    feasible = space.feasible(problem.budget_gflops)
    clock = SimulatedClock()
    header = SearchHeader(
        name="replay",
        space_yaml=space.to_yaml(),
        budget_gflops=problem.budget_gflops,
        trials=ledger.epochs,
        seed=ledger.seed,
        data=space.proxy.data,
        sampler=method.sampler,
    )
    with _folder():
        folder = RunFolder.create(header.name, header)
        campaign = new_campaign(
            folder, space=space, feasible=feasible, grouped=method.grouped, clock=clock, workers=workers
        )

        def scores(job: TrialJob) -> Iterator[EpochScore]:
            yield from ledger.scores(job.architecture, after=job.scored)
            if ledger.over:
                campaign.interrupt()

        try:
            simulate(campaign, scores=scores, workers=workers, clock=clock)
        finally:
            folder.journal.release()


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    """A home for one run, in memory where the system has a place for it: the journal syncs every line."""
    memory = Path("/dev/shm")
    before = os.environ.get("OCTNAS_HOME")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as home:
        os.environ["OCTNAS_HOME"] = home
        try:
            yield
        finally:
            os.environ.pop("OCTNAS_HOME")
            if before is not None:
                os.environ["OCTNAS_HOME"] = before


# -------------------------------------------------------------------- without octnas
def _straight(problem: Problem, seed: int) -> Iterator[Architecture]:
    """A backbone uniformly, then each of its choices uniformly; what is over the budget or was drawn before
    is left out and costs nothing. Ends after `DRAWS` draws without anything new."""
    rng = np.random.default_rng([seed, 1])
    space = problem.space
    feasible = space.feasible(problem.budget_gflops)
    known: set[str] = set()
    fruitless = 0
    while fruitless < DRAWS:
        backbone = space.backbones[int(rng.integers(len(space.backbones)))]
        members = space.members(backbone)
        limits = [dimension.choices for dimension in members.dimensions]
        values = rng.integers(limits)
        fruitless += 1
        names = [dimension.name for dimension in members.dimensions]
        architecture = space.decode(backbone, dict(zip(names, values.tolist(), strict=True)))
        if feasible.within(architecture) and architecture.digest not in known:
            known.add(architecture.digest)
            fruitless = 0
            yield architecture


def _uniform(problem: Problem) -> list[Architecture]:
    """One alpha for the whole network, of every backbone, within the budget; cheapest first."""
    space = problem.space
    every = [
        space.uniform(backbone, alpha, space.downsample[0])
        for backbone in space.backbones
        for alpha in space.alphas
    ]
    return sorted((each for each in every if space.gflops(each) <= problem.budget_gflops), key=space.gflops)


def _optuna(ledger: _Ledger, sampler: str) -> None:
    """One study as Optuna's users write it, with Optuna's defaults: a categorical backbone, whole numbers for
    that backbone's choices, and the budget as a constraint. What is over the budget is told with its
    violation and trained for nothing; what was trained before is told again for nothing."""
    import optuna

    problem = ledger.problem
    space = problem.space
    factories: dict[str, Callable[..., optuna.samplers.BaseSampler]] = {
        "tpe": optuna.samplers.TPESampler,
        "nsga2": optuna.samplers.NSGAIISampler,
    }
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known: dict[str, float | None] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(
            directions=["maximize", "minimize"], sampler=factories[sampler](seed=ledger.seed)
        )
        for _ in range(SUGGESTIONS * ledger.epochs // problem.epochs):
            trial = study.ask()
            backbone = trial.suggest_categorical("backbone", space.backbones)
            values = {
                each.name: trial.suggest_int(each.name, 0, each.choices - 1)
                for each in space.dimensions(backbone)
            }
            architecture = space.decode(backbone, values)
            gflops = space.gflops(architecture)
            trial.set_constraint("GFLOPs over the budget", gflops - problem.budget_gflops)
            if gflops > problem.budget_gflops:
                study.tell(trial, [0.0, gflops])  # never compared with what is within the budget
                continue
            if architecture.digest not in known:
                known[architecture.digest] = ledger.train(architecture)
            accuracy = known[architecture.digest]
            if accuracy is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, [accuracy, gflops])
            if ledger.over:
                break
