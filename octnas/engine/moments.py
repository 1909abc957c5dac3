"""Sums over scored architectures that say as much to a linear model as the architectures themselves.

For each epoch at which the latest score of any architecture lies, over the architectures that have it there,
with their features x (D,) and latest scores y:

    n, sum x, sum x x', sum x y, sum y, sum y^2

and for each two epochs of one training the moments of its scores at both. How early scores are mapped to the
last epoch, and how all are brought to mean 0 and variance 1, is `octnas.engine.observations`; both are linear
in y, so sums suffice for the posterior of `octnas.engine.posterior`. To add or take away an architecture
takes D^2 steps, and a posterior D^3, however many are known.

Scores are counted from the first one, so that their squares keep their digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octnas.engine.observations import PRIOR_PAIRS
from octnas.engine.posterior import Posterior, condition_sums

__all__ = ["Curve", "Moments", "Scaled"]

Float64 = NDArray[np.float64]
Curve = Sequence[tuple[int, float]]
"""One architecture's scores: (epoch from 1, score), higher is better; several at one epoch are averaged."""


class _Group:
    """Architectures whose latest score is at one epoch."""

    __slots__ = ("cross", "features", "n", "products", "square", "total")

    def __init__(self, columns: int) -> None:
        self.n = 0
        self.total, self.square = 0.0, 0.0
        self.features: Float64 = np.zeros(columns)
        self.cross: Float64 = np.zeros((columns, columns))
        self.products: Float64 = np.zeros(columns)

    @property
    def mean(self) -> float:
        return self.total / self.n

    @property
    def variance(self) -> float:
        return max(self.square / self.n - self.mean**2, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Map:
    """Of a group's scores: as at the last epoch they are `shift + slope * y`, with more noise."""

    shift: float
    slope: float
    extra: float


class Moments:
    """What is known of n architectures, n >= 0.

    Args:
        columns: D, features of an architecture.
        epochs: scored epochs of a whole training.
    """

    def __init__(self, *, columns: int, epochs: int) -> None:
        self.count = 0
        """n."""
        self._columns = columns
        self._epochs = epochs
        self._origin: float | None = None
        self._groups: dict[int, _Group] = {}
        self._pairs: dict[tuple[int, int], Float64] = {}

    def add(self, features: Float64, curve: Curve, *, times: int = 1) -> None:
        """Adds an architecture, or with `times=-1` takes one away that was added.

        Args:
            features: (D,).
            curve: one score or more.
        """
        if self._origin is None:
            self._origin = curve[0][1]
        gathered: dict[int, list[float]] = {}
        for epoch, score in curve:
            gathered.setdefault(epoch, []).append(score - self._origin)
        means = sorted((epoch, sum(scores) / len(scores)) for epoch, scores in gathered.items())
        latest, y = means[-1]
        group = self._groups.get(latest)
        if group is None:
            group = self._groups[latest] = _Group(self._columns)
        self.count += times
        group.n += times
        group.total += times * y
        group.square += times * y * y
        group.features += times * features
        group.products += (times * y) * features
        group.cross += np.outer(times * features, features)
        for at, (late, b) in enumerate(means):
            for early, a in means[:at]:
                moments = self._pairs.get((early, late))
                if moments is None:
                    moments = self._pairs[early, late] = np.zeros(6)
                moments += np.array([1.0, a, b, a * a, a * b, b * b]) * times

    def scale(self) -> Scaled:
        """All scores at the last epoch that any has reached, with mean 0 and variance 1."""
        groups = {epoch: group for epoch, group in self._groups.items() if group.n}
        last = max(groups)
        maps = {epoch: self._map(epoch, last) for epoch in groups}
        mean = math.fsum(m.shift * g.n + m.slope * g.total for m, g in _both(maps, groups)) / self.count
        squares = math.fsum(
            (m.shift - mean) ** 2 * g.n + 2 * (m.shift - mean) * m.slope * g.total + m.slope**2 * g.square
            for m, g in _both(maps, groups)
        )
        scale = math.sqrt(max(squares / self.count, 0.0))
        center = mean + (self._origin or 0.0)
        if scale <= 1e-9 * max(1.0, abs(center)):
            scale = 1.0
        return Scaled(
            groups=[
                (_Map(shift=(m.shift - mean) / scale, slope=m.slope / scale, extra=m.extra / scale**2), g)
                for m, g in _both(maps, groups)
            ],
            center=center,
            scale=scale,
        )

    def _map(self, epoch: int, last: int) -> _Map:
        group, final = self._groups[epoch], self._groups[last]
        if epoch == last:
            return _Map(shift=0.0, slope=1.0, extra=0.0)
        # before there are residuals: half-trained networks tell half of the variance
        guess = max(final.variance, group.variance) * max(0.0, 1 - epoch / self._epochs)
        n, x, y, xx, xy, yy = self._pairs.get((epoch, last), np.zeros(6)).tolist()
        if n < 0.5:
            return _Map(shift=final.mean - group.mean, slope=1.0, extra=guess)
        both = group.n + n
        spread = max((group.square + xx) / both - ((group.total + x) / both) ** 2, 0.0)
        weight = PRIOR_PAIRS * spread + 1e-12
        across, along, total = xy - x * y / n, max(xx - x * x / n, 0.0), max(yy - y * y / n, 0.0)
        slope = (across + weight) / (along + weight)
        residuals = max(total - 2 * slope * across + slope**2 * along, 0.0)
        extra = (PRIOR_PAIRS * guess + residuals) / (PRIOR_PAIRS + n)
        return _Map(shift=y / n - slope * x / n, slope=slope, extra=extra)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaled:
    """The sums with their scores on one scale; a score s is `(s - center) / scale` there."""

    groups: list[tuple[_Map, _Group]]
    center: float
    scale: float

    def posterior(self, noise: float, variances: Float64) -> Posterior:
        """What `octnas.engine.posterior.condition` finds from the architectures themselves.

        Args:
            noise: variance of a last score's noise as a share of s2, positive.
            variances: prior variance of each weight as a share of s2, (D,), positive.
        """
        columns = len(variances)
        precision, products = np.zeros((columns, columns)), np.zeros(columns)
        square, log_noise, count = 0.0, 0.0, 0
        for how, group in self.groups:
            own = noise + how.extra
            precision += group.cross / own
            products += (how.shift * group.features + how.slope * group.products) / own
            square += (
                how.shift**2 * group.n + 2 * how.shift * how.slope * group.total + how.slope**2 * group.square
            ) / own
            log_noise += group.n * math.log(own)
            count += group.n
        return condition_sums(
            precision, products, square, count=count, log_noise=log_noise, variances=variances
        )


def _both(maps: dict[int, _Map], groups: dict[int, _Group]) -> list[tuple[_Map, _Group]]:
    return [(maps[epoch], groups[epoch]) for epoch in sorted(groups)]
