"""Which architectures a ranking compares."""

from __future__ import annotations

import numpy as np
import pytest
from rank_case import BUDGET, SPACE

from octnas.costs import cost
from octnas.engine.rank_models import chosen_models
from octnas.record import TrialRecord, TrialState
from octnas.space import Feasible, load_space, parse_space


@pytest.fixture(scope="module")
def feasible() -> Feasible:
    return load_space("imagenet-2d").feasible(2.0)


def test_they_go_from_cheap_to_dear_in_every_backbone_within_the_budget(feasible: Feasible) -> None:
    models = chosen_models(feasible, [], 16, seed=0)
    assert len({model.digest for model in models}) == 16
    assert all(feasible.contains(model.architecture) for model in models)
    spread = feasible.spread("gflops")
    costs = [model.gflops for model in models]
    assert min(costs) < spread.min + 0.05 * (spread.max - spread.min)
    assert max(costs) > spread.min + 0.95 * (spread.max - spread.min)
    for backbone in feasible.backbones:
        mine = sorted(model.gflops for model in models if model.architecture.backbone == backbone)
        assert len(mine) == 4
        gaps = np.diff(mine)
        assert gaps.min() > 0.15 * (mine[-1] - mine[0])  # of equal steps it would be a third


def test_costs_are_the_targets(feasible: Feasible) -> None:
    (first, *_) = chosen_models(feasible, [], 4, seed=0)
    counted = cost(first.architecture, input_shape=(3, 224, 224), num_classes=1000)
    assert (first.gflops, first.params) == (counted.gflops, counted.params)
    assert first.latency_ms is None


def test_fewer_are_the_beginning_of_more(feasible: Feasible) -> None:
    many = chosen_models(feasible, [], 12, seed=0)
    few = chosen_models(feasible, [], 5, seed=0)
    assert many[:5] == few
    assert few + chosen_models(feasible, [], 12, seed=0, known=few) == many


def _trial(feasible: Feasible, number: int, state: TrialState = TrialState.COMPLETE) -> TrialRecord:
    rng = np.random.default_rng(number)
    architecture = feasible.sample(rng)
    return TrialRecord(
        id=str(number),
        architecture=architecture,
        state=state,
        reason="diverged" if state is TrialState.FAILED else None,
        gflops=feasible.gflops(architecture),
        params=1,
        accuracy=None if state is TrialState.FAILED else 0.5,
    )


def test_trials_that_are_complete_are_taken_where_they_fit(feasible: Feasible) -> None:
    trials = [_trial(feasible, number) for number in range(40)]
    models = chosen_models(feasible, trials, 16, seed=0)
    taken = [model for model in models if model.trial is not None]
    assert len(taken) >= 10
    by_id = {record.id: record.architecture for record in trials}
    assert all(by_id[str(model.trial)] == model.architecture for model in taken)
    failed = [_trial(feasible, number, TrialState.FAILED) for number in range(40)]
    assert all(model.trial is None for model in chosen_models(feasible, failed, 8, seed=0))


def test_a_small_budget_gives_all_that_it_holds() -> None:
    space = parse_space(SPACE)
    narrow = space.feasible(space.min_gflops * 1.2)
    inside = narrow.up_to(100)
    assert 1 < inside < 40
    assert len(chosen_models(narrow, [], 50, seed=0)) == inside


def test_yardsticks_over_the_budget_are_no_models() -> None:
    budget = BUDGET / 2
    feasible = parse_space(SPACE).feasible(budget)
    dear = parse_space(SPACE).feasible(10.0)
    trials = [_trial(dear, number) for number in range(40)]
    over = {each.architecture for each in trials if each.gflops > budget}
    assert over
    assert not over & {model.architecture for model in chosen_models(feasible, trials, 12, seed=0)}
