"""The dry run's figures against the whole of a small space, counted here."""

from __future__ import annotations

import json
from itertools import product
from statistics import median

import pytest

from octnas.engine import dry_run, unreachable
from octnas.errors import BudgetError
from octnas.space import SearchSpace


def costs_of(space: SearchSpace) -> list[float]:
    """GFLOPs of every distinct architecture."""
    found = {}
    for backbone in space.backbones:
        dimensions = space.dimensions(backbone)
        for values in product(*(range(each.choices) for each in dimensions)):
            names = (each.name for each in dimensions)
            architecture = space.decode(backbone, dict(zip(names, values, strict=True)))
            found[architecture.digest] = space.gflops(architecture)
    return sorted(found.values())


def test_the_report_counts_what_enumeration_counts(space: SearchSpace) -> None:
    costs = costs_of(space)
    report = dry_run(space, budget_gflops=0.03)
    assert report["size"] == len(costs)
    assert report["gflops"]["min"] == costs[0]
    assert report["gflops"]["max"] == costs[-1]
    assert costs[(len(costs) - 1) // 2] <= report["gflops"]["median"] <= costs[len(costs) // 2]
    assert median(costs) == pytest.approx(report["gflops"]["median"], rel=0.02)
    assert report["feasible_share"] == pytest.approx(sum(cost <= 0.03 for cost in costs) / len(costs))
    assert report["reachable"] is True
    assert json.loads(json.dumps(report)) == report


def test_an_unreachable_budget_is_reported_with_the_smallest_cost(space: SearchSpace) -> None:
    report = dry_run(space, budget_gflops=0.0001)
    assert (report["reachable"], report["feasible_share"]) == (False, 0.0)
    assert isinstance(unreachable(report), BudgetError)
    assert f"{space.min_gflops:.4f}" in str(unreachable(report))


def test_yardsticks_in_the_report_say_which_are_over_budget(space: SearchSpace) -> None:
    report = dry_run(space, budget_gflops=0.04)
    within = {each["label"]: each["within_budget"] for each in report["yardsticks"]}
    assert within == {"uniform-0.25": True, "uniform-0": True, "plain-pooled": False, "plain": False}
    assert all((each["gflops"] <= 0.04) is each["within_budget"] for each in report["yardsticks"])
