"""Whole searches through Ray with stand-ins for the training: failures, deaths, limits, what is left."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
from made_profile import made_profile
from stand_ins import TINY_SPACE

from octnas import engine
from octnas.data import load_images
from octnas.engine import ray_session
from octnas.engine.evaluate import evaluate as train
from octnas.engine.events import SearchEvent
from octnas.engine.jobs import trial_job
from octnas.engine.workers import plan_workers
from octnas.errors import DataError, ProfileError, RunError, SearchFailedError, UnknownNameError
from octnas.front import SearchResult
from octnas.machine import usable_cores
from octnas.record import EpochScore, Journal, RunFolder, TrialRecord, TrialState
from octnas.space import parse_space
from octnas.timing import profile as measuring

TESTS = Path(__file__).parents[1]

SPACE = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 3, rungs: {eta: 3, min_epochs: 1}}\n"

DRIVER = """
import sys
import fakes
from octnas import engine
from octnas.errors import Interrupted
try:
    engine.search(sys.argv[1], budget_gflops=0.04, trials=8, name=sys.argv[2], evaluate=fakes.keeps_calls)
except Interrupted as error:
    print("interrupted", error.name)
    sys.exit(130)
"""


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    """One Ray for all tests of this file; `search` uses a Ray that runs already."""
    with ray_session.ray_session(plan_workers(), "fakes:instant", None):
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> Path:
    """A working directory with the space's file, runs of its own and the one store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    (tmp_path / "tiny.yaml").write_text(SPACE, encoding="utf-8")
    return tmp_path


def test_failures_are_rows_and_the_search_goes_on(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = engine.search(
        "tiny.yaml", budget_gflops=0.04, trials=10, name="mixed", evaluate=fakes.fails_by_thirds
    )
    records = {int(record.id): record for record in result.trials}
    assert list(records) == list(range(1, 15))
    for number, record in records.items():
        if number % 7 == 0:
            assert record.reason == "its worker process died 3 times"
        elif number % 5 == 0:
            assert record.reason == "loss is nan in epoch 1"
        elif number % 3 == 0:
            assert record.reason == f"ValueError: trial {number} is a multiple of three"
        else:
            assert record.state in (TrialState.COMPLETE, TrialState.STOPPED)
            continue
        assert record.state is TrialState.FAILED
        assert record.accuracy is None
    assert result.front
    assert all(record.within_budget for record in result.front)
    assert capfd.readouterr().out == ""
    assert {path.name for path in (place / "runs" / "mixed").iterdir()} >= {"front.html", "front.png"}
    texts = [each["text"] for each in RunFolder.open("mixed").journal.read() if each["event"] == "traceback"]
    assert any("ValueError: trial 3" in text for text in texts)
    workers = {score.worker for record in result.trials for score in record.scores}
    assert all(re.fullmatch(rf"{re.escape(socket.gethostname())}/\d+", str(each)) for each in workers)
    assert {each.trial_id for each in result.spans} == {record.id for record in result.trials}
    # a worker whose every training was begun anew after it died is in no record any more
    assert {each.worker for each in result.spans if not each.confirming} - {None} >= workers
    assert None not in {each.worker for each in result.spans if each.confirming}
    assert all(each.end is not None for each in result.spans)

    again = engine.resume("mixed")
    assert again.to_dict() == result.to_dict() == SearchResult.from_run("mixed").to_dict()
    with pytest.raises(RunError, match="exists"):
        engine.search("tiny.yaml", budget_gflops=0.04, trials=2, name="mixed", evaluate=fakes.instant)


def test_a_search_that_always_fails_alike_stops_and_says_why() -> None:
    with pytest.raises(SearchFailedError, match="RuntimeError: no training today"):
        engine.search(
            "tiny.yaml", budget_gflops=0.04, trials=12, name="hopeless", evaluate=fakes.always_fails
        )
    records = RunFolder.open("hopeless").records()
    assert 5 <= len(records) < 12
    assert all(record.state.final for record in records)


def test_a_search_of_failures_only_is_a_failed_search() -> None:
    with pytest.raises(
        SearchFailedError, match=r"all 3 trials failed, the last with: RuntimeError: no training"
    ):
        engine.search("tiny.yaml", budget_gflops=0.04, trials=2, name="short", evaluate=fakes.always_fails)
    assert SearchResult.from_run("short").front == []


def test_a_full_disk_ends_the_search_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full: list[bool] = []
    write = Journal.append

    def append(journal: Journal, event: dict[str, object]) -> None:
        if full:
            raise RunError(f"cannot write {journal.path}: No space left on device")
        write(journal, event)

    def fill(event: engine.SearchEvent) -> None:
        if event.kind == "finished" and event.finished == 3:
            full.append(True)

    monkeypatch.setattr(Journal, "append", append)
    with pytest.raises(RunError, match=r"No space left.*`octnas resume full` goes on") as error:
        engine.search(
            "tiny.yaml", budget_gflops=0.04, trials=6, name="full", evaluate=fakes.slow, listener=fill
        )
    assert error.value.exit_code == 1
    kept = {record.id: record for record in RunFolder.open("full").records() if record.state.final}
    assert len(kept) == 3

    full.clear()
    records = {record.id: record for record in engine.resume("full").trials}
    assert sum(record.yardstick is None for record in records.values()) == 6
    assert all(record.state.final and record.state is not TrialState.FAILED for record in records.values())
    assert {key: unconfirmed(records[key]) for key in kept} == kept


def _started(place: Path, name: str, finished: int) -> subprocess.Popen[str]:
    """A search in a process of its own, once it has `finished` trials and others are under way."""
    command = [sys.executable, "-c", DRIVER, "tiny.yaml", name]
    process = subprocess.Popen(command, cwd=place, text=True, stdout=subprocess.PIPE)
    until = time.monotonic() + 300
    journal = place / "runs" / name / "journal.jsonl"
    final = re.compile(r'"state":"(complete|stopped)"')
    while not journal.exists() or len(final.findall(journal.read_text(encoding="utf-8"))) < finished:
        assert process.poll() is None, "the search ended too early"
        assert time.monotonic() < until, "the search is too slow"
        time.sleep(0.02)
    return process


def unconfirmed(record: TrialRecord) -> TrialRecord:
    """The record as it was before a claim was confirmed, which adds to it and changes nothing else."""
    return replace(record, confirm_seeds=(), accuracy_seeds=(), test_accuracy_seeds=())


def _calls(run: RunFolder) -> Counter[str]:
    """How many times `fakes.keeps_calls` began each trial, as "id:epochs it had"."""
    return Counter((run.path / "calls").read_text(encoding="utf-8").split())


def test_after_sigkill_nothing_finished_is_trained_again_and_nothing_is_missing(
    place: Path, store: str
) -> None:
    process = _started(place, "killed", 3)
    process.kill()
    process.wait()
    before = {record.id: record for record in RunFolder.open("killed").records()}
    finished = {trial_id for trial_id, record in before.items() if record.state.final}
    assert len(finished) >= 3

    result = engine.resume("killed")
    after = {record.id: record for record in result.trials}
    assert len([record for record in after.values() if record.yardstick is None]) == 8
    assert all(record.state.final for record in after.values())
    assert all(unconfirmed(after[trial_id]) == before[trial_id] for trial_id in finished)
    assert len({record.architecture.digest for record in after.values()}) == len(after)
    calls = _calls(RunFolder.open("killed"))
    begun = [call for call in calls if call.partition(":")[0] in finished]
    assert len(begun) >= len(finished)
    assert {calls[call] for call in begun} == {1}
    assert {call.partition(":")[0].partition(".")[0] for call in calls} == set(after)
    assert {record.state for record in after.values()} == {TrialState.COMPLETE, TrialState.STOPPED}
    assert children(store, "killed") == list(after)


def test_a_worker_killed_within_an_epoch_goes_on_from_its_last_checkpoint(place: Path) -> None:
    proxy = "{data: fashion-sample, width: 16, steps: 6, evaluations: 3, batch_size: 8, train_images: 64, "
    proxy += "val_images: 50, rungs: {min_epochs: 3}}"
    (place / "few.yaml").write_text(f"{TINY_SPACE}proxy: {proxy}\n", encoding="utf-8")
    result = engine.search(
        "few.yaml",
        budget_gflops=0.04,
        trials=2,
        confirm=0,
        name="hurt",
        evaluate=fakes.killed_in_its_second_epoch,
    )
    run = RunFolder.open("hurt")
    assert (run.path / "killed").exists()
    epochs = (run.path / "epochs").read_text(encoding="utf-8").split()
    assert [each for each in epochs if each.startswith("1:")] == ["1:1", "1:2", "1:2", "1:3"]
    record = result.trials[0]
    assert record.state is TrialState.COMPLETE
    assert [score.epoch for score in record.scores] == [1, 2, 3]
    told = [event["score"]["epoch"] for event in run.journal.read() if event.get("id") == "1"]
    assert told == [1, 2]  # the last one came with the trial's end

    # Bit for bit what a training that nobody killed reaches.
    begun = replace(record, scores=(), epochs=0, accuracy=None, loss=None, state=TrialState.RUNNING)
    job = trial_job(run, parse_space(run.header.space_yaml), begun)
    data = load_images("fashion-sample")
    scores: list[EpochScore] = []
    train(
        replace(job, checkpoint=place / "1.pt"),
        replace(data, val=data.val.subset(100, 0)),
        lambda score: scores.append(score) is None,
    )
    assert [(each.accuracy, each.loss) for each in record.scores] == [
        (each.accuracy, each.loss) for each in scores
    ]


def test_ctrl_c_ends_cleanly_and_the_search_can_go_on(place: Path) -> None:
    process = _started(place, "stopped", 2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=200)
    assert (output, process.returncode) == ("interrupted stopped\n", 130)
    run = RunFolder.open("stopped")
    assert run.journal.read()[-1]["state"] == "interrupted"
    unfinished = [record.id for record in run.records() if not record.state.final]
    assert unfinished
    result = engine.resume("stopped")
    assert all(record.state.final for record in result.trials)
    assert run.journal.read()[-1]["state"] == "complete"


def test_a_time_limit_ends_even_a_training_that_never_reports() -> None:
    result = engine.search(
        "tiny.yaml", budget_gflops=0.04, trials=12, name="late", evaluate=fakes.stuck, max_minutes=0.2
    )
    assert not (RunFolder.open("late").path / "unstuck").exists()
    assert result.trials
    assert {(record.state, record.reason) for record in result.trials} == {(TrialState.STOPPED, "time limit")}
    assert result.front == []


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"space": "imagenet-2D"}, UnknownNameError, "did you mean 'imagenet-2d'"),
        ({"backbones": ["resnet19"]}, UnknownNameError, "did you mean"),
        ({"data": "fashion"}, UnknownNameError, "did you mean"),
        ({"data": "./nowhere"}, DataError, "does not exist"),
        ({"sampler": "tpi"}, UnknownNameError, "did you mean 'tpe'"),
        ({"budget_gflops": 0.001}, ValueError, "smallest reachable cost"),
        ({"budget_gflops": None}, ValueError, "give --budget-gflops, --budget-ms or both"),
        ({"budget_ms": 0.001, "profile": made_profile(parse_space(SPACE))}, ValueError, "raise --budget-ms"),
        (
            {"profile": made_profile(parse_space(SPACE), device="another processor")},
            ProfileError,
            "another processor",
        ),
        ({"objective": "speed"}, UnknownNameError, "unknown objective 'speed'"),
        ({"trials": 0}, RunError, "trials >= 1"),
        ({"max_minutes": 0}, RunError, "max_minutes > 0"),
        ({"cpus_per_trial": 1000}, RunError, "cpus_per_trial"),
        ({"evaluate": lambda job, data, report: None}, RunError, "importable module"),
        ({"tracking_uri": "http://127.0.0.1:9"}, RuntimeError, "127.0.0.1:9"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    place: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    values: dict[str, object] = {"space": "tiny.yaml", "budget_gflops": 0.04, "name": "bad", **changes}
    with pytest.raises(error, match=re.escape(message)) as caught:
        engine.search(**values)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not (place / "runs" / "bad").exists()


def test_a_changed_space_is_not_gone_on_with(place: Path) -> None:
    engine.search("tiny.yaml", budget_gflops=0.04, trials=1, name="changed", evaluate=fakes.instant)
    (place / "tiny.yaml").write_text(SPACE.replace("epochs: 3", "epochs: 4"), encoding="utf-8")
    with pytest.raises(RunError, match=r"`proxy.epochs` was 3, is 4"):
        engine.resume("changed")
    (place / "tiny.yaml").unlink()
    assert engine.resume("changed").name == "changed"


def children(store: str, name: str) -> list[str]:
    """The trial ids of the child runs of a search, and that it has one parent, which is closed."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store)
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`octnas.search` = '{name}'")
    parents = [run for run in runs if run.data.tags["octnas.kind"] == "search"]
    assert [run.info.status for run in parents] == ["FINISHED"]
    trials = [run.data.tags["octnas.trial_id"] for run in runs if run.data.tags["octnas.kind"] == "trial"]
    return sorted(trials, key=int)


def test_mlflow_has_one_child_a_trial(store: str) -> None:
    result = engine.search("tiny.yaml", budget_gflops=0.04, trials=4, name="tracked", evaluate=fakes.instant)
    engine.resume("tracked")
    assert children(store, "tracked") == [record.id for record in result.trials]


def test_a_search_for_latency_measures_the_device_once_and_resumes_by_its_copy(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTNAS_CACHE", str(place / "cache"))
    profile, told = made_profile(parse_space(SPACE)), list[SearchEvent]()
    monkeypatch.setattr(measuring, "profile", lambda space, *, progress: profile)
    # One worker: who is on the front does not depend on who of two arrives first.
    result = engine.search(
        "tiny.yaml",
        budget_ms=0.6,
        trials=8,
        name="timed",
        evaluate=fakes.instant,
        listener=told.append,
        cpus_per_trial=usable_cores(),
    )
    assert "measuring one" in told[0].text
    run = RunFolder.open("timed")
    kept = run.path / "profile.json"
    assert kept.read_text(encoding="utf-8") == profile.to_json()
    header = run.header
    assert (header.budget_gflops, header.budget_ms, header.objective) == (None, 0.6, "latency")
    assert header.profile is not None
    assert header.profile["digest"] == profile.digest
    assert header.options["limit"] == result.limit == 0.6
    assert header.options["plain_latency_ms"].keys() == {"resnet18", "resnet26"}
    side, latencies = (1, 32, 32), {record.id: record.latency_ms for record in result.trials}
    for record in result.trials:
        assert record.latency_ms == pytest.approx(profile.latency_ms(record.architecture, side, 10), abs=1e-4)
        assert record.within_budget is (record.latency_ms <= 0.6)
        assert record.within_budget or record.yardstick is not None
    assert result.best is not None
    assert [record.latency_ms for record in result.front] == sorted(r.latency_ms or 0 for r in result.front)
    assert 0 < result.hypervolume < 1
    greeting = next(event.text for event in told if event.kind == "begin")
    assert "budget 0.6 ms, resnet18, resnet26" in greeting
    assert f"predicted for {profile.device}, onnxruntime, 1 thread, batch 1" in greeting

    # On another machine the copy still predicts; a lost one is missed before anything is trained.
    monkeypatch.setattr("octnas.costs.profile_file.device_name", lambda kind: "another processor")
    again = engine.resume("timed")
    assert {record.id: record.latency_ms for record in again.trials} == latencies
    kept.unlink()
    with pytest.raises(ProfileError, match=r"profile\.json must be the profile that 'timed' began with"):
        engine.resume("timed")
