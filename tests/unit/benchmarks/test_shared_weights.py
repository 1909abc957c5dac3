"""What the benchmark of shared weights reads off its pieces."""

from __future__ import annotations

import json
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau
from stand_ins import TINY_SPACE

from octnas.architecture import Architecture
from octnas.record import EpochScore, SharedScore
from octnas.space import SearchSpace, parse_space

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from pieces import run_all, stored
from problem import hypervolume
from replay import Table
from shared_costs import Memory, Throughput
from shared_hypervolume import paces, search_text
from shared_readings import (
    Steps,
    chosen,
    finalists,
    mean_tau,
    scored_in_turn,
    seconds_to_equal,
    share_of_theirs,
    stratified,
)
from shared_report import memory_text, rank_text, throughput_text
from shared_runs import Scratch, Search, Supernet, Warm

SPACE = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 2, rungs: {eta: 2, min_epochs: 1}}\n"
SECONDS = {"resnet18": 1.0, "resnet26": 2.0}


def members(space: SearchSpace) -> list[Architecture]:
    found = {}
    for backbone in space.backbones:
        names = [each.name for each in space.dimensions(backbone)]
        for values in product(*(range(each.choices) for each in space.dimensions(backbone))):
            architecture = space.decode(backbone, dict(zip(names, values, strict=True)))
            found[architecture.digest] = architecture
    return list(found.values())


def accuracy(space: SearchSpace, architecture: Architecture, seed: int) -> float:
    """Its own for each architecture, so that no two tie, and a little more with the second seed."""
    return 0.5 + space.gflops(architecture) + int(architecture.digest[:4], 16) / 0xFFFFF + 0.001 * seed


@pytest.fixture
def table_path(tmp_path: Path) -> Path:
    space = parse_space(SPACE)
    rows = [
        {
            "digest": each.digest,
            "backbone": each.backbone,
            "low_channels": list(each.low_channels),
            "gflops": space.gflops(each),
            "seed": seed,
            "epoch": epoch,
            "accuracy": accuracy(space, each, seed) - 0.1 * (2 - epoch),
            "loss": 1 - accuracy(space, each, seed),
            "train_loss": 1.0,
            "seconds": SECONDS[each.backbone] / 2,
        }
        for each in members(space)
        for seed in range(2)
        for epoch in (1, 2)
    ]
    path = tmp_path / "tiny.parquet"
    pq.write_table(
        pa.Table.from_pylist(rows).replace_schema_metadata({"octnas.space": space.to_yaml()}), path
    )
    return path


def supernet(path: Path, backbone: str, seed: int = 0) -> Supernet:
    return Supernet(
        table=str(path),
        backbone=backbone,
        seed=seed,
        length=2.0,
        randoms=1,
        together=False,
        distill=0.0,
        images=100,
    )


def test_a_table_knows_its_members_by_backbone_and_cost(table_path: Path) -> None:
    table = Table(table_path)
    every = [each for backbone in table.space.backbones for each in table.of(backbone)]
    assert {each.digest for each in every} == {each.digest for each in members(table.space)}
    costs = [table.space.gflops(each) for each in table.of("resnet26")]
    assert costs == sorted(costs)
    assert all(table.architecture(each.digest) == each for each in every)


def test_as_many_of_each_backbone_with_its_cheapest_and_its_dearest() -> None:
    first, second = members(parse_space(SPACE))[:40], members(parse_space(SPACE))[40:45]
    found = stratified({"one": first, "two": second}, 7)
    assert len(found) == len({each.digest for each in found}) == 7
    assert found[:4] == [first[0], first[13], first[26], first[39]]
    assert found[4:] == [second[0], second[2], second[4]]


def test_tau_is_the_mean_over_seeds_of_what_scipy_finds() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=30)
    scores = np.array([truth + rng.normal(size=30), np.round(truth + rng.normal(size=30))])
    found = mean_tau(scores, truth)
    assert found.value == pytest.approx(np.mean([kendalltau(each, truth).statistic for each in scores]))
    assert found.low < found.value < found.high
    certain = mean_tau(truth[None], truth)
    assert (certain.low, certain.value, certain.high) == (1, 1, 1)


def test_the_front_is_chosen_by_what_was_seen_and_valued_at_the_truth() -> None:
    truth = np.array([[1.0, 0.5], [2.0, 0.7], [3.0, 0.9]])
    seen = np.array([[1.0, 0.6], [2.0, 0.5], [3.0, 0.8]])
    # without the middle one: 0.5 x (4 - 1) and 0.4 x (4 - 3) above accuracy 0
    assert chosen(truth, seen, budget=4.0, reference=0.0) == pytest.approx(1.9)


def test_finalists_are_trained_once_each_the_largest_promise_of_hypervolume_first(table_path: Path) -> None:
    table = Table(table_path)
    space, feasible = table.space, table.space.feasible(table.budget_gflops)
    scores = [
        SharedScore(architecture=each, accuracy=accuracy(space, each, 0), loss=1.0)
        for each in members(space)[::3]
    ]

    def train(architecture: Architecture) -> EpochScore:
        return next(reversed(list(table.scores(architecture, 0))))

    order = list(finalists(feasible, scores, train, rank_by="accuracy", count=10**6))
    assert {each.digest for each in order} == {each.architecture.digest for each in scores}
    assert len(order) == len(scores)
    lowest = min(each.accuracy for each in scores)
    gains = {
        each.architecture.digest: hypervolume(
            np.array([[space.gflops(each.architecture), each.accuracy]]),
            budget=table.budget_gflops,
            reference=lowest,
        )
        for each in scores
    }
    assert order[0].digest == max(gains, key=gains.__getitem__)
    assert len(list(finalists(feasible, scores, train, rank_by="accuracy", count=3))) == 3


def test_compute_to_an_equal_mean_by_hand() -> None:
    plain = [Steps(seconds=np.array([10.0, 50.0]), values=np.array([0.4, each])) for each in (0.7, 0.9)]
    ours = [
        Steps(seconds=np.array([20.0, 30.0]), values=np.array([0.5, 0.8])),
        Steps(seconds=np.array([20.0, 40.0]), values=np.array([0.5, 0.8])),
    ]
    grid = np.arange(101.0)
    assert seconds_to_equal(ours, plain, seconds=100.0, grid=grid).value == pytest.approx(0.4)
    assert seconds_to_equal(ours, plain, seconds=20.0, grid=grid).value == pytest.approx(1.0)
    best = [Steps(seconds=np.array([1.0]), values=np.array([1.0]))] * 2
    assert seconds_to_equal(ours, best, seconds=5.0, grid=grid).value == float("inf")


def everything(path: Path) -> tuple[dict[str, list[Any]], dict[str, dict[str, Any]]]:
    """Pieces of a whole run, and rows in which the shared scores are the truth, half the accuracy off."""
    table = Table(path)
    supernets = [supernet(path, backbone, seed) for seed in (0, 1) for backbone in table.space.backbones]
    warm = [
        Warm(supernet=each, digest=member.digest, epochs=1)
        for each in supernets
        for member in table.of(each.backbone)[::20]
    ]
    scratch = [Scratch(table=str(path), digest=table.of(each)[0].digest) for each in SECONDS]
    searches = [Search(table=str(path), seed=seed) for seed in range(4)]
    done: dict[str, dict[str, Any]] = {}
    for each in supernets:
        scores = {
            member.digest: [table.truth(member) / 2, -table.truth(member)]
            for member in table.of(each.backbone)
        }
        done[each.key] = {"train_seconds": 5.0, "score_seconds": 1.0, "plain_accuracy": 0.5, "scores": scores}
    for each in warm:
        done[each.key] = {
            "accuracy": -table.truth(table.architecture(each.digest)),
            "loss": 0.0,
            "seconds": 0.5,
        }
    for each in scratch:
        seconds = SECONDS[table.architecture(each.digest).backbone]
        row = {"accuracy": 0.5, "loss": 0.5, "table_accuracy": 0.5, "table_seconds": seconds}
        done[each.key] = {**row, "seconds": 3 * seconds}
    for each in searches:
        rng = np.random.default_rng(each.seed)
        every = members(table.space)
        done[each.key] = {
            "trained": [
                [
                    table.space.gflops(one),
                    table.truth(one),
                    table.truth(one),
                    one.backbone,
                    SECONDS[one.backbone],
                ]
                for one in (every[int(i)] for i in rng.permutation(len(every)))
            ]
        }
    return {"supernets": supernets, "warm": warm, "scratch": scratch, "searches": searches}, done


def cells(text: str, first: str) -> list[list[str]]:
    """The rows of all tables whose first cell is `first`."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines()]
    return [row[1:] for row in rows if row[0] == first]


def test_the_report_of_ranks(table_path: Path) -> None:
    pieces, done = everything(table_path)
    text = rank_text(Table(table_path), pieces["supernets"], pieces["warm"], done)
    for row in cells(text, "shared accuracy"):
        assert all(cell.startswith("1.00 (1.00 to 1.00)") for cell in row)
        assert len(row) == 3
    assert len(cells(text, "shared accuracy")) == len(cells(text, "GFLOPs alone")) == 2
    (row,) = cells(text, "from shared weights, 1 of 2 epochs")
    assert all(cell.startswith("-1.00") for cell in row)
    assert "resnet18 5 s, resnet26 5 s" in text


def test_the_report_of_searches(table_path: Path) -> None:
    pieces, done = everything(table_path)
    table = Table(table_path)
    assert paces(table, pieces["scratch"], done) == {"resnet18": 3.0, "resnet26": 3.0}
    text = search_text(table, pieces["supernets"], pieces["scratch"], pieces["searches"], done)
    alone = cells(text.partition("by themselves")[2], str(table.size))[0]
    assert alone[:2] == ["12", "1.000 (1.000 to 1.000)"], "exact scores of all members"
    fewer = cells(text.partition("by themselves")[2], "40")[0]
    assert float(fewer[0]) < 12
    assert float(fewer[1].split()[0]) < 1
    assert f"the scores of all {table.size} members take 12 s" in text
    mean = 3 * np.mean([SECONDS[each.backbone] for each in members(table.space)])
    assert f"{12 / mean:.1f} trainings from scratch of {mean:.1f} s" in text
    rows = [cells(text, str(count))[0] for count in (12, 24, 48, 96)]
    assert [row[0] for row in rows] == [f"{count * mean:.0f}" for count in (12, 24, 48, 96)]
    values = [float(row[1].split()[0]) for row in rows]
    assert values == sorted(values)
    # Exact scores find the front with as many trainings as it has members.
    assert all(float(row[2].split()[0]) >= float(row[1].split()[0]) for row in rows)


def test_the_share_of_their_compute_is_read_where_they_have_as_much_on_average() -> None:
    theirs = [
        Steps(seconds=np.array([10.0, 20.0, 40.0]), values=np.array([0.2, 0.4 + lead, 0.8]))
        for lead in (0.0, 0.2)
    ]
    grid = np.linspace(0, 50, 501)
    # Their means are .2, .5 and .8 from 10, 20 and 40 seconds on.
    found = share_of_theirs([8.0, 8.0], [0.5, 0.5], theirs, grid=grid)
    assert found.value == pytest.approx(8 / 20)
    assert (found.low, found.high) == pytest.approx((8 / 40, 8 / 20))
    assert share_of_theirs([8.0, 12.0], [0.7, 0.7], theirs, grid=grid).value == pytest.approx(10 / 40)
    assert share_of_theirs([8.0, 8.0], [0.9, 0.9], theirs, grid=grid).value == 0


def test_the_members_that_a_search_scores_are_known_and_each_is_scored_once(table_path: Path) -> None:
    table = Table(table_path)
    feasible = table.space.feasible(table.budget_gflops)

    def score(architecture: Architecture) -> SharedScore:
        found = accuracy(table.space, architecture, 0)
        return SharedScore(architecture=architecture, accuracy=found, loss=1 - found)

    some = scored_in_turn(feasible, score, total=40, seed=0)
    assert len({each.architecture.digest for each in some}) == len(some) == 40
    every = scored_in_turn(feasible, score, total=table.size, seed=0)
    assert {each.architecture.digest for each in every} == {each.digest for each in members(table.space)}


def test_the_reports_of_throughput_and_memory() -> None:
    common = {"space": "imagenet-2d", "budget_gflops": 2.0}
    scores = [
        Throughput(backbone=backbone, count=4, worker=worker, **common)
        for backbone in ("resnet18", "resnet50")
        for worker in range(2)
    ]
    seconds = dict(zip(scores, (0.5, 0.7, 1.0, 1.4), strict=True))
    done = {each.key: {"seconds": seconds[each], "images": 2000, "calibration": 512} for each in scores}
    text = throughput_text(scores, done)
    assert cells(text, "resnet18") == [["0.60", "200", "5.0"]]
    assert cells(text, "all in equal parts") == [["0.90", "133", "7.5"]]
    memory = [
        Memory(backbone="resnet18", shared=shared, steps=9, repeat=repeat, **common)
        for shared in (False, True)
        for repeat in range(3)
    ]
    peaks = dict(zip(memory, (400, 420, 410, 430, 441, 500), strict=True))
    done = {each.key: {"before": 300.0, "peak": peaks[each], "batch_size": 32} for each in memory}
    assert cells(memory_text(memory, done), "resnet18") == [["410", "441", "1.076", "110", "141"]]


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store.jsonl"
    first, second = (supernet(tmp_path / "none.parquet", "resnet18", seed) for seed in range(2))
    assert first.key != second.key
    assert first.weights(tmp_path) != second.weights(tmp_path)
    store.write_text(
        json.dumps({"key": first.key, "plain_accuracy": 0.5}) + '\n{"key": "cut', encoding="utf-8"
    )
    assert stored(store) == {first.key: {"plain_accuracy": 0.5}}
    found = run_all([first, second], store=store, work=tmp_path, processes=1, deadline=time.monotonic() - 1)
    assert list(found) == [first.key]
    assert "1 pieces are left" in capsys.readouterr().out
