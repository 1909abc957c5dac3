"""Yardsticks: what a search has to beat, trained in the same run under the same proxy.

For each backbone that has a member within the budgets, the dearest uniform alpha that fits all of them (0
counts), pooled like the candidates; for the dearest of those backbones also the plain network, pooled and
strided. Dearest by the cost that accuracy is weighed against, GFLOPs or latency. At most a third of all
trainings and at most `MAX_YARDSTICKS`; the uniform ones come first where that cuts them short.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from octnas.engine.budgets import plain_downsample
from octnas.record import Yardstick
from octnas.space import Feasible, SearchSpace

__all__ = ["MAX_YARDSTICKS", "choose_yardsticks", "most_yardsticks"]

MAX_YARDSTICKS = 8


def most_yardsticks(trials: int) -> int:
    """How many yardsticks a search of `trials` candidates may train: a third of all trainings, at most 8."""
    return min(MAX_YARDSTICKS, trials // 2)


def choose_yardsticks(space: SearchSpace, feasible: Feasible, *, trials: int) -> tuple[Yardstick, ...]:
    """The yardsticks of a search, the most important first, none twice.

    Where the budget admits so few architectures that yardsticks would take the candidates' place, there are
    fewer: half of what is left for candidates.
    """
    downsample = plain_downsample(space)
    alphas = sorted({Fraction(0), *space.alphas})
    by_cost = sorted(
        feasible.backbones, key=lambda name: feasible.units(space.uniform(name, 0, downsample)), reverse=True
    )
    dearest = by_cost[0]
    found: list[Yardstick] = []
    for backbone in by_cost:
        uniform = [(alpha, space.uniform(backbone, alpha, downsample)) for alpha in alphas]
        fitting = [(alpha, each) for alpha, each in uniform if feasible.within(each)]
        if fitting:
            alpha, architecture = max(fitting, key=lambda each: (feasible.units(each[1]), -each[0]))
            label = f"uniform-{float(alpha):g}"
            if alpha == 0 and backbone == dearest:
                label = "plain-pooled" if downsample == "pooled" else "plain"
            found.append(Yardstick(label=label, architecture=architecture))
    found += [
        Yardstick(label="plain-pooled", architecture=space.uniform(dearest, 0, "pooled")),
        Yardstick(label="plain", architecture=space.uniform(dearest, 0, "strided")),
    ]
    return _capped(_distinct(found), feasible=feasible, trials=trials)


def _distinct(found: Iterable[Yardstick]) -> list[Yardstick]:
    distinct: dict[str, Yardstick] = {}
    for each in found:
        distinct.setdefault(each.architecture.digest, each)
    return list(distinct.values())


def _capped(found: list[Yardstick], *, feasible: Feasible, trials: int) -> tuple[Yardstick, ...]:
    """The longest beginning of `found` that leaves each yardstick two candidates."""
    for count in range(min(len(found), most_yardsticks(trials)), 0, -1):
        taken = sum(feasible.contains(each.architecture) for each in found[:count])
        enough = min(trials, 2 * MAX_YARDSTICKS)
        if count <= most_yardsticks(feasible.up_to(enough + taken) - taken):
            return tuple(found[:count])
    return ()
