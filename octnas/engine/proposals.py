"""What proposing needs to know whoever proposes: which members are left, and which backbone is next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from octnas.architecture import Architecture
from octnas.engine.rungs import Point
from octnas.front.staircase import Staircase
from octnas.space import Feasible

__all__ = ["Promise", "Unknown", "stratified"]

ROUND_ROBIN = 2
"""Proposals that each backbone gets before promise decides."""
DRAWS = 50
"""Draws from the space that may be known before its members are walked through."""
FIRST_COUNT = 64
"""Members that are counted at first to see whether any is left."""


class Unknown:
    """The members within the budget that nobody asked for yet.

    Args:
        feasible: the members within the budget.
        reserved: architectures that are trained anyway.
    """

    def __init__(self, feasible: Feasible, reserved: Iterable[Architecture] = ()) -> None:
        self._feasible = feasible
        self._known: set[str] = set()
        self._taken = dict.fromkeys(feasible.backbones, 0)
        self._counted = dict.fromkeys(feasible.backbones, 0)
        self._whole: set[str] = set()
        for architecture in reserved:
            self.take(architecture)

    def take(self, architecture: Architecture) -> None:
        """Makes an architecture known; need not be a member."""
        if architecture.digest not in self._known:
            self._known.add(architecture.digest)
            if self._feasible.contains(architecture):
                self._taken[architecture.backbone] += 1

    def has(self, architecture: Architecture) -> bool:
        """Whether a member is unknown."""
        return architecture.digest not in self._known

    def left(self) -> list[str]:
        """Backbones that have unknown members, in the space's order; exact."""
        return [name for name, taken in self._taken.items() if self._more_than(name, taken)]

    def draw(self, backbone: str, rng: np.random.Generator) -> Architecture:
        """An unknown member with one of `left()`: drawn from the space or, where most are known, the first
        on a walk through all of them in random order. Bounded by the number of known ones."""
        for _ in range(DRAWS):
            architecture = self._feasible.sample(rng, backbone)
            if self.has(architecture):
                return architecture
        return next(each for each in self._feasible.walk(backbone, rng) if self.has(each))

    def _more_than(self, backbone: str, number: int) -> bool:
        """Whether a backbone has more than `number` members. Counts twice as far each time it must count, so
        that a search pays for a walk a few times only."""
        if self._counted[backbone] <= number and backbone not in self._whole:
            limit = 2 * number + FIRST_COUNT
            self._counted[backbone] = self._feasible.up_to(limit, backbone)
            if self._counted[backbone] < limit:
                self._whole.add(backbone)
        return self._counted[backbone] > number


def stratified(
    feasible: Feasible,
    unknown: Unknown,
    backbones: Sequence[str],
    trials: Mapping[str, int],
    rng: np.random.Generator,
) -> Architecture:
    """An unknown member of the backbone with the fewest trials: a cost cap between the smallest cost and the
    budget, then uniformly below the cap. Where all members are known, a known one.

    Args:
        backbones: those with unknown members; where all are known, any.
        trials: of each backbone, 0 where it is not there.
    """
    left = [name for name in unknown.left() if name in backbones]
    if not left:
        return feasible.sample(rng, backbones[int(rng.integers(len(backbones)))])
    return unknown.draw(min(left, key=lambda name: trials.get(name, 0)), rng)


class Promise:
    """Which backbone is next: first each a few times, then by their part of the front."""

    def __init__(self, backbones: Iterable[str]) -> None:
        self._asked = dict.fromkeys(backbones, 0)
        self._front = Staircase()
        self._finished = 0
        self._members: dict[str, str] = {}
        """The backbone of each member of the front."""

    def ask(self, backbone: str) -> None:
        """Counts one proposal."""
        self._asked[backbone] += 1

    def tell(self, backbone: str, point: Point) -> None:
        """Enters one finished trial's (score, cost)."""
        score, cost = point
        self._finished += 1
        beaten = self._front.add(str(self._finished), cost, score)
        if beaten is not None:
            self._members[str(self._finished)] = backbone
            for each in beaten:
                del self._members[each]

    def shares(self, left: Iterable[str]) -> dict[str, float]:
        """The probability of each of `left`: one more than it has on the front, over the sum."""
        front = Counter(self._members.values())
        weights = {backbone: 1 + front[backbone] for backbone in left}
        return {backbone: weight / sum(weights.values()) for backbone, weight in weights.items()}

    def unproven(self, left: Iterable[str]) -> str | None:
        """The backbone of `left` with the fewest proposals; None where each has had its first few."""
        fewest = min(left, key=lambda backbone: self._asked[backbone])
        return fewest if self._asked[fewest] < ROUND_ROBIN else None

    def choose(self, left: Iterable[str], rng: np.random.Generator) -> str:
        """One of `left`."""
        left = list(left)
        first, shares = self.unproven(left), self.shares(left)
        return first if first is not None else str(rng.choice(list(shares), p=list(shares.values())))
