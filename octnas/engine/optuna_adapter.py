"""Optuna proposes: the one file that knows it.

One in-memory study a backbone, since backbones have different layers. The sampler of a study is wrapped, so
that what Optuna records is the architecture that is trained: repaired into the budget and never one that is
known already. Start-up draws come from `Feasible.sample`, which spreads them over the whole front.

Nothing is stored here: after a death a `Proposer` is made anew from the journal's records.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as OptunaState

from octnas.architecture import Architecture
from octnas.engine.rungs import Point, pareto_ranks, score_of
from octnas.errors import unknown_name
from octnas.record import TrialRecord, TrialState
from octnas.space import Feasible

__all__ = ["SAMPLERS", "Proposer", "known_sampler"]

ROUND_ROBIN = 2
"""Proposals that each backbone gets before promise decides."""
RETRIES = 20
"""Proposals of Optuna's sampler that may be known before the space itself draws."""
DRAWS = 300
"""Draws from the space that may be known before its members are listed."""
LISTED = 50_000
"""Largest number of combinations that is listed to find the last unknown member."""


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, n_startup_trials=6)


def _nsga2(seed: int) -> BaseSampler:
    return NSGAIISampler(seed=seed, population_size=12)


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {"tpe": _tpe, "nsga2": _nsga2, "random": _random}
"""Multi-objective TPE, NSGA-II, and stratified random draws (a relative sampler that never proposes)."""


def known_sampler(name: str) -> str:
    """`name`, if it is a sampler's.

    Raises:
        UnknownNameError: it is not.
    """
    if name not in SAMPLERS:
        raise unknown_name("sampler", name, SAMPLERS)
    return name


class _FeasibleSampler(BaseSampler):
    """Optuna's sampler, made to propose unknown members of the feasible set of one backbone only."""

    def __init__(
        self, inner: BaseSampler, feasible: Feasible, backbone: str, known: set[str], rng: np.random.Generator
    ) -> None:
        self._inner = inner
        self._feasible = feasible
        self._backbone = backbone
        self._known = known
        self._rng = rng
        self.choices = {each.name: each.choices for each in feasible.dimensions(backbone)}
        # Optuna's samplers leave out parameters that have one value only.
        self.space: dict[str, BaseDistribution] = {
            name: IntDistribution(0, choices - 1) for name, choices in self.choices.items() if choices > 1
        }
        self.forced: Architecture | None = None
        """What the next trial shall be, instead of a proposal."""
        self.chosen: Architecture | None = None
        """What the last trial is; None where every member is known."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self.forced is not None:
            # Asked all the same: NSGA-II writes the generation of a trial here.
            self._inner.sample_relative(study, trial, search_space)
            self.chosen = self.forced
        else:
            self.chosen = self._propose(study, trial, search_space)
        values = {} if self.chosen is None else self._feasible.encode(self.chosen)
        return {name: int(values.get(name, 0)) for name in search_space}

    def _propose(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Architecture | None:
        for _ in range(RETRIES):
            proposal = self._inner.sample_relative(study, trial, search_space)
            if not proposal:  # the sampler's own start-up
                break
            # NSGA-II leaves out what it mutates: a missing choice is drawn.
            values = {
                name: int(proposal[name]) if name in proposal else int(self._rng.integers(choices))
                for name, choices in self.choices.items()
            }
            architecture = self._feasible.repair(self._backbone, values, self._rng)
            if architecture.digest not in self._known:
                return architecture
        for _ in range(DRAWS):
            architecture = self._feasible.sample(self._rng, self._backbone)
            if architecture.digest not in self._known:
                return architecture
        return self._listed()

    def _listed(self) -> Architecture | None:
        """An unknown member, found by looking at all of them where they are few enough to list."""
        if prod(self.choices.values()) > LISTED:
            return None
        unknown = {}
        for combination in product(*map(range, self.choices.values())):
            values = dict(zip(self.choices, combination, strict=True))
            architecture = self._feasible.decode(self._backbone, values)
            if architecture.digest not in self._known and self._feasible.contains(architecture):
                unknown[architecture.digest] = architecture
        return unknown[sorted(unknown)[int(self._rng.integers(len(unknown)))]] if unknown else None

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: OptunaState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        self._inner.reseed_rng()


class Proposer:
    """Asks Optuna for architectures within the budget and tells it what became of them.

    Args:
        feasible: the members of the space within the budget.
        sampler: a key of `SAMPLERS`.
        seed: makes proposals repeatable, given the same order of asking and telling.
        rank_by: "accuracy" or "loss": the first objective; the second is GFLOPs.
        reserved: architectures that are trained anyway (yardsticks) and must not be proposed.
        records: what is known from before a death, in the order in which the trials started.
    """

    def __init__(
        self,
        feasible: Feasible,
        *,
        sampler: str = "tpe",
        seed: int = 0,
        rank_by: str = "accuracy",
        reserved: Iterable[Architecture] = (),
        records: Iterable[TrialRecord] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        records = tuple(records)
        self._feasible = feasible
        self._rank_by = rank_by
        self._known = {each.digest for each in reserved}
        # A search that goes on must not draw again what it drew before it died.
        self._rng = np.random.default_rng([seed, len(records)])
        self._left = list(feasible.backbones)
        self._asked = dict.fromkeys(feasible.backbones, 0)
        self._finished: list[tuple[str, Point]] = []
        self._trials: dict[str, tuple[Study, Trial]] = {}
        self._samplers: dict[str, _FeasibleSampler] = {}
        self._studies: dict[str, Study] = {}
        factory = SAMPLERS[known_sampler(sampler)]
        for index, backbone in enumerate(feasible.backbones):
            inner_seed = int(np.random.SeedSequence([seed, len(records), index]).generate_state(1)[0])
            wrapped = _FeasibleSampler(factory(inner_seed), feasible, backbone, self._known, self._rng)
            self._samplers[backbone] = wrapped
            self._studies[backbone] = optuna.create_study(
                study_name=backbone, directions=["maximize", "minimize"], sampler=wrapped
            )
        for record in records:
            self.add(record.architecture, counts=record.yardstick is None)
        for record in records:
            self.tell(record)

    def ask(self) -> Architecture | None:
        """An architecture within the budget that nobody asked for yet; None where there is none left."""
        while self._left:
            backbone = self._choose_backbone()
            architecture = self._ask(backbone, None)
            if architecture is not None:
                self._asked[backbone] += 1
                return architecture
            self._left.remove(backbone)
        return None

    def add(self, architecture: Architecture, *, counts: bool = False) -> None:
        """Makes an architecture known that was not asked for: a yardstick, or one from before a death.

        Args:
            counts: whether it was a proposal, and so counts for its backbone's share.
        """
        self._known.add(architecture.digest)
        if counts and architecture.backbone in self._asked:
            self._asked[architecture.backbone] += 1
        if self._feasible.contains(architecture) and architecture.digest not in self._trials:
            self._ask(architecture.backbone, architecture)

    def tell(self, record: TrialRecord) -> None:
        """Tells what became of a trial; one under way, or outside the space or budget, is left out."""
        if not record.state.final or record.architecture.digest not in self._trials:
            return
        study, trial = self._trials.pop(record.architecture.digest)
        if record.state is TrialState.COMPLETE and record.accuracy is not None and record.loss is not None:
            score = score_of(record.accuracy, record.loss, self._rank_by)
            study.tell(trial, [score, record.gflops])
            self._finished.append((record.architecture.backbone, (score, record.gflops)))
        else:
            stopped = record.state is TrialState.STOPPED
            study.tell(trial, state=OptunaState.PRUNED if stopped else OptunaState.FAIL)

    def shares(self) -> dict[str, float]:
        """The probability of each backbone that has unknown members: one more than it has on the front."""
        ranks = pareto_ranks([point for _, point in self._finished])
        front = [backbone for (backbone, _), rank in zip(self._finished, ranks, strict=True) if rank == 0]
        weights = {backbone: 1 + front.count(backbone) for backbone in self._left}
        return {backbone: weight / sum(weights.values()) for backbone, weight in weights.items()}

    def _choose_backbone(self) -> str:
        fewest = min(self._left, key=lambda backbone: self._asked[backbone])
        if self._asked[fewest] < ROUND_ROBIN:
            return fewest
        shares = self.shares()
        return str(self._rng.choice(list(shares), p=list(shares.values())))

    def _ask(self, backbone: str, forced: Architecture | None) -> Architecture | None:
        study, sampler = self._studies[backbone], self._samplers[backbone]
        sampler.forced = forced
        with warnings.catch_warnings():
            # Experimental features of Optuna are a choice of ours, not news for the user.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = study.ask(sampler.space)
        chosen = sampler.chosen
        if chosen is None:
            study.tell(trial, state=OptunaState.FAIL)
            return None
        self._known.add(chosen.digest)
        self._trials[chosen.digest] = (study, trial)
        return chosen
