"""Searches with shared weights through Ray: stand-ins for trainings, deaths, Ctrl-C, and a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest
from stand_ins import TINY_SPACE

from octnas import engine
from octnas.engine import ray_session, run_shared
from octnas.engine.workers import plan_workers
from octnas.errors import RunError, SearchFailedError
from octnas.record import RunFolder, TrialState, list_runs, shared_scores, supernets

TESTS = Path(__file__).parents[1]

SPACE = TINY_SPACE + (
    "proxy: {data: fashion-sample, width: 16, steps: 3, evaluations: 3, batch_size: 8, train_images: 64, "
    "val_images: 50, rungs: {eta: 3, min_epochs: 1}}\n"
)

DRIVER = """
import sys
import fakes
from octnas import engine
from octnas.engine import run_shared
from octnas.errors import Interrupted
run_shared.EVALUATE = "fakes_shared:slow"
try:
    engine.search(
        "tiny.yaml", budget_gflops=0.04, trials=2, confirm=0, name="stopped", init="shared", score=40,
        evaluate=fakes.instant,
    )
except Interrupted as error:
    print("interrupted", error.name)
    sys.exit(130)
"""


@pytest.fixture(scope="module", autouse=True)
def noted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One Ray for all tests of this file; `search` uses a Ray that runs already. The folder in which its
    workers leave their notes."""
    folder = tmp_path_factory.mktemp("noted")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FAKES_HOME", str(folder))
        patched.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
        with ray_session.ray_session(plan_workers(), "fakes_shared:evaluate", None):
            yield folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the space's file, and runs and a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    (tmp_path / "tiny.yaml").write_text(SPACE, encoding="utf-8")
    return tmp_path


def search(name: str, monkeypatch: pytest.MonkeyPatch, shared: str, **changes: object) -> engine.SearchResult:
    monkeypatch.setattr(run_shared, "EVALUATE", f"fakes_shared:{shared}")
    options: dict[str, object] = {
        "budget_gflops": 0.04, "trials": 3, "confirm": 0, "init": "shared", "score": 20,
        "evaluate": fakes.instant,
    }  # fmt: skip
    return engine.search("tiny.yaml", name=name, **{**options, **changes})  # type: ignore[arg-type]


def test_candidates_are_scored_architectures_and_a_second_life_repeats_nothing(
    noted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = search("one", monkeypatch, "evaluate")
    run = RunFolder.open("one")
    events = run.journal.read()
    scores = {each.architecture.digest: each for each in shared_scores(events)}
    assert len(scores) == 20
    assert {each.state for each in supernets(events)} == {"complete"}
    candidates = [record for record in result.trials if record.yardstick is None]
    assert len(candidates) == 3
    for record in candidates:
        assert record.shared_accuracy == scores[record.architecture.digest].accuracy
    assert all(record.state in (TrialState.COMPLETE, TrialState.STOPPED) for record in result.trials)
    kinds = [event["event"] for event in events]
    assert kinds.index("trial") > max(i for i, kind in enumerate(kinds) if kind == "shared")
    # Every worker had the weights' bytes as they lie in the run's folder.
    given = {path.read_bytes() for path in (noted / "given").iterdir()}
    assert given == {run.supernet(name).read_bytes() for name in ("resnet18", "resnet26")}
    before = run.journal.path.read_bytes()
    assert engine.resume("one").to_dict() == result.to_dict()
    more = run.journal.path.read_bytes()[len(before) :].decode().splitlines()
    assert [line.split('"')[3] for line in more] == ["resume", "end"]


def test_workers_that_die_cost_nothing_but_time(noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = search("hurt", monkeypatch, "killed_once")
    assert sorted(path.name for path in noted.glob("killed-*")) == [
        "killed-ScoringJob", "killed-SupernetJob",
    ]  # fmt: skip
    events = RunFolder.open("hurt").journal.read()
    assert {each.state for each in supernets(events)} == {"complete"}
    assert len(shared_scores(events)) == 20
    assert {each["reason"] for each in events if each["event"] == "shared" and "reason" in each} == set()
    assert len([record for record in result.trials if record.yardstick is None]) == 3


def test_supernets_that_all_fail_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SearchFailedError, match="RuntimeError: no supernet today") as error:
        search("hopeless", monkeypatch, "always_fails")
    assert "\n" not in str(error.value)
    run = RunFolder.open("hopeless")
    assert {each.state for each in supernets(run.journal.read())} == {"failed"}
    assert run.records() == []
    assert run.journal.read()[-1]["state"] == "failed"


@pytest.mark.parametrize("phase", [pytest.param("supernet", marks=pytest.mark.slow), "shared"])
def test_ctrl_c_before_any_trial_ends_cleanly_and_the_search_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    process = subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True)
    journal, until = place / "runs" / "stopped" / "journal.jsonl", time.monotonic() + 300
    while not journal.exists() or f'"event":"{phase}"' not in journal.read_text(encoding="utf-8"):
        assert process.poll() is None, "the search ended too early"
        assert time.monotonic() < until, "the search is too slow"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=200)
    assert (output, process.returncode) == ("interrupted stopped\n", 130)
    run = RunFolder.open("stopped")
    before = run.journal.read()
    assert before[-1]["state"] == "interrupted"
    monkeypatch.setattr(run_shared, "EVALUATE", "fakes_shared:evaluate")
    engine.resume("stopped")
    events = run.journal.read()
    assert len(shared_scores(events)) == 40
    assert sum(each["event"] == "shared" for each in events) == 40
    epochs = [(e["backbone"], e["score"]["epoch"]) for e in events if e["event"] == "supernet"]
    assert len(set(epochs)) == len(epochs)
    assert [each["event"] for each in events].count("supernet-end") == 2


def test_weights_are_lent_to_another_search(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_shared, "EVALUATE", "fakes_shared:evaluate")
    report = engine.supernet("tiny.yaml", backbones=["resnet18"], budget_gflops=0.04, name="weights")
    assert report["kind"] == "supernet"
    assert [(each["backbone"], each["state"]) for each in report["supernets"]] == [("resnet18", "complete")]
    weights = Path(report["supernets"][0]["weights"])
    assert weights == RunFolder.open("weights").supernet("resnet18")
    summary = next(each for each in list_runs() if each.name == "weights")
    assert (summary.kind, summary.state, summary.supernets) == ("supernet", "complete", 1)
    for refused in (lambda: engine.resume("weights"), lambda: engine.train("weights")):
        with pytest.raises(RunError, match="octnas search --init shared --supernet weights"):
            refused()
    assert engine.resume_supernet("weights") == report

    result = search("borrows", monkeypatch, "evaluate", supernet="weights")
    run = RunFolder.open("borrows")
    known = {each.backbone: each for each in supernets(run.journal.read())}
    assert known["resnet18"].reason == "from weights"
    assert (known["resnet26"].state, known["resnet26"].reason) == (
        "dropped", "weights has no shared weights of it",
    )  # fmt: skip
    assert run.supernet("resnet18").read_bytes() == weights.read_bytes()
    assert not [each for each in run.journal.read() if each["event"] == "supernet"]
    scored = {record.architecture.backbone for record in result.trials if record.yardstick is None}
    assert scored == {"resnet18"}
    with pytest.raises(RunError, match=r"needed of resnet26, but 'weights' has those of resnet18"):
        search("none", monkeypatch, "evaluate", supernet="weights", backbones=["resnet26"])
    with pytest.raises(
        RunError, match=r"--fine-tune needs shared weights of every backbone.* none of resnet26"
    ):
        search("none", monkeypatch, "evaluate", supernet="weights", fine_tune=1)
    (place / "wide.yaml").write_text(SPACE.replace("width: 16, steps", "width: 32, steps"), encoding="utf-8")
    with pytest.raises(RunError, match=r"`proxy.width` is 32 and that of 'weights' 16"):
        engine.search("wide.yaml", budget_gflops=0.04, init="shared", supernet="weights")
    assert not (place / "runs" / "none").exists()


@pytest.mark.slow
def test_a_real_search_with_shared_weights(place: Path) -> None:
    result = engine.search(
        "tiny.yaml", budget_gflops=0.04, trials=2, confirm=0, name="real", init="shared", score=12
    )
    run = RunFolder.open("real")
    assert len(shared_scores(run.journal.read())) == 12
    states = [record.state for record in result.trials if record.yardstick is None]
    assert len(states) == 2
    assert set(states) <= {TrialState.COMPLETE, TrialState.STOPPED}
    assert result.front
    assert all(record.shared_accuracy is not None for record in result.trials)
