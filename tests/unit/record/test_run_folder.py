from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record_case import PROFILE, complete, header, running, score

from octnas.errors import RunError
from octnas.record import (
    Journal,
    RunFolder,
    SearchHeader,
    TrialState,
    default_name,
    list_runs,
    runs_home,
)

OLD_JOURNAL = Path(__file__).parents[2] / "data" / "journal-v1.jsonl"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    return tmp_path / "runs"


def _finished(name: str) -> RunFolder:
    run = RunFolder.create(name, header(name))
    run.journal.append_trial(complete("1"))
    run.journal.append({"event": "end", "state": "complete"})
    run.journal.release()
    return run


def test_header_round_trip() -> None:
    full = header(max_minutes=15.0, gpus_per_trial=0.5, backbone="resnet50", tracking_uri="sqlite:///x.db")
    assert SearchHeader.from_dict(json.loads(json.dumps(full.to_dict()))) == full
    timed = header(budget_gflops=None, budget_ms=24.0, objective="latency", profile=PROFILE)
    assert SearchHeader.from_dict(json.loads(json.dumps(timed.to_dict()))) == timed
    assert timed.to_dict()["budget_gflops"] is None


def test_a_header_with_an_unknown_objective_is_damaged(home: Path) -> None:
    run = _finished("odd")
    text = run.journal.path.read_text()
    run.journal.path.write_text(text.replace('"objective":"gflops"', '"objective":"watts"', 1))
    with pytest.raises(
        RunError, match=r"header of run 'odd' is damaged .*`objective` must be one of .*'watts'"
    ):
        RunFolder.open("odd")
    assert [summary.state for summary in list_runs()] == ["damaged"]


def test_a_run_is_found_again_as_it_was_made(home: Path) -> None:
    made = RunFolder.create("mine", header("other"))
    made.journal.append_trial(running("1"))
    made.journal.append_score("1", score(1, 0.3))
    made.journal.release()
    found = RunFolder.open("mine")
    assert found.path == home / "mine"
    assert found.header == header("mine")
    assert found.checkpoint("1") == home / "mine" / "checkpoints" / "1.pt"
    assert found.checkpoint("1").parent.is_dir()
    assert found.record("1").accuracy == 0.3
    with pytest.raises(RunError, match="run 'mine' has no trial '9'; its trials are 1"):
        found.record("9")


def test_the_default_home_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OCTNAS_HOME")
    monkeypatch.chdir(tmp_path)
    assert runs_home() == tmp_path / "octnas-runs"


def test_a_name_that_exists_is_refused_with_what_to_type() -> None:
    _finished("mine")
    with pytest.raises(RunError) as caught:
        RunFolder.create("mine", header("mine"))
    assert str(caught.value) == (
        "a run named 'mine' exists: `octnas resume mine` goes on with it, `octnas delete mine` removes it, "
        "another --name leaves it"
    )


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".", "..", ".hidden", "-x", "a b", "x" * 101, "é"])
def test_a_name_cannot_leave_the_folder(name: str, home: Path) -> None:
    for act in (
        lambda: RunFolder.create(name, header()),
        lambda: RunFolder.open(name),
        lambda: RunFolder.delete(name),
    ):
        with pytest.raises(RunError, match="a run's name is 1 to 100 letters"):
            act()
    assert not home.exists()


@pytest.mark.parametrize("trial_id", ["../x", "a/b", ""])
def test_a_trial_id_cannot_leave_the_folder(trial_id: str) -> None:
    with pytest.raises(RunError, match="a trial id is made of"):
        _finished("mine").checkpoint(trial_id)


def test_an_unknown_name_gets_the_nearest() -> None:
    _finished("glyphs-small")
    with pytest.raises(RunError, match=r"no run named 'glyphs-smal' in .*: did you mean 'glyphs-small'"):
        RunFolder.open("glyphs-smal")


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "file" / "runs"))
    with pytest.raises(
        RunError, match=r"cannot write .*: Not a directory; permit writing there or set OCTNAS_HOME"
    ):
        RunFolder.create("mine", header("mine"))


def test_a_header_that_cannot_be_written_leaves_no_folder(home: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        RunFolder.create("mine", header("mine", budget_gflops=float("inf")))
    assert list(home.iterdir()) == []


def test_list_shows_every_run_by_name_with_its_state(home: Path) -> None:
    _finished("b-done")
    cut = RunFolder.create("a-cut", header("a-cut"))
    cut.journal.append_trial(running("1"))
    cut.journal.release()
    _finished("d-resumed").journal.append({"event": "resume"})
    (home / "c-empty").mkdir()
    live = RunFolder.create("e-live", header("e-live"))
    runs = [(run.name, run.state, run.trials, run.finished) for run in list_runs()]
    assert runs == [
        ("a-cut", "interrupted", 1, 0),
        ("b-done", "complete", 1, 1),
        ("c-empty", "damaged", 0, 0),
        ("d-resumed", "interrupted", 1, 1),
        ("e-live", "running", 0, 0),
    ]
    assert list_runs()[1].to_dict()["budget_gflops"] == 2.0
    live.journal.release()


def _no_budget(events: list[dict[str, Any]]) -> None:
    del events[0]["header"]["budget_gflops"]
    events[0]["header"]["options"]["networks"] = {"package:network": 1}


def _no_number(events: list[dict[str, Any]]) -> None:
    events[0]["header"]["budget_gflops"] = "two"


def _unknown_state(events: list[dict[str, Any]]) -> None:
    events[0]["header"]["options"]["networks"] = {"package:network": 1}  # its trials are counted, not made
    events[1]["trial"]["state"] = "done"


def _no_score(events: list[dict[str, Any]]) -> None:
    events.append({"event": "supernet", "backbone": "resnet18"})


def _no_name(events: list[dict[str, Any]]) -> None:
    events.append({"event": "supernet-end", "backbone": ["resnet18"]})


def _no_epoch(events: list[dict[str, Any]]) -> None:
    events.append({"event": "supernet", "backbone": "resnet18", "score": {"epoch": math.inf}})


@pytest.mark.parametrize("damage", [_no_budget, _no_number, _unknown_state, _no_score, _no_name, _no_epoch])
def test_list_shows_a_run_whatever_is_damaged(
    damage: Callable[[list[dict[str, Any]]], None], home: Path
) -> None:
    run = _finished("mine")
    events = run.journal.read()
    damage(events)
    run.journal.path.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert [(each.name, each.state) for each in list_runs()] == [("mine", "damaged")]


def test_delete_removes_the_folder_but_not_of_a_search_that_runs(home: Path) -> None:
    run = RunFolder.create("mine", header("mine"))
    with pytest.raises(RunError, match=f"'mine' is in use by process {os.getpid()}"):
        RunFolder.delete("mine")
    assert run.path.is_dir()
    run.journal.release()
    assert RunFolder.delete("mine") == home / "mine"
    assert list_runs() == []
    with pytest.raises(RunError, match="no run named 'mine'"):
        RunFolder.delete("mine")


def test_a_damaged_run_can_be_deleted(home: Path) -> None:
    (home / "mine").mkdir(parents=True)
    (home / "mine" / "journal.jsonl").write_text('{"event": "sea')
    with pytest.raises(RunError, match="has no header: it died at birth; `octnas delete mine`"):
        RunFolder.open("mine")
    RunFolder.delete("mine")
    assert not (home / "mine").exists()


def test_a_newer_journal_is_refused() -> None:
    run = _finished("mine")
    run.journal.path.write_text(
        run.journal.path.read_text().replace('"schema_version":1,"h', '"schema_version":2,"h')
    )
    with pytest.raises(RunError, match="has schema version 2, this octnas reads 1"):
        RunFolder.open("mine")


def test_default_name_is_free_and_a_name(home: Path) -> None:
    first = default_name("spaces/my space.yaml")
    assert first.startswith("my-space-2")
    RunFolder.create(first, header(first)).journal.release()
    assert default_name("spaces/my space.yaml") != first
    assert default_name("...").startswith("search-2")


def test_a_journal_of_the_first_version_loads_for_ever(home: Path) -> None:
    (home / "old").mkdir(parents=True)
    shutil.copy(OLD_JOURNAL, home / "old" / "journal.jsonl")
    run = RunFolder.open("old")
    assert run.header.budget_gflops == 2.0
    assert (run.header.budget_ms, run.header.objective, run.header.profile) == (None, "gflops", None)
    assert {(record.latency_ms, record.cost("gflops")) for record in run.records()} == {(None, 1.137)}
    assert run.header.yardsticks[0].label == "uniform-0.5"
    assert run.header.yardsticks[0].architecture.low_channels[:5] == (32, 32, 32, 32, 64)
    records = {record.id: record for record in run.records()}
    assert {key: str(record.state) for key, record in records.items()} == {
        "0": "complete",
        "1": "stopped",
        "2": "failed",
        "3": "running",
    }
    assert (records["0"].accuracy, records["0"].accuracy_seeds, records["0"].yardstick) == (
        0.7,
        (0.71,),
        "uniform-0.5",
    )
    assert records["0"].architecture.digest == "c3336ab44ba6"
    assert records["2"].reason == "loss is nan in epoch 2"
    assert [each.accuracy for each in records["3"].scores] == [0.31, 0.52]
    assert records["3"].state is TrialState.RUNNING
    assert [event["event"] for event in Journal(OLD_JOURNAL).read()].count("sampler") == 1
