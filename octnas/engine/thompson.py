"""Our own sampler: a linear model of the score over the layers' alphas, a draw from what it may be, and the
architecture that gains most by it, exactly (`octnas.engine.surrogate`, `octnas.engine.acquisition`).

Up to `ROWS` scored architectures the model is conditioned on each of them; beyond that on sums over all of
them (`octnas.engine.moments`), which is the same posterior in a time that does not grow. None is left out
however many there are. What is known follows from the order of `start` and `tell` alone, so that a sampler
made anew from a journal proposes what the old one would have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from octnas.architecture import Architecture
from octnas.engine.acquisition import arms_of, most_gained
from octnas.engine.evaluate import scores_of
from octnas.engine.known import Known
from octnas.engine.moments import Curve, Moments
from octnas.engine.proposals import ROUND_ROBIN, Unknown, stratified
from octnas.engine.surrogate import Observation, Surrogate
from octnas.space import Feasible

__all__ = ["ROWS", "START", "Thompson"]

START = 6
"""Trials that are stratified random draws, at least."""
ROWS = 1000
"""Architectures that the model and the acquisition take one by one; beyond, they are summed up and packed."""

GROWTH = 1.05
"""Beyond `ROWS` the model's noise and deviation are chosen anew when there are so many times more."""

Key = tuple[str, tuple[int, ...]]
"""An arm and alpha indices."""


class Thompson:
    """Proposes unknown members within the budget.

    Trials under way are never proposed again, and what they will gain by the draw is not counted twice.

    Args:
        feasible: the members within the budget.
        backbones: those that may be proposed; default all that have a feasible member.
        unknown: the members that nobody asked for; default: those that were not started here.
        rows: see `ROWS`.
    """

    def __init__(
        self,
        feasible: Feasible,
        *,
        backbones: Sequence[str] | None = None,
        unknown: Unknown | None = None,
        rows: int = ROWS,
    ) -> None:
        self.feasible = feasible
        self.backbones = tuple(feasible.backbones if backbones is None else backbones)
        self.unknown = Unknown(feasible) if unknown is None else unknown
        self.epochs = scores_of(feasible.space.proxy)
        """Scored epochs of a whole training."""
        self._arms = {arm: each for arm, each in arms_of(feasible).items() if each[0] in self.backbones}
        members = {arm: feasible.space.members(name) for arm, (name, _) in self._arms.items()}
        self._names = {each: arm for arm, each in self._arms.items()}
        graphs = {arm: feasible.graph(*each) for arm, each in self._arms.items()}
        self._surrogate = Surrogate(members, epochs=self.epochs, graphs=graphs)
        self._trials: Counter[str] = Counter()
        alphas = {arm: len(each.alphas) for arm, each in members.items()}
        self._known = Known(self._surrogate.macs, alphas, rows=rows)
        self._rows = rows
        self._order: dict[Key, int] = {}
        self._curves: dict[Key, Curve] = {}
        self._moments: Moments | None = None
        self._chosen = (0.0, 0.0)
        self._choose_at = 0.0
        self._holds, self._fitted = False, False

    def start(self, architecture: Architecture) -> bool:
        """A trial begins. False where nothing that downsamples so is within the budgets, and it is no part of
        what is known."""
        key = self._key(architecture)
        if key is None:
            return False
        self._trials[architecture.backbone] += 1
        self._known.add((*key, self.feasible.units(architecture)))
        if self._moments is None:
            self._order.setdefault(key, len(self._order))
        return True

    def tell(self, architecture: Architecture, curve: Curve) -> None:
        """The scores so far of a trial that was started; told again, they take the place of the former."""
        key = self._key(architecture)
        if key is None or not curve:
            return
        before = self._curves.get(key)
        if before is not None:
            self._trials[architecture.backbone] += 1  # as a study has one trial more
        self._curves[key] = curve
        if self._moments is not None:
            if before is not None:
                self._surrogate.count(self._moments, *key, before, times=-1)
            self._surrogate.count(self._moments, *key, curve)
        elif len(self._curves) > self._rows:
            self._moments = self._surrogate.moments()
            for each, scores in self._in_order():
                self._surrogate.count(self._moments, *each, scores)
            self._order.clear()
        if self._moments is not None and self._moments.count >= self._choose_at:
            self._chosen = self._surrogate.choose(self._moments)
            self._choose_at = GROWTH * self._moments.count

    def settle(self, architecture: Architecture) -> None:
        """No more will be told of a trial."""
        if self._moments is not None and (key := self._key(architecture)) is not None:
            self._curves.pop(key, None)

    @contextmanager
    def one_model(self) -> Iterator[None]:
        """Inside, all proposals are from one model, of what is known at the first; each by a draw of its
        own, and none gains what another of them will."""
        self._fitted = False
        self._holds = True
        try:
            yield
        finally:
            self._holds = False

    def propose(self, rng: np.random.Generator) -> Architecture:
        """The next architecture; where all members are known, a known one."""
        left = [name for name in self.unknown.left() if name in self.backbones]
        fewest = min((self._trials[name] for name in left), default=0)
        if fewest >= ROUND_ROBIN and self._trials.total() >= START and self._fit():
            arms = {arm: each for arm, each in self._arms.items() if each[0] in left}
            best = most_gained(self.feasible, arms, self._surrogate, self._known, self.unknown, rng)
            if best is not None:
                return best
        return stratified(self.feasible, self.unknown, left or self.backbones, self._trials, rng)

    def _fit(self) -> bool:
        """Fits the model to what is known; False where that is too little."""
        if self._holds and self._fitted:
            return True
        if self._moments is not None:
            self._surrogate.fit_sums(self._moments, self._chosen)
        else:
            observations = [
                Observation(backbone=arm, choices=choices, score=score, epoch=epoch)
                for (arm, choices), curve in self._in_order()
                for epoch, score in curve
            ]
            if len(observations) < 2:
                return False
            self._surrogate.fit(observations)
        self._fitted = True
        return True

    def _in_order(self) -> list[tuple[Key, Curve]]:
        """What was told, in the order in which the trials were started."""
        return sorted(self._curves.items(), key=lambda each: self._order[each[0]])

    def _key(self, architecture: Architecture) -> Key | None:
        members = self.feasible.space.members(architecture.backbone)
        choices = members.choices(architecture)
        if choices is None:
            return None
        arm = self._names.get((architecture.backbone, members.downsample.index(architecture.downsample)))
        return None if arm is None else (arm, choices)
