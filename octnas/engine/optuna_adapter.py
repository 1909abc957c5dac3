"""Optuna proposes, or our own sampler: what asks them and tells them what became of their proposals.

Backbones have different layers. TPE, NSGA-II, the Gaussian process and random draws have one in-memory
study a backbone and a share of the trials that follows its promise; TPE, if it is asked to, has one study
over all. Our own sampler learns of all backbones together and needs no study.

Nothing is stored here. Every proposal has random generators of its own, seeded by the search's seed and the
number of trials that were started before it, so that a `Proposer` that is made anew from a journal's history
proposes what the one that wrote it would have proposed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from octnas.architecture import Architecture
from octnas.engine.moments import Curve
from octnas.engine.optuna_samplers import MakeSampler, RepairedSampler
from octnas.engine.optuna_studies import Studies
from octnas.engine.proposals import Promise, Unknown
from octnas.engine.rungs import score_of
from octnas.engine.samplers import DEFAULT_SAMPLER
from octnas.engine.thompson import ROWS, START, Thompson
from octnas.errors import SpaceError, UnknownNameError, unknown_name
from octnas.record import TrialRecord, TrialState
from octnas.space import Feasible

__all__ = ["GP_DIMENSIONS", "SAMPLERS", "Proposer", "check_sampler", "known_sampler"]

GP_DIMENSIONS = 20
"""Most dimensions of a backbone for the Gaussian process: its proposals take .5 to 1.7 s of processor time at
13 and 15 dimensions and 60 finished trials, and more with more of either."""


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, n_startup_trials=START)


def _grouped_tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=START)


def _nsga2(seed: int) -> BaseSampler:
    return NSGAIISampler(seed=seed, population_size=12)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, n_startup_trials=START)


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


SHOWN = {"tpe": 400, "nsga2": 1000}
"""Trials of a study that a sampler looks at, about (`octnas.engine.optuna_storage`); others look at all. For
TPE each takes 0.2 ms of a proposal in 39 dimensions; NSGA-II seeks its latest generation among them."""
SAMPLERS: dict[str, MakeSampler | None] = {
    "thompson": None,
    "tpe": _tpe,
    "nsga2": _nsga2,
    "random": _random,
    "gp": _gp,
}
"""Our own, `octnas.engine.thompson`; multi-objective TPE; NSGA-II; stratified random draws (a relative
sampler that never proposes); a Gaussian process, for small spaces. All but our own are made anew for every
proposal, from a seed."""


def known_sampler(name: str) -> str:
    """`name`, if it is a sampler's.

    Raises:
        UnknownNameError: it is not.
    """
    if name not in SAMPLERS:
        raise unknown_name("sampler", name, SAMPLERS)
    return name


def check_sampler(name: str, feasible: Feasible) -> None:
    """Checks that a sampler can search a space.

    Raises:
        UnknownNameError: there is no such sampler.
        SpaceError: the Gaussian process, and a backbone has more than `GP_DIMENSIONS` dimensions.
    """
    if known_sampler(name) != "gp":
        return
    for backbone in feasible.backbones:
        dimensions = len(feasible.dimensions(backbone))
        if dimensions > GP_DIMENSIONS:
            raise SpaceError(
                f"sampler gp needs {GP_DIMENSIONS} dimensions or fewer a backbone, but {backbone} has "
                f"{dimensions} in space {feasible.space.name}: use --sampler thompson, or a space whose "
                "granularity is stage"
            )


class Proposer:
    """Asks samplers for architectures within the budget and tells them what became of them.

    Args:
        feasible: the members of the space within the budget.
        sampler: a key of `SAMPLERS`.
        seed: makes proposals repeatable, given the same order of asking and telling.
        rank_by: "accuracy" or "loss": the first objective; the second is the cost of `feasible.objective`.
        reserved: architectures that are trained anyway (yardsticks) and must not be proposed.
        history: what is known from before a death: each trial as it stood after each line of the journal, in
            the order of the lines. The first record of a trial is its start; one that is paused or final is
            told.
        grouped: TPE only: one study over all backbones, instead of one each and shares by promise.
        rows: architectures that our own sampler takes one by one, see `octnas.engine.thompson`.
        shown: trials of a study that Optuna's samplers look at, about; None: as many as `SHOWN` says.

    Raises:
        UnknownNameError: there is no such sampler, or `grouped` is not for it.
        SpaceError: the sampler cannot search this space.
    """

    def __init__(
        self,
        feasible: Feasible,
        *,
        sampler: str = DEFAULT_SAMPLER,
        seed: int = 0,
        rank_by: str = "accuracy",
        reserved: Iterable[Architecture] = (),
        history: Iterable[TrialRecord] = (),
        grouped: bool = False,
        rows: int = ROWS,
        shown: int | None = None,
    ) -> None:
        check_sampler(sampler, feasible)
        if grouped and sampler != "tpe":
            raise UnknownNameError(f"grouped proposals are for sampler tpe only, but got {sampler}")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._feasible = feasible
        self._seed = seed
        self._rank_by = rank_by
        self._unknown = Unknown(feasible, reserved)
        self._promise = Promise(feasible.backbones)
        self._started = 0
        self._pauses: dict[str, int] = {}
        """Of each trial under way, by its architecture's digest."""
        make = SAMPLERS[sampler]
        self._own: Thompson | None = None
        self._studies: Studies | None = None
        if make is None:
            self._own = Thompson(feasible, unknown=self._unknown, rows=rows)
        else:
            # TPE's groups are of no use, and not worked out, where there is one backbone.
            kind = _grouped_tpe if grouped and len(feasible.backbones) > 1 else make
            spans = [feasible.backbones] if grouped else [(name,) for name in feasible.backbones]
            made = [RepairedSampler(feasible, kind, backbones=span, unknown=self._unknown) for span in spans]
            self._studies = Studies(made, shown=SHOWN.get(sampler) if shown is None else shown)
        self._together = grouped or make is None
        seen: set[str] = set()
        for record in history:
            if record.id not in seen:
                seen.add(record.id)
                self.add(record.architecture, counts=record.yardstick is None)
            self.tell(record)

    def ask(self) -> Architecture | None:
        """An architecture within the budget that nobody asked for yet; None where there is none left."""
        left = self._unknown.left()
        if not left:
            return None
        choice, seed = self._generators()
        backbone = left[0] if self._together else self._promise.choose(left, np.random.default_rng(choice))
        architecture = self._start(backbone, seed, None)
        self._promise.ask(architecture.backbone)
        return architecture

    def ask_batch(self, count: int) -> list[Architecture]:
        """`count` architectures at once, or as many as are left. Our own sampler fits its model once for all
        of them, which makes a thousand proposals a matter of seconds."""
        found: list[Architecture] = []
        with contextlib.ExitStack() as stack:
            if self._own is not None:
                stack.enter_context(self._own.one_model())
            while len(found) < count and (proposed := self.ask()) is not None:
                found.append(proposed)
        return found

    def add(self, architecture: Architecture, *, counts: bool = False) -> None:
        """Makes an architecture known that was not asked for: a yardstick, or one from before a death.

        Args:
            counts: whether it was a proposal, and so counts for its backbone's share.
        """
        _, seed = self._generators()
        if self._feasible.contains(architecture) and architecture.digest not in self._pauses:
            self._start(architecture.backbone, seed, architecture)
            if counts:
                self._promise.ask(architecture.backbone)
        self._unknown.take(architecture)

    def tell(self, record: TrialRecord) -> None:
        """Tells what became of a trial; one under way, told already, or outside the budget is left out.

        Optuna's trials end once. One that was paused ends as pruned; if it goes on and completes, the
        complete one is added beside it.
        """
        architecture = record.architecture
        pauses = self._pauses.get(architecture.digest)
        if pauses is None or not (record.state.final or record.state is TrialState.PAUSED):
            return
        if record.state is TrialState.PAUSED:
            self._pauses[architecture.digest] = pauses + 1
            if not pauses or self._own is not None:
                self._tell(record, again=pauses > 0)
            return
        del self._pauses[architecture.digest]
        if record.state is TrialState.COMPLETE:
            point = self._score(record), record.cost(self._feasible.objective)
            self._tell(record, point, again=pauses > 0)
            self._promise.tell(architecture.backbone, point)
        elif not pauses:
            self._tell(record, again=False)
        (self._own or self._studied).settle(architecture)

    def shares(self) -> dict[str, float]:
        """The probability of each backbone that has unknown members: one more than it has on the front, over
        the sum. Where all backbones share a study this is what is reported, and not what decides."""
        return self._promise.shares(self._unknown.left())

    def _generators(self) -> tuple[np.random.SeedSequence, np.random.SeedSequence]:
        """The seeds of this start: for the choice of a backbone, and for its sampler."""
        choice, sampler = np.random.SeedSequence([self._seed, self._started]).spawn(2)
        self._started += 1
        return choice, sampler

    def _start(
        self, backbone: str, seed: np.random.SeedSequence, forced: Architecture | None
    ) -> Architecture:
        if self._own is None:
            architecture = self._studied.start(backbone, seed, forced)
        else:
            architecture = self._own.propose(np.random.default_rng(seed)) if forced is None else forced
            self._own.start(architecture)
            self._unknown.take(architecture)
        self._pauses[architecture.digest] = 0
        return architecture

    @property
    def _studied(self) -> Studies:
        assert self._studies is not None
        return self._studies

    def _score(self, record: TrialRecord) -> float:
        assert record.accuracy is not None
        assert record.loss is not None
        return score_of(record.accuracy, record.loss, self._rank_by)

    def _tell(self, record: TrialRecord, point: tuple[float, float] | None = None, *, again: bool) -> None:
        curve: Curve = [
            (each.epoch, score_of(each.accuracy, each.loss, self._rank_by)) for each in record.scores
        ]
        if self._own is None:
            self._studied.tell(record.architecture, record.state, curve, point, again=again)
        elif record.state is not TrialState.FAILED:
            if point is not None and not curve:
                curve = [(self._own.epochs, point[0])]
            self._own.tell(record.architecture, curve)
