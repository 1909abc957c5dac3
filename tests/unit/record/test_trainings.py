"""What `octnas train` left in a run's folder, damaged reports too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octnas.record import RunFolder, SearchHeader
from octnas.record.trainings import Training, trainings

REPORT = {"epochs": 36, "accuracy": 0.945, "test_accuracy": 0.941, "seconds": 12.5, "checkpoint": "x"}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    header = SearchHeader(name="first", space_yaml="", budget_gflops=2.0, trials=4, seed=0, data="glyphs")
    return RunFolder(tmp_path / "first", header)


def _write(run: RunFolder, folder: str, report: Any) -> Path:
    path = run.path / "trainings" / folder / "training.json"
    path.parent.mkdir(parents=True)
    path.write_text(report if isinstance(report, str) else json.dumps(report), encoding="utf-8")
    return path


def test_a_run_without_trainings_has_none(run: RunFolder) -> None:
    assert trainings(run) == ()
    (run.path / "trainings").mkdir(parents=True)
    assert trainings(run) == ()


def test_trainings_come_by_trial_and_scale(run: RunFolder) -> None:
    _write(run, "12-target", {"epochs": 90, "accuracy": 0.97, "test_accuracy": None})
    _write(run, "12-full", REPORT)
    _write(run, "3-proxy", {"epochs": 8, "accuracy": 0.5})
    assert trainings(run) == (
        Training(trial_id="12", scale="full", epochs=36, accuracy=0.945, test_accuracy=0.941, seconds=12.5),
        Training(trial_id="12", scale="target", epochs=90, accuracy=0.97),
        Training(trial_id="3", scale="proxy", epochs=8, accuracy=0.5),
    )


def test_a_trial_may_have_a_dash_in_its_id(run: RunFolder) -> None:
    _write(run, "uniform-0.25-full", REPORT)
    (found,) = trainings(run)
    assert (found.trial_id, found.scale) == ("uniform-0.25", "full")


def test_what_is_no_scale_is_left_out(run: RunFolder) -> None:
    for folder in ("1-other", "full", "2-full.old", "3-FULL"):
        _write(run, folder, REPORT)
    assert trainings(run) == ()


def test_a_training_on_other_data_is_left_out(tmp_path: Path) -> None:
    header = SearchHeader(
        name="first",
        space_yaml="",
        budget_gflops=2.0,
        trials=4,
        seed=0,
        data="/data/mine",
        data_fingerprint="ab",
    )
    run = RunFolder(tmp_path / "first", header)
    _write(run, "1-full", {**REPORT, "data_source": "/data/mine", "data_fingerprint": "ab"})
    _write(run, "2-full", {**REPORT, "data_source": "/moved/mine", "data_fingerprint": "ab"})
    # of the target's input: the same images in another size
    _write(run, "3-target", {**REPORT, "data_source": "/data/mine", "data_fingerprint": "cd"})
    _write(run, "4-full", {**REPORT, "data_source": "/data/other", "data_fingerprint": "ef"})
    _write(run, "5-full", {**REPORT, "data_source": "/data/other"})
    _write(run, "6-full", REPORT)  # of a version that did not say
    assert [each.trial_id for each in trainings(run)] == ["1", "2", "3", "6"]


@pytest.mark.parametrize(
    "report",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        {},
        {"epochs": 3},
        {"accuracy": 0.5},
        {"epochs": "many", "accuracy": 0.5},
        {"epochs": None, "accuracy": 0.5},
        {"epochs": 3, "accuracy": None},
        {"epochs": 3, "accuracy": [0.5]},
        '{"epochs": 3, "accuracy": NaN}',
        '{"epochs": Infinity, "accuracy": 0.5}',
        '{"epochs": 3, "accuracy": 0.5, "test_accuracy": -Infinity}',
        '{"epochs": 3, "accuracy": 0.5, "seconds": NaN}',
        '{"epochs": 3, "accuracy": 1e999}',
    ],
)
def test_a_damaged_report_is_left_out_and_the_others_stay(run: RunFolder, report: Any) -> None:
    _write(run, "1-full", report)
    _write(run, "2-full", REPORT)
    assert [each.trial_id for each in trainings(run)] == ["2"]


def test_what_is_no_file_or_no_text_is_left_out(run: RunFolder) -> None:
    _write(run, "1-full", REPORT).write_bytes(b"\xff\xfe{}")
    path = _write(run, "2-full", REPORT)
    path.unlink()
    path.mkdir()
    _write(run, "3-full", REPORT)
    (run.path / "trainings" / "4-full").mkdir()
    (run.path / "trainings" / "5-full").symlink_to("nowhere")
    assert [each.trial_id for each in trainings(run)] == ["3"]
