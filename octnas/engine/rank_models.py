"""Which architectures a ranking compares: a spread from cheap to dear over all backbones in the budgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.record import TrialRecord, TrialState
from octnas.record.ranking import Model
from octnas.space import Feasible

__all__ = ["chosen_models", "complete_members"]

DRAWS = 256
"""Members of each backbone among which is chosen; of a backbone with fewer, all."""
NEAR = 0.6
"""A trial of the search is taken where it is at least this share as far from the others as the best draw."""
_CHOICE = 5


def chosen_models(
    feasible: Feasible, trials: Iterable[TrialRecord], count: int, *, seed: int, known: Sequence[Model] = ()
) -> list[Model]:
    """Further architectures, so that there are `count` with those that are known; fewer, where no more fit.

    Backbones take turns. Each time the member that is farthest in cost from those chosen of its backbone is
    taken, first its cheapest, or dearest where others have the cheap end already; so fewer are the beginning
    of more, and each backbone goes from cheap to dear. A complete trial that lies about as well is preferred:
    its training is reused.

    Args:
        feasible: the members within the budgets, and the cost that accuracy is weighed against.
        trials: of the search.
        seed: of the search.
    """
    if len(known) >= count:
        return []
    done = complete_members(feasible, trials)
    pools = {backbone: _pool(feasible, backbone, done, seed) for backbone in feasible.backbones}
    chosen = [each.architecture for each in known]
    new: list[Architecture] = []
    while len(chosen) < count:
        left = {
            backbone: [each for each in pool if each not in chosen]
            for backbone, pool in pools.items()
            if any(each not in chosen for each in pool)
        }
        if not left:
            break
        turn = min(left, key=lambda name: sum(each.backbone == name for each in chosen))
        found = _farthest(feasible, left[turn], chosen, done)
        chosen.append(found)
        new.append(found)
    return [_model(feasible, each, done.get(each)) for each in new]


def complete_members(feasible: Feasible, trials: Iterable[TrialRecord]) -> dict[Architecture, str]:
    """The members within the budgets that a search trained to the end, and the ids of their trials."""
    return {
        record.architecture: record.id
        for record in trials
        if record.state is TrialState.COMPLETE and feasible.contains(record.architecture)
    }


def _pool(feasible: Feasible, backbone: str, done: dict[Architecture, str], seed: int) -> list[Architecture]:
    """Members of a backbone in order of cost, those of trials first among equals."""
    rng = np.random.default_rng([seed, _CHOICE, list(feasible.space.backbones).index(backbone)])
    if feasible.up_to(DRAWS + 1, backbone) <= DRAWS:
        drawn = list(feasible.walk(backbone, rng))
    else:
        drawn = [feasible.sample(rng, backbone) for _ in range(DRAWS)]
    mine = [each for each in done if each.backbone == backbone]
    pool = list(dict.fromkeys([*mine, *drawn]))
    return sorted(pool, key=lambda each: (feasible.units(each), each not in done, each.digest))


def _farthest(
    feasible: Feasible,
    left: Sequence[Architecture],
    chosen: Sequence[Architecture],
    done: dict[Architecture, str],
) -> Architecture:
    """The one of `left`, of one backbone and in order of cost, that is farthest from those chosen."""
    beside = [each for each in chosen if each.backbone == left[0].backbone] or list(chosen)
    if not beside:
        return left[0]
    taken = np.array([feasible.units(each) for each in beside], np.float64)
    costs = np.array([feasible.units(each) for each in left], np.float64)
    away = np.abs(costs[:, None] - taken).min(1)
    trained = np.array([each in done for each in left])
    # Equally far: the first is the cheapest, and a trial before a draw of the same cost.
    best = int(away.argmax())
    if trained.any():
        of_trials = int(np.where(trained, away, -1.0).argmax())
        if away[of_trials] > 0 and away[of_trials] >= NEAR * away[best]:
            best = of_trials
    return left[best]


def _model(feasible: Feasible, architecture: Architecture, trial: str | None) -> Model:
    target = feasible.space.target
    counted = cost(architecture, input_shape=target.input_shape, num_classes=target.classes)
    return Model(
        architecture=architecture,
        gflops=counted.gflops,
        params=counted.params,
        latency_ms=feasible.latency_ms(architecture),
        trial=trial,
    )
