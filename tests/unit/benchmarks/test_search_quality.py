"""The scripts that measure searches: a table that is replayed, and what is read off the traces."""

from __future__ import annotations

import math
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stand_ins import TINY_SPACE

from octnas.architecture import Architecture
from octnas.space import SearchSpace, parse_space

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from contenders import METHODS, Trained, run
from problem import hypervolume, non_dominated, without_rungs
from readings import at, curve, epochs_to, estimate, mean_over, median, ratio_of_medians
from replay import Table
from synthetic import Synthetic

SPACE = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 4, rungs: {eta: 2, min_epochs: 1}}\n"
SEEDS = 2


def members(space: SearchSpace) -> list[Architecture]:
    found = {}
    for backbone in space.backbones:
        names = [each.name for each in space.dimensions(backbone)]
        for values in product(*(range(each.choices) for each in space.dimensions(backbone))):
            architecture = space.decode(backbone, dict(zip(names, values, strict=True)))
            found[architecture.digest] = architecture
    return list(found.values())


def accuracy(space: SearchSpace, architecture: Architecture, seed: int, epoch: int) -> float:
    """Rises with compute; seeds lie on both sides of the mean; early epochs see less."""
    spread = int(architecture.digest[:4], 16) / 0xFFFF
    return 0.6 + 2 * space.gflops(architecture) + 0.01 * spread + (0.004 * seed - 0.002) - 0.1 / epoch


def row(space: SearchSpace, architecture: Architecture, seed: int, epoch: int) -> dict[str, object]:
    value = accuracy(space, architecture, seed, epoch)
    return {
        "digest": architecture.digest,
        "backbone": architecture.backbone,
        "gflops": space.gflops(architecture),
        "seed": seed,
        "epoch": epoch,
        "accuracy": value,
        "loss": 1 - value,
        "train_loss": 1.0,
        "seconds": 0.5,
    }


@pytest.fixture
def table_path(tmp_path: Path) -> Path:
    space = parse_space(SPACE)
    rows = [
        row(space, architecture, seed, epoch)
        for architecture in members(space)
        for seed in range(SEEDS)
        for epoch in range(1, 5)
    ]
    path = tmp_path / "tiny.parquet"
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"octnas.space": space.to_yaml()})
    pq.write_table(table, path)
    return path


def test_the_truth_is_the_mean_over_seeds_and_a_training_is_of_one_seed(table_path: Path) -> None:
    table = Table(table_path)
    space = table.space
    architecture = members(space)[7]
    ends = [accuracy(space, architecture, seed, 4) for seed in range(SEEDS)]
    assert table.truth(architecture) == pytest.approx(np.mean(ends))
    drawn = set()
    for seed in range(12):
        scores = list(table.scores(architecture, seed))
        assert [score.epoch for score in scores] == [1, 2, 3, 4]
        assert scores == list(table.scores(architecture, seed))
        which = ends.index(scores[-1].accuracy)
        assert [score.accuracy for score in scores] == [
            accuracy(space, architecture, which, epoch) for epoch in range(1, 5)
        ]
        drawn.add(which)
    assert drawn == {0, 1}
    assert table.noise_points == pytest.approx(0.4 / math.sqrt(2))


def test_the_budget_of_a_table_admits_the_share_that_was_asked_for(table_path: Path) -> None:
    whole, half = Table(table_path), Table(table_path, budget_share=0.5)
    costs = sorted(whole.space.gflops(each) for each in members(whole.space))
    assert (whole.size, whole.budget_gflops) == (len(costs), costs[-1])
    assert half.budget_gflops == costs[len(costs) // 2 - 1]
    assert half.size == sum(cost <= half.budget_gflops for cost in costs)
    assert max(half.best[:, 0]) <= half.budget_gflops


def test_the_front_of_a_table_is_the_one_found_by_comparing_all_pairs(table_path: Path) -> None:
    table = Table(table_path)
    every = [(table.space.gflops(each), table.truth(each)) for each in members(table.space)]
    naive = {
        one for one in every if not any(two != one and two[0] <= one[0] and two[1] >= one[1] for two in every)
    }
    assert {tuple(point) for point in table.best.tolist()} == naive


def test_seed_noise_sets_a_ceiling(table_path: Path) -> None:
    shares = Table(table_path).ceiling(20)
    assert all(0.5 < share <= 1 for share in shares)
    assert np.mean(shares) < 1


@pytest.mark.parametrize("name", ["random straight", "random stratified", "thompson", "optuna nsga2"])
def test_what_trains_every_member_finds_the_whole_front(name: str, table_path: Path) -> None:
    table = Table(table_path, budget_share=0.25)
    epochs = table.size * table.epochs
    trained = run(table, METHODS[name], seed=0, epochs=epochs)
    read = curve(trained, best=table.best, budget=table.budget_gflops, reference=table.reference)
    assert all(each.gflops <= table.budget_gflops for each in trained)
    assert len({(each.gflops, each.truth) for each in trained}) == len(trained)
    assert all(np.diff(read.found) >= 0)
    assert trained == run(table, METHODS[name], seed=0, epochs=epochs)
    if METHODS[name].kind != "optuna":  # which may ask for the same again and again
        assert len(trained) == table.size
        assert read.found[-1] == pytest.approx(1)
        assert read.chosen[-1] == pytest.approx(table.ceiling(1)[0])


def test_rungs_spend_the_epochs_on_more_candidates(table_path: Path) -> None:
    table = Table(table_path)
    epochs = 40 * table.epochs
    without = run(table, METHODS["random stratified"], seed=1, epochs=epochs)
    rungs = run(table, METHODS["random stratified + rungs"], seed=1, epochs=epochs)
    assert len(without) == 40
    assert without[-1].epochs == epochs
    assert 5 <= len(rungs) < 40
    assert rungs[-1].epochs <= epochs
    assert without_rungs(table.space, epochs=4).proxy.rungs.min_epochs == 4


def test_uniform_alphas_are_those_within_the_budget(table_path: Path) -> None:
    table = Table(table_path)
    trained = run(table, METHODS["uniform alphas"], seed=0, epochs=10_000)
    assert len(trained) == len(table.space.backbones) * len(table.space.alphas)
    assert [each.gflops for each in trained] == sorted(each.gflops for each in trained)
    assert [each.epochs for each in trained] == [4 * number for number in range(1, len(trained) + 1)]


def test_hypervolume_and_readings_by_hand() -> None:
    points = np.array([[1.0, 0.5], [2.0, 0.7], [1.5, 0.4], [2.0, 0.7]])
    assert non_dominated(points).tolist() == [0, 1]
    # 0.4 x (3 - 1) and 0.2 x (3 - 2) above the reference accuracy 0.1
    assert hypervolume(points, budget=3.0, reference=0.1) == pytest.approx(1.0)
    assert hypervolume(np.empty((0, 2)), budget=3.0, reference=0.1) == 0
    trained = [
        Trained(epochs=4, gflops=1.0, truth=0.5, seen=0.5),
        Trained(epochs=9, gflops=2.0, truth=0.4, seen=0.8),
        Trained(epochs=12, gflops=2.0, truth=0.7, seen=0.6),
    ]
    read = curve(trained, best=points[:2], budget=3.0, reference=0.1)
    assert read.found == pytest.approx([0.8, 0.8, 1.0])
    # The second looks better than it is, and keeps the third off the chosen front.
    assert read.chosen == pytest.approx([0.8, 0.8, 0.8])
    assert at(read.epochs, read.found, np.array([3, 4, 11, 12])) == pytest.approx([0, 0.8, 0.8, 1.0])
    assert mean_over(read.epochs, read.found, 12) == pytest.approx((3 * 0 + 8 * 0.8 + 1.0) / 12)
    assert epochs_to(read.epochs, read.found, 0.99) == 12
    assert epochs_to(read.epochs, read.chosen, 0.99) == math.inf


def test_medians_and_ratios_of_searches_that_did_not_get_there() -> None:
    assert median(np.array([3.0, math.inf, 1.0])) == 3
    assert median(np.array([3.0, math.inf])) == math.inf
    ratio = ratio_of_medians([10.0] * 5, [math.inf] * 5, cut=100)
    assert (ratio.value, ratio.low, ratio.high) == (0.1, 0.1, 0.1)
    assert ratio_of_medians([math.inf] * 5, [50.0] * 5, cut=100).value == math.inf
    flat = estimate([2.0, 2.0, 2.0])
    assert (flat.value, flat.low, flat.high) == (2, 2, 2)
    spread = estimate([0.0, 1.0] * 10)
    assert spread.low < 0.5 < spread.high
    assert spread.value == 0.5


def test_a_synthetic_objective_has_a_front_that_draws_do_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthetic.ROUNDS", 2)
    problem = Synthetic("synthetic-resnet50")
    feasible = problem.space.feasible(problem.budget_gflops)
    rng = np.random.default_rng(0)
    drawn = [feasible.sample(rng) for _ in range(100)]
    points = np.array([[problem.space.gflops(each), problem.truth(each)] for each in drawn])
    for cost, worth in points:
        below = problem.best[problem.best[:, 0] <= cost]
        assert below.size == 0 or worth <= below[:, 1].max() or cost < problem.best[0, 0]
    seen = np.array([[score.accuracy for score in problem.scores(each, 3)] for each in drawn])
    errors = (seen - seen[:, -1:]).std(axis=0)
    assert errors[0] > errors[1] > errors[3] > errors[-1] == 0
    assert abs((seen[:, -1] - points[:, 1]).std() - 0.0065) < 0.0015
    one, two = Synthetic("synthetic-resnet50", 1), Synthetic("synthetic-resnet50", 1)
    assert one.truth(drawn[0]) == two.truth(drawn[0]) != problem.truth(drawn[0])
