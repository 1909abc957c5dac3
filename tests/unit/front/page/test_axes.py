"""Fronts, groups and lines of both axes against the plain definition of a front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from front_case import result, timed, trial, whole
from page_case import groups_of, labels_of, page_of
from searched import random_result

from octnas.front import SearchResult
from octnas.front.page.axes import GROUPS, against, objectives
from octnas.record import Objective, TrialRecord, TrialState

BUDGETS: dict[str, dict[str, Any]] = {
    "gflops": {"objective": "gflops", "gflops": 2.0, "ms": None},
    "ms": {"objective": "latency", "gflops": None, "ms": 22.0},
    "both-by-gflops": {"objective": "gflops", "gflops": 2.0, "ms": 22.0},
    "both-by-ms": {"objective": "latency", "gflops": 2.0, "ms": 22.0},
    "gflops-by-ms": {"objective": "latency", "gflops": 2.0, "ms": None},
    "ms-by-gflops": {"objective": "gflops", "gflops": None, "ms": 22.0},
}


def _beaten(one: TrialRecord, other: TrialRecord, objective: Objective) -> bool:
    ours, theirs = one.cost(objective), other.cost(objective)
    mine, its = one.accuracy or 0.0, other.accuracy or 0.0
    return theirs <= ours and its >= mine and (theirs, its) != (ours, mine)


def naive_front(records: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Complete trials within every budget that no other of them beats, by the definition."""
    fit = [each for each in records if each.state is TrialState.COMPLETE and each.within_budget]
    front = [each for each in fit if not any(_beaten(each, other, objective) for other in fit)]
    return sorted(front, key=lambda each: each.cost(objective))


def _bought(records: Sequence[TrialRecord], cost: float, objective: Objective) -> float:
    """The best accuracy at a cost or below."""
    return max((each.accuracy or 0.0 for each in records if each.cost(objective) <= cost), default=0.0)


def _step(corners: Sequence[Sequence[float]], cost: float) -> float:
    """The height of a drawn staircase at a cost."""
    return max((accuracy for at, accuracy in corners if at <= cost), default=0.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budgets", BUDGETS.values(), ids=BUDGETS)
def test_both_axes_have_the_front_of_their_cost(budgets: dict[str, Any], seed: int) -> None:
    searched = random_result(seed, **budgets)
    search = page_of(searched).search
    assert list(search["axes"]) == [
        searched.objective,
        "latency" if searched.objective == "gflops" else "gflops",
    ]
    by_id = {each.id: each for each in searched.records}
    for objective in objectives(searched):
        axis, groups = search["axes"][objective], groups_of(search, objective)
        members = naive_front(searched.records, objective)
        assert len(members) >= 3
        candidates = [each for each in searched.records if each.yardstick is None]
        complete = {each.id for each in candidates if each.state is TrialState.COMPLETE}
        on_front = {each.id for each in members}
        assert set(groups["front"]) == on_front & complete
        assert set(groups["dominated"]) == complete - on_front
        assert set(groups["early"]) == {
            each.id
            for each in candidates
            if each.state in (TrialState.STOPPED, TrialState.RUNNING, TrialState.PAUSED)
        }
        assert set(groups[""]) == {each.id for each in candidates if each.state is TrialState.FAILED}
        yardsticks = {each.id: each for each in searched.records if each.yardstick is not None}
        over = {trial_id for trial_id, each in yardsticks.items() if not each.within_budget}
        assert set(groups["over"]) == over
        assert set(groups["plain"]) == {"3"} - over
        assert set(groups["uniform"]) == {"0", "1", "2"} - over
        costs = sorted({each.cost(objective) for each in searched.records if each.within_budget})
        uniform = [each for trial_id, each in yardsticks.items() if trial_id in groups["uniform"]]
        for cost in costs:
            assert _step(axis["front"], cost) == _bought(members, cost, objective)
            assert _step(axis["uniform"], cost) == _bought(uniform, cost, objective)
        told_front = [search["trials"]["id"][place] for place in axis["members"]]
        assert set(told_front) == on_front
        told_costs = [by_id[each].cost(objective) for each in told_front]
        assert told_costs == sorted(told_costs), "along the line"
        best = [each for each in members if each.yardstick is None]
        top = max(best, key=lambda each: (each.accuracy or 0.0, -each.cost(objective)), default=None)
        named = None if axis["best"] is None else search["trials"]["id"][axis["best"]]
        told = next((each for each in searched.records if each.id == named), None)
        assert (told is None) == (top is None)
        if told is not None and top is not None:
            assert (told.accuracy, told.cost(objective)) == (top.accuracy, top.cost(objective))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budgets", BUDGETS.values(), ids=BUDGETS)
def test_a_trial_over_either_budget_is_on_no_front(budgets: dict[str, Any], seed: int) -> None:
    searched = random_result(seed, **budgets)
    search = page_of(searched).search
    over = {each.id for each in searched.records if not each.within_budget}
    told = {search["trials"]["id"][place] for place in search["trials"]["over"]}
    assert told == over
    for objective in ("gflops", "latency"):
        groups = groups_of(search, objective)
        assert set(groups["over"]) == over
        limit = search["axes"][objective]["limit"]
        for record in searched.records:
            if record.within_budget:
                assert record.cost(objective) <= limit  # type: ignore[arg-type]


def test_some_yardsticks_are_over_each_budget() -> None:
    """Else the test above would say nothing."""
    for name, budgets in BUDGETS.items():
        found = [random_result(seed, **budgets).records for seed in range(4)]
        assert any(not each.within_budget for records in found for each in records), name


def test_the_axis_of_the_other_cost_has_its_own_budget_or_none() -> None:
    both = page_of(timed(gflops=1.95)).search["axes"]
    assert (both["latency"]["budget"], both["latency"]["limit"]) == (24.0, 24.0)
    assert (both["gflops"]["budget"], both["gflops"]["limit"]) == (1.95, 1.95)
    assert both["gflops"]["note"] == "budget 1.95 GFLOPs\nand 24 ms"
    one = page_of(timed(gflops=None, ms=24.0)).search["axes"]
    assert one["gflops"]["budget"] is None
    assert one["gflops"]["note"] == "budget 24 ms,\nnot on this axis"


def test_against_forgets_the_other_axis_limit() -> None:
    """The largest latency of a space, 40 ms, is no number of GFLOPs."""
    searched = timed(gflops=1.95, ms=None, limit=40.0)
    assert searched.limit == 40.0
    other = against(searched, "gflops")
    assert (other.objective, other.limit) == ("gflops", 1.95)
    free = timed("latency", gflops=None, ms=24.0, limit=40.0)
    # no trial over 24 ms counts: the dearest that fits has 1.9 GFLOPs, and the pooled plain network 4
    assert against(free, "gflops").limit == 1.9
    assert against(free, "latency") is free
    assert free.limit == 24.0
    assert page_of(free).search["axes"]["gflops"]["front"][-1] == [1.9, 0.93]


def test_against_keeps_the_trials_and_finds_the_front_anew() -> None:
    searched = timed(gflops=1.95)
    other = against(searched, "gflops")
    assert other.records == searched.records
    assert [each.id for each in other.front] == [each.id for each in naive_front(searched.records, "gflops")]
    assert [each.id for each in searched.front] == [
        each.id for each in naive_front(searched.records, "latency")
    ]
    assert [each.id for each in other.front] != [each.id for each in searched.front]


def test_there_is_one_axis_unless_every_trial_has_a_latency() -> None:
    assert objectives(whole()) == ("gflops",)
    assert list(page_of(whole()).search["axes"]) == ["gflops"]
    some = timed("gflops", gflops=2.0, ms=None)
    partly = replace(some, records=(replace(some.records[0], latency_ms=None), *some.records[1:]))
    assert objectives(some) == ("gflops", "latency")
    assert objectives(partly) == ("gflops",)
    page = page_of(partly)
    assert list(page.search["axes"]) == ["gflops"]
    assert page.search["trials"]["latency"][:2] == [None, 20.0]
    assert (page.row["0"]["latency"], page.row["1"]["latency"]) == ("", "20.00")
    assert objectives(result()) == ("gflops",)


def test_groups_are_by_the_index_of_their_name() -> None:
    groups = page_of(whole()).search["axes"]["gflops"]["groups"]
    names = [GROUPS[each] if each >= 0 else "" for each in groups]
    assert names == [
        "uniform",
        "uniform",
        "over",
        "plain",
        "front",
        "front",
        "dominated",
        "early",
        "",
        "early",
    ]


def test_labels_name_the_best_and_every_yardstick_of_each_axis() -> None:
    search = page_of(timed(gflops=1.95)).search
    assert labels_of(search, "latency")["5"] == "best: trial 5, slower than plain"
    assert set(labels_of(search, "latency")) == set(labels_of(search, "gflops")) == {"0", "1", "2", "3", "5"}
    assert labels_of(search, "latency")["2"] == "plain-pooled, 30.00 →"
    assert labels_of(search, "gflops")["2"] == "plain-pooled, 4.00 →"
    none = result(trial("1", 1.0, 0.9, yardstick="uniform-0.5"))
    assert page_of(none).search["axes"]["gflops"]["best"] is None
    assert labels_of(page_of(none).search) == {"1": "uniform-0.5"}


def _searched(records: Sequence[TrialRecord]) -> SearchResult:
    return result(*records)


def test_trials_that_are_equal_in_both_are_all_on_the_front() -> None:
    search = page_of(_searched([trial("1", 1.0, 0.9), trial("2", 1.0, 0.9), trial("3", 1.5, 0.9)])).search
    groups = groups_of(search)
    assert (groups["front"], groups["dominated"]) == (["1", "2"], ["3"])
