from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from front_case import result, trial, whole

from octnas.errors import RunError
from octnas.front import SearchResult, best, hypervolume, pareto_front
from octnas.record import RunFolder, TrialRecord, TrialState


def naive_front(records: Sequence[TrialRecord], budget: float) -> set[str]:
    """The definition: nobody is at least as good in both and better in one."""
    inside = [each for each in records if each.state is TrialState.COMPLETE and each.gflops <= budget]

    def beats(a: TrialRecord, b: TrialRecord) -> bool:
        assert a.accuracy is not None
        assert b.accuracy is not None
        no_worse = a.accuracy >= b.accuracy and a.gflops <= b.gflops
        return no_worse and (a.accuracy > b.accuracy or a.gflops < b.gflops)

    return {each.id for each in inside if not any(beats(other, each) for other in inside)}


@pytest.mark.parametrize("seed", range(30))
def test_fast_front_equals_the_definition_on_points_with_duplicates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    states = rng.choice([TrialState.COMPLETE] * 4 + [TrialState.STOPPED], size=60)
    grid = int(rng.choice([3, 8, 40]))
    records = [
        trial(
            str(i),
            float(rng.integers(1, grid + 1)) / grid * 3,
            float(rng.integers(grid + 1)) / grid,
            state=TrialState(str(state)),
        )
        for i, state in enumerate(states)
    ]
    front = pareto_front(records, 2.0)
    assert front
    assert {record.id for record in front} == naive_front(records, 2.0)
    assert [record.gflops for record in front] == sorted(record.gflops for record in front)


def naive_volume(records: Sequence[TrialRecord], budget: float) -> float:
    """Area under the staircase from the cheapest member to the budget."""
    area, accuracy, cost = 0.0, 0.0, 0.0
    for record in pareto_front(records, budget):
        area += accuracy * (record.gflops - cost)
        accuracy, cost = record.accuracy or 0.0, record.gflops
    return (area + accuracy * (budget - cost)) / budget


@pytest.mark.parametrize("seed", range(10))
def test_hypervolume_equals_the_area_under_the_staircase(seed: int) -> None:
    rng = np.random.default_rng(seed)
    records = [trial(str(i), float(rng.uniform(0.5, 3)), float(rng.uniform(0.1, 1))) for i in range(25)]
    assert hypervolume(records, 2.0) == pytest.approx(naive_volume(records, 2.0), abs=1e-12)


def test_hypervolume_of_known_fronts() -> None:
    assert hypervolume([], 2.0) == 0.0
    assert hypervolume([trial("1", 1.0, 0.8)], 2.0) == pytest.approx(0.4)
    assert hypervolume([trial("1", 1.0, 0.5), trial("2", 1.5, 0.9)], 2.0) == pytest.approx(0.35)
    assert hypervolume([trial("1", 2.0, 0.9)], 2.0) == 0.0
    assert hypervolume([trial("1", 1.0, 0.8, state=TrialState.STOPPED)], 2.0) == 0.0


def test_best_is_the_most_accurate_candidate_on_the_front_ties_to_the_cheaper() -> None:
    records = [trial("1", 1.0, 0.8), trial("2", 1.5, 0.9), trial("3", 1.9, 0.95, yardstick="uniform-0.5")]
    found = best(records, 2.0)
    assert found is not None
    assert found.id == "2"
    assert best([trial("1", 1.2, 0.9), trial("2", 1.5, 0.9)], 2.0) == trial("1", 1.2, 0.9)
    assert best([trial("1", 1.5, 0.8), trial("2", 1.0, 0.9, yardstick="plain")], 2.0) is None
    assert best([], 2.0) is None


def test_result_has_the_documented_keys_and_is_strict_json() -> None:
    value = whole().to_dict()
    assert set(value) >= {"name", "budget_gflops", "hypervolume", "front", "trials"}
    assert (value["name"], value["budget_gflops"]) == ("first", 2.0)
    assert value["front"] == ["4", "0", "5"]
    assert value["best"] == "5"
    assert value["claim"] is None
    assert [each["trial"] for each in value["hypervolume_by_trial"]] == ["0", "1", "2", "3", "4", "5", "6"]
    assert value["trials"][5]["test_accuracy_seeds"] == []
    assert [each["id"] for each in value["trials"]] == [str(i) for i in range(10)]
    assert value["hypervolume"] == pytest.approx((0.89 * 0.2 + 0.90 * 0.3 + 0.93 * 0.3) / 2)
    assert json.loads(json.dumps(value, allow_nan=False)) == value


def test_a_result_is_read_from_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    made = whole()
    run = RunFolder.create("first", made.header)
    for record in made.records:
        run.journal.append_trial(record)
    run.journal.release()
    assert SearchResult.from_run("first") == made
    with pytest.raises(RunError, match="did you mean 'first'"):
        SearchResult.from_run("frist")


def test_noise_comes_from_the_header() -> None:
    assert result().noise_points is None
    assert result(options={"noise_points": 0.2}).noise_points == 0.2


@pytest.mark.parametrize("seed", range(10))
def test_hypervolume_by_trial_never_falls_and_ends_at_the_hypervolume(seed: int) -> None:
    rng = np.random.default_rng(seed)
    states = rng.choice([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.STOPPED], size=30)
    records = [
        trial(str(i), float(rng.uniform(0.5, 2.4)), float(rng.uniform(0.1, 1)), state=TrialState(str(state)))
        for i, state in enumerate(states)
    ]
    searched = result(*records)
    complete = [record for record in records if record.state is TrialState.COMPLETE]
    assert [record for record, _ in searched.hypervolume_by_trial] == complete
    volumes = [volume for _, volume in searched.hypervolume_by_trial]
    for number, volume in enumerate(volumes, start=1):
        assert volume == pytest.approx(naive_volume(complete[:number], 2.0), abs=1e-12)
    assert volumes == sorted(volumes)
    assert volumes[-1] == pytest.approx(searched.hypervolume)
    assert result().hypervolume_by_trial == ()


def test_hypervolume_by_trial_is_in_the_order_of_finishing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    records = [trial("0", 1.0, 0.5), trial("1", 1.0, 0.6), trial("2", 1.0, 0.8)]
    run = RunFolder.create("late", result(*records, name="late").header)
    for record in records:
        run.journal.append_trial(
            replace(record, state=TrialState.RUNNING, accuracy=None, scores=(), epochs=0)
        )
    for place in (2, 0, 1, 2):  # a line that says so again changes no order
        run.journal.append_trial(records[place])
    run.journal.release()
    searched = SearchResult.from_run("late")
    assert [record.id for record in searched.records] == ["0", "1", "2"]
    assert [(each.id, volume) for each, volume in searched.hypervolume_by_trial] == [
        ("2", pytest.approx(0.4)),
        ("0", pytest.approx(0.4)),
        ("1", pytest.approx(0.4)),
    ]
    assert searched.to_dict()["hypervolume_by_trial"][0] == {"trial": "2", "hypervolume": pytest.approx(0.4)}
    assert SearchResult.of(RunFolder.open("late")).finished == ("2", "0", "1")
