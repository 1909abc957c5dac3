"""The dry run's figures against the whole of a small space, counted here; its times against schedules."""

from __future__ import annotations

import heapq
import io
import json
import random
from itertools import product
from statistics import median
from typing import Any

import pytest
from rich.console import Console

import octnas.engine.sizing
import octnas.engine.workers
import octnas.train
from octnas.data import load_images
from octnas.engine import dry_run, dry_run_table, unreachable
from octnas.engine.sizing import Pace, Workload
from octnas.engine.workers import Workers
from octnas.errors import BudgetError
from octnas.record import EpochScore
from octnas.space import SearchSpace
from octnas.train import TrainSettings


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
    report = dry_run(space, budget_gflops=0.03, estimate=False)
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
    assert "estimate" not in report
    assert (report["reachable"], report["feasible_share"]) == (False, 0.0)
    assert isinstance(unreachable(report), BudgetError)
    assert f"{space.min_gflops:.4f}" in str(unreachable(report))


def test_yardsticks_in_the_report_say_which_are_over_budget(space: SearchSpace) -> None:
    report = dry_run(space, budget_gflops=0.04, estimate=False)
    within = {each["label"]: each["within_budget"] for each in report["yardsticks"]}
    assert within == {"uniform-0.25": True, "uniform-0": True, "plain-pooled": False, "plain": False}
    assert all((each["gflops"] <= 0.04) is each["within_budget"] for each in report["yardsticks"])


# ---------------------------------------------------------------- how long it would take
def workload(**changes: Any) -> Workload:
    values: dict[str, Any] = {
        "candidates": 24, "yardsticks": ("a", "a"), "confirm": 3, "levels": (2,), "eta": 2, "workers": 2,
    }  # fmt: skip
    return Workload(**{**values, **changes})


def test_times_are_those_worked_out_by_hand() -> None:
    paces = {"a": Pace(until=(10.0, 20.0, 30.0, 44.0), test=2.0)}
    # 24 x 44 + 2 x 44 = 1144 s of work, with rungs 12 x 20 + 12 x 44 + 2 x 44 = 856 s; 9 x 46 = 414 s later.
    # On two workers half of each, and half of the longest training, 22 s, where one of them ends later.
    seconds = workload().seconds(paces)
    assert seconds == {
        "search_seconds": 572 + 22 + 207 + 22,
        "search_seconds_with_rungs": 428 + 22 + 207 + 22,
        "confirm_seconds": 207 + 22,
    }
    without = workload(confirm=0).seconds(paces)
    assert without == {
        "search_seconds": 594, "search_seconds_with_rungs": 450, "confirm_seconds": 0,
    }  # fmt: skip
    # 10 reach epoch 1, 3 of them epoch 3, 1 of those the end.
    thirds = workload(candidates=10, yardsticks=(), confirm=0, levels=(1, 3), eta=3, workers=1)
    assert thirds.seconds(paces)["search_seconds_with_rungs"] == 7 * 10 + 2 * 30 + 44
    alone = workload(candidates=2, yardsticks=(), confirm=0, levels=(1, 3), eta=3, workers=1)
    assert alone.seconds(paces)["search_seconds_with_rungs"] == 10 + 44


@pytest.mark.parametrize(("candidates", "yardsticks", "confirming"), [(24, 6, 9), (1, 0, 3), (1, 1, 6)])
def test_no_more_is_confirmed_than_was_trained(candidates: int, yardsticks: int, confirming: int) -> None:
    assert workload(candidates=candidates, yardsticks=("a",) * yardsticks).confirming == confirming


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_no_order_of_the_trainings_takes_longer_than_the_upper_bound(workers: int) -> None:
    paces = {
        "a": Pace(until=(3.0,), test=0.0),
        "b": Pace(until=(7.0,), test=0.0),
        "c": Pace(until=(31.0,), test=0),
    }
    whole = workload(candidates=12, yardsticks=("a", "c"), levels=(), confirm=0, workers=workers)
    bound = whole.seconds(paces)["search_seconds"]
    trainings = [3.0, 7.0, 31.0] * 4 + [3.0, 31.0]
    rng = random.Random(0)
    for _ in range(50):
        rng.shuffle(trainings)
        free = [0.0] * workers
        for seconds in trainings:
            heapq.heappush(free, heapq.heappop(free) + seconds)
        assert max(free) <= bound + 1e-9
    assert bound <= sum(trainings) / workers + 31.0


class Timed:
    """A training of half a second a step and a tenth a validated image."""

    def __init__(self, architecture: object, data: object, settings: TrainSettings, *, seed: int) -> None:
        assert settings.val_images is not None
        self.validation = 0.1 * settings.val_images

    def run_epoch(self) -> EpochScore:
        trained = 0.5 * octnas.engine.sizing.TIMED_STEPS
        return EpochScore(
            epoch=1, accuracy=0.5, loss=1.0, train_loss=1.0, seconds=trained + self.validation,
            train_seconds=trained, images_per_second=1.0,
        )  # fmt: skip


def test_the_estimate_counts_steps_and_images(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(count=4, cpus=2, gpus=0.25, cores=8, devices=1)
    monkeypatch.setattr(octnas.engine.workers, "plan_workers", lambda cpus, gpus: workers)
    monkeypatch.setattr(octnas.train, "ProxyTraining", Timed)
    notes: list[str] = []
    report = dry_run(space, budget_gflops=0.04, trials=12, note=notes.append)
    estimate = report["estimate"]
    images = load_images("fashion-sample", size=space.proxy.input_size)
    trained = min(len(images.train), space.proxy.train_images or len(images.train))
    part = min(len(images.val), space.proxy.val_images or len(images.val))
    steps = 9 * (trained // space.proxy.batch_size)
    whole = 0.5 * steps + 0.1 * (8 * part + len(images.val))
    assert estimate["training_seconds"] == {
        "resnet18": pytest.approx(whole, abs=0.01), "resnet26": pytest.approx(whole, abs=0.01),
    }  # fmt: skip
    assert estimate["trainings"] == {"candidates": 12, "yardsticks": 4, "confirming": 9}
    assert images.test is not None
    confirm = 9 * (whole + 0.1 * len(images.test)) / 4 + 0.75 * whole
    assert estimate["confirm_seconds"] == pytest.approx(confirm, abs=0.1)
    assert estimate["search_seconds"] == pytest.approx(16 * whole / 4 + 0.75 * whole + confirm, abs=0.1)
    assert estimate["search_seconds_with_rungs"] < estimate["search_seconds"]
    held = estimate["search_seconds"] * 4 / 3600
    assert estimate["cpu_hours"] == pytest.approx(2 * held, abs=1e-3)
    assert estimate["gpu_hours"] == pytest.approx(held / 4, abs=1e-3)
    assert notes[0] == "timing a few training steps of each backbone on this machine"
    assert json.loads(json.dumps(report)) == report
    screen = Console(file=io.StringIO(), width=100)
    screen.print(dry_run_table(report))
    assert isinstance(screen.file, io.StringIO)
    text = " ".join(screen.file.getvalue().split())
    assert "12 candidates, 4 yardsticks; 9 more at most confirm the winner" in text
    assert "poor candidates stopped early" in text
    assert "nothing stopped early" in text
    assert f"{estimate['gpu_hours']:.2g} GPU-hours" in text


def test_nothing_is_timed_where_the_budget_is_out_of_reach(
    space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the images were loaded")

    monkeypatch.setattr(octnas.engine.sizing, "load_data", never)
    assert dry_run(space, budget_gflops=0.0001, estimate=True)["reachable"] is False
    assert "estimate" not in dry_run(space, budget_gflops=0.04, estimate=False)
    with pytest.raises(AssertionError, match="the images were loaded"):
        dry_run(space, budget_gflops=0.04)


def test_fewer_candidates_are_reckoned_with_than_the_budget_admits(
    space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(octnas.train, "ProxyTraining", Timed)
    budget = sorted(costs_of(space))[4]
    report = dry_run(space, budget_gflops=budget, trials=100)
    taken = sum(each["within_budget"] for each in report["yardsticks"])
    assert report["feasible"]["size"] == 5
    assert report["estimate"]["trainings"]["candidates"] == 5 - taken
    assert report["estimate"]["gpu_hours"] == 0
