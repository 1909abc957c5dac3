"""Optuna samplers that propose unknown members of the feasible set and nothing else.

`RepairedSampler` wraps one of Optuna's: what Optuna records is the architecture that is trained, repaired
into the budget and never one that is known already. `ThompsonSampler` brings our own to any study.

A study is over one backbone or over several. Over several it has a categorical parameter `BACKBONE`, and a
trial has its own backbone's dimensions only; their names start with the backbone's.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from octnas.architecture import Architecture
from octnas.engine.proposals import Unknown, stratified
from octnas.engine.thompson import START, Thompson
from octnas.space import Feasible

__all__ = [
    "BACKBONE",
    "SCORES",
    "START",
    "FeasibleSampler",
    "MakeSampler",
    "RepairedSampler",
    "ThompsonSampler",
]

BACKBONE = "backbone"
"""The parameter of a study over several backbones."""
SCORES = "octnas:scores"
"""The user attribute with a trial's (epoch, score) pairs, higher is better."""
RETRIES = 5
"""Proposals of a wrapped sampler that may be known before the space itself draws."""

MakeSampler = Callable[[int], BaseSampler]
"""Makes one of Optuna's samplers from a seed."""


class FeasibleSampler(BaseSampler):
    """A sampler whose every proposal is an unknown member within the budget, if there is one.

    Args:
        feasible: the members within the budget.
        backbones: those of the study; default all that have a feasible member.
        unknown: the members that nobody asked for; default: those that no trial of the study is.
        seed: makes proposals repeatable.
    """

    def __init__(
        self,
        feasible: Feasible,
        *,
        backbones: Sequence[str] | None = None,
        unknown: Unknown | None = None,
        seed: int | None = None,
    ) -> None:
        self.feasible = feasible
        self.backbones = tuple(feasible.backbones if backbones is None else backbones)
        self.unknown = Unknown(feasible) if unknown is None else unknown
        self.rng = np.random.default_rng(seed)
        self.dimensions: dict[str, dict[str, BaseDistribution]] = {
            name: {each.name: IntDistribution(0, each.choices - 1) for each in feasible.dimensions(name)}
            for name in self.backbones
        }
        self.space: dict[str, BaseDistribution] = {}
        """All parameters of the study."""
        if len(self.backbones) > 1:
            self.space[BACKBONE] = CategoricalDistribution(self.backbones)
        for dimensions in self.dimensions.values():
            self.space.update(dimensions)
        self.forced: Architecture | None = None
        """What the next trial shall be, instead of a proposal."""
        self.trials: Counter[str] = Counter()
        """How many trials of each backbone were sampled here."""

    def prepare(self, seed: np.random.SeedSequence, forced: Architecture | None = None) -> None:
        """Seeds the next proposal, so that it depends on `seed` and the study's trials and nothing else."""
        self.rng = np.random.default_rng(seed)
        self.forced = forced

    def suggested(self, trial: Any) -> Architecture:
        """The architecture of a trial that was just asked for, its parameters read as a search reads them."""
        backbone = self.backbones[0]
        if len(self.backbones) > 1:
            backbone = trial.suggest_categorical(BACKBONE, self.backbones)
        values = {
            each.name: trial.suggest_int(each.name, 0, each.choices - 1)
            for each in self.feasible.dimensions(backbone)
        }
        return self.feasible.decode(backbone, values)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self.forced is None:
            chosen = self.propose(study, trial)
        else:
            chosen = self.forced
            self.join(study, trial)
        self.unknown.take(chosen)
        self.trials[chosen.backbone] += 1
        values: dict[str, Any] = {BACKBONE: chosen.backbone} if len(self.backbones) > 1 else {}
        return values | self.feasible.encode(chosen)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """For parameters that are none of the space's: uniform."""
        sampler = RandomSampler(int(self.rng.integers(2**32)))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self.rng = np.random.default_rng()

    @abstractmethod
    def propose(self, study: Study, trial: FrozenTrial) -> Architecture:
        """The next architecture."""

    def join(self, study: Study, trial: FrozenTrial) -> None:
        """Notes a trial that was not proposed."""

    def stratified(self, left: Sequence[str]) -> Architecture:
        """A random draw, see `octnas.engine.proposals.stratified`; `left` as of `left()`."""
        return stratified(self.feasible, self.unknown, left or self.backbones, self.trials, self.rng)

    def left(self) -> list[str]:
        """The study's backbones that have unknown members."""
        return [name for name in self.unknown.left() if name in self.backbones]


class RepairedSampler(FeasibleSampler):
    """One of Optuna's samplers; its proposals are repaired into the budget.

    Args:
        make: makes the sampler. Each proposal has a fresh one, so that nothing is remembered outside the
            study.
    """

    def __init__(self, feasible: Feasible, make: MakeSampler, **options: Any) -> None:
        super().__init__(feasible, **options)
        self._make = make
        self._inner = self._made(0)

    def prepare(self, seed: np.random.SeedSequence, forced: Architecture | None = None) -> None:
        super().prepare(seed, forced)
        self._inner = self._made(int(seed.generate_state(1)[0]))

    def _made(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            # Experimental features of Optuna are a choice of ours, not news for the user.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return self._make(seed)

    def join(self, study: Study, trial: FrozenTrial) -> None:
        if isinstance(self._inner, NSGAIISampler):  # writes the trial's generation and who its parents are
            self._inner.sample_relative(study, trial, self.space)

    def propose(self, study: Study, trial: FrozenTrial) -> Architecture:
        left = self.left()
        backbone = self.backbones[0] if len(self.backbones) == 1 else self._backbone(study, trial, left)
        if backbone is None or backbone not in left:
            return self.stratified(left)
        for _ in range(RETRIES):
            proposal = self._inner.sample_relative(study, trial, self.dimensions[backbone])
            if not proposal:  # the sampler's own start-up
                break
            # NSGA-II leaves out what it mutates: a missing choice is drawn.
            values = {
                each.name: int(proposal.get(each.name, self.rng.integers(each.choices)))
                for each in self.feasible.dimensions(backbone)
            }
            architecture = self.feasible.repair(backbone, values, self.rng)
            if self.unknown.has(architecture):
                return architecture
        return self.unknown.draw(backbone, self.rng)

    def _backbone(self, study: Study, trial: FrozenTrial, left: Sequence[str]) -> str | None:
        """The sampler's choice; None at its start-up. Asked for apart from the dimensions, so that those of
        the other backbones need no model."""
        self._inner.infer_relative_search_space(study, trial)
        proposal = self._inner.sample_relative(study, trial, {BACKBONE: self.space[BACKBONE]})
        return None if not proposal else str(proposal[BACKBONE])

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: OptunaState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)


class ThompsonSampler(FeasibleSampler):
    """Our own sampler, `octnas.engine.thompson`, on any study whose first objective is the score.

    Works with `suggested` or the same parameters suggested by hand. Learns from every trial that has a value
    or the user attribute `SCORES`, so from pruned ones too. A search of octnas has no study for it.
    """

    def __init__(self, feasible: Feasible, **options: Any) -> None:
        super().__init__(feasible, **options)
        self._own = Thompson(feasible, backbones=self.backbones, unknown=self.unknown)
        self._started: dict[int, Architecture] = {}
        self._told: set[int] = set()

    def propose(self, study: Study, trial: FrozenTrial) -> Architecture:
        sign = 1 if study.directions[0] is StudyDirection.MAXIMIZE else -1
        for each in study.get_trials(deepcopy=False):
            if each.number == trial.number or each.number in self._told or not self._read(each):
                continue
            if SCORES in each.user_attrs:
                curve = each.user_attrs[SCORES]
            elif each.state is OptunaState.COMPLETE:
                curve = [(self._own.epochs, sign * each.values[0])]
            else:
                continue
            if each.state.is_finished():
                self._told.add(each.number)
            self._own.tell(self._started[each.number], curve)
        return self._own.propose(self.rng)

    def _read(self, trial: FrozenTrial) -> bool:
        """Takes in a trial's architecture; False where its parameters are not all there."""
        if trial.number in self._started:
            return True
        backbone = trial.params.get(BACKBONE, self.backbones[0])
        if backbone not in self.dimensions or not self.dimensions[backbone].keys() <= trial.params.keys():
            return False
        values = {name: int(trial.params[name]) for name in self.dimensions[backbone]}
        architecture = self.feasible.decode(backbone, values)
        if not self._own.start(architecture):
            return False
        self.unknown.take(architecture)
        self._started[trial.number] = architecture
        return True
