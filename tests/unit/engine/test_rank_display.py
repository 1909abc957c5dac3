"""How far a ranking is: its estimate of the time left, and the lines that show it."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from rank_case import SPACE, Backend, noisy
from rich.console import Console

from octnas.engine.driver import Driver
from octnas.engine.rank_display import duration, rank_progress, rank_text
from octnas.engine.rank_jobs import Plans
from octnas.engine.rank_models import chosen_models
from octnas.engine.rank_plan import labels_of
from octnas.engine.ranking import RankEvent, Ranking
from octnas.record import RunFolder, SearchHeader
from octnas.record.ranking import Ranked, rank_journal
from octnas.space import parse_space


@pytest.fixture
def ranking(runs_home: Path) -> Ranking:
    """Three trainings of 100, 100 and 400 steps, at 0.5 s a step by what the search took."""
    space = parse_space(SPACE)
    header = SearchHeader(
        name="run",
        space_yaml=space.to_yaml(),
        budget_gflops=1.0,
        trials=1,
        seed=0,
        data="fashion-sample",
        options={"evaluate": "rank_case:noisy"},
    )
    run = RunFolder.create("run", header)
    run.journal.release()
    data: Any = type("Data", (), {"train": range(3200), "val": range(100)})()
    plans = Plans(run, space, data)
    models = chosen_models(space.feasible(space.max_gflops), [], 2, seed=0)
    ranked = Ranked(models=models)
    jobs = [
        dataclasses.replace(plans.training(kind, models[at], seed), steps=steps)
        for kind, at, seed, steps in (("scratch", 0, 0, 100), ("scratch", 1, 0, 100), ("full", 0, 2000, 400))
    ]  # type: ignore[misc]
    return Ranking(
        ranked,
        rank_journal(run),
        jobs,
        labels=labels_of(ranked),
        workers=2,
        seconds_per_step=0.5,
        clock=lambda: 75.0,
    )


def test_time_left_follows_from_the_steps_that_are_done(ranking: Ranking) -> None:
    assert isinstance(ranking, Ranking)
    driver: Driver = ranking
    assert ranking.seconds_left == 600 * 0.5 / 2
    job = driver.next_job()
    assert job is not None
    assert driver.running == (job.id,)
    noisy(job.job, None, lambda score: driver.report(job.id, score) and score.epoch < 2)  # type: ignore[attr-defined]
    # Two of four epochs of 25 steps took a second each: 1 / 25 s a step from now on.
    assert ranking.seconds_left == pytest.approx((50 + 100 + 400) / 25 / 2)
    # A worker that died repeats its scores: nothing is counted twice.
    noisy(job.job, None, lambda score: driver.report(job.id, score) and score.epoch < 2)  # type: ignore[attr-defined]
    assert ranking.seconds_left == pytest.approx((50 + 100 + 400) / 25 / 2)


def test_lines_name_what_is_done_and_what_is_left(ranking: Ranking) -> None:
    file = io.StringIO()
    with rank_progress(Console(file=file, width=60)) as listener:
        ranking._listeners = (listener,)
        ranking.note("training")
        Backend()(ranking, evaluate="octnas.engine.rank_jobs:work", data=None, workers=None)
    lines = file.getvalue().splitlines()
    assert lines[0] == "training"
    assert len(lines) == 4
    assert lines[1].startswith("[1/3 0 s] from scratch, resnet18 ")
    assert "s left" in lines[1]
    assert lines[3].startswith("[3/3 0 s] full, resnet18 ")
    assert ", seed 2000: accuracy " in lines[3]
    assert "left" not in lines[3]
    assert not ranking.has_work


def test_a_terminal_shows_a_bar(ranking: Ranking) -> None:
    file = io.StringIO()
    with rank_progress(Console(file=file, width=100, force_terminal=True)) as listener:
        ranking._listeners = (listener,)
        Backend()(ranking, evaluate="octnas.engine.rank_jobs:work", data=None, workers=None)
    assert "3/3" in file.getvalue()


def test_words() -> None:
    event = RankEvent(
        kind="score", finished=1, planned=4, running=("full resnet18 3/16",), seconds=5.0, seconds_left=3700.0
    )
    assert rank_text(event) == "about 1 h 01 min left · running full resnet18 3/16"
    assert [duration(each) for each in (9.4, 67, 3900)] == ["9 s", "1 min 07 s", "1 h 05 min"]
