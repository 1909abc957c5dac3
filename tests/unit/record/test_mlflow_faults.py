"""A store that loses answers, is locked, or takes no files: no run twice, no number missing.

The faults are put into MLflow's own client before a SQLite store; with real servers they are in
tests/cluster/test_tracking_faults.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from record_case import complete, header, running
from tracking_case import check_trials, only_run, runs_of

from octnas.errors import TrackingError
from octnas.record import FrontReport, TrialState
from octnas.record.mlflow_adapter import Tracker

ALPHAS = ("0.5", "0.25", "0.75", "0.125")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture(scope="module")
def client(uri: str) -> Iterator[Any]:
    from mlflow.tracking import MlflowClient

    Tracker(uri).start_search(header("warm-up"))
    return MlflowClient(tracking_uri=uri)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octnas.record.mlflow_client._PAUSES", (0.01,) * 4)


@pytest.fixture
def faulty(client: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lets a method of MLflow's client fail in some calls, before or after it has done its work."""

    def install(
        method: str, error: Callable[[], Exception], times: int, *, done: bool, after: int = 0
    ) -> list[str]:
        cls, failed, called = type(client), list[str](), list[str]()
        real = getattr(cls, method)

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            called.append(method)
            fails = len(failed) < times and len(called) > after
            result = real(self, *args, **kwargs) if done or not fails else None
            if fails:
                failed.append(method)
                raise error()
            return result

        monkeypatch.setattr(cls, method, call)
        return failed

    return install


def lost() -> Exception:
    from requests.exceptions import ConnectionError as Lost

    return Lost("('Connection aborted.', RemoteDisconnected('Remote end closed connection'))")


def unanswered() -> Exception:
    from requests.exceptions import ReadTimeout

    return ReadTimeout("Read timed out. (read timeout=20)")


def locked() -> Exception:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    text = "(sqlite3.OperationalError) database is locked\n[SQL: INSERT INTO metrics]"
    return MlflowException(text, error_code=TEMPORARILY_UNAVAILABLE)


def trials() -> list[Any]:
    return [complete(str(number), alpha=alpha) for number, alpha in enumerate(ALPHAS, start=1)]


@pytest.mark.parametrize(
    ("method", "after"), [("create_run", 0), ("create_run", 2), ("log_batch", 2), ("set_terminated", 1)]
)
@pytest.mark.parametrize("fault", [lost, locked])
def test_an_answer_that_is_lost_makes_no_second_run_and_no_second_point(
    client: Any, uri: str, faulty: Any, method: str, after: int, fault: Callable[[], Exception]
) -> None:
    name = f"{method}-{after}-{fault.__name__}"
    failed = faulty(method, fault, 2, done=fault is lost, after=after)
    tracker = Tracker(uri)
    tracker.start_search(header(name))
    for record in trials():
        tracker.log_trial(record)
    tracker.finish("complete")
    assert failed == [method] * 2
    assert check_trials(client, name, trials()) == 4 * 4 * 2
    assert only_run(client, name, "search").info.status == "FINISHED"


def test_a_creation_that_nobody_waited_for_is_found_when_it_is_tried_again(
    client: Any, uri: str, faulty: Any
) -> None:
    tracker = Tracker(uri)
    tracker.start_search(header("unanswered"))
    failed = faulty("create_run", unanswered, 1, done=True)
    with pytest.raises(TrackingError, match="Read timed out") as caught:
        tracker.log_trial(complete("1"))
    assert caught.value.away
    assert failed == ["create_run"]
    tracker.log_trial(complete("1"))
    tracker.finish("complete")
    check_trials(client, "unanswered", [complete("1")])


def test_a_creation_that_comes_late_leaves_one_run(
    client: Any, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server makes the run that its client gave up, after the client has made another."""
    tracker, real, late = Tracker(uri), type(client).create_run, list[Any]()
    tracker.start_search(header("late"))

    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not late:
            late.append((args, kwargs))
            raise lost()
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(client), "create_run", create)
    tracker.log_trial(complete("1"))
    (args, kwargs) = late[0]
    real(client, *args, **kwargs)
    assert len(runs_of(client, "late", "trial")) == 2
    tracker.finish("complete")
    check_trials(client, "late", [complete("1")])


def test_of_two_runs_of_one_trial_the_fuller_is_kept(client: Any, uri: str) -> None:
    tracker = Tracker(uri)
    tracker.start_search(header("twice"))
    tracker.log_trial(complete("1"))
    tracker.log_trial(running("2", alpha="0.25"))
    kept = {run.data.tags["octnas.trial_id"]: run for run in runs_of(client, "twice", "trial")}
    for run in kept.values():
        tags = {key: run.data.tags[key] for key in ("mlflow.parentRunId", "octnas.trial_id", "octnas.kind")}
        client.create_run(run.info.experiment_id, tags={**tags, "octnas.search": "twice"})
    assert len(runs_of(client, "twice", "trial")) == 4
    resumed = Tracker(uri)
    resumed.start_search(header("twice"))
    resumed.log_trial(complete("1"))
    resumed.log_trial(complete("2", alpha="0.25"))
    resumed.finish("complete")
    check_trials(client, "twice", [complete("1"), complete("2", alpha="0.25")])
    assert {run.info.run_id for run in runs_of(client, "twice", "trial")} == {
        run.info.run_id for run in kept.values()
    }


def test_of_two_runs_of_one_search_one_is_left_with_all_trials(client: Any, uri: str) -> None:
    tracker = Tracker(uri)
    first = tracker.start_search(header("parents"))
    tracker.log_trial(complete("1"))
    tracker.log_trial(complete("2", alpha="0.25"))
    run = client.get_run(first)
    tags = {key: value for key, value in run.data.tags.items() if key.startswith("octnas.")}
    other = client.create_run(run.info.experiment_id, tags=tags).info.run_id
    trial = {"mlflow.parentRunId": other, "octnas.kind": "trial", "octnas.search": "parents"}
    client.create_run(run.info.experiment_id, tags={**trial, "octnas.trial_id": "3"})
    resumed = Tracker(uri)
    assert resumed.start_search(header("parents")) == first
    resumed.log_trial(complete("3", alpha="0.75"))
    resumed.finish("complete")
    check_trials(client, "parents", trials()[:3])


def test_a_training_and_its_search_are_one_run_each(client: Any, uri: str, faulty: Any) -> None:
    Tracker(uri).start_search(header("trained"))
    failed = faulty("create_run", lost, 1, done=True)
    run_id = Tracker(uri).log_training(header("trained"), complete("1"), scale="full", epochs=2, accuracy=0.9)
    assert len(failed) == 1
    only_run(client, "trained", "search")
    assert only_run(client, "trained", "train").info.run_id == run_id


@pytest.mark.parametrize("kind", ["train", "export"])
@pytest.mark.parametrize("method", ["log_batch", "log_text", "set_terminated"])
def test_what_fails_after_a_run_was_made_makes_no_second_one(
    client: Any, uri: str, faulty: Any, method: str, kind: str
) -> None:
    name = f"{kind}-{method}"
    Tracker(uri).start_search(header(name))
    failed, tracker = faulty(method, lost, 2, done=False), Tracker(uri)
    if kind == "train":
        run_id = tracker.log_training(header(name), complete("1"), scale="full", epochs=2, accuracy=0.9)
    else:
        run_id = tracker.log_export(header(name), complete("1"), training="full", metrics={"accuracy": 0.9})
    assert failed == [method] * 2
    run = only_run(client, name, kind)
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert len(client.get_metric_history(run_id, "accuracy")) == 1


def test_a_training_whose_creation_comes_late_is_one_run(
    client: Any, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, real, late = Tracker(uri), type(client).create_run, list[Any]()
    tracker.start_search(header("late-train"))

    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not late:
            late.append((args, kwargs))
            raise lost()
        run = real(self, *args, **kwargs)
        (first_args, first_kwargs) = late[0]
        real(client, *first_args, **first_kwargs)
        assert len(runs_of(client, "late-train", "train")) == 2
        return run

    monkeypatch.setattr(type(client), "create_run", create)
    run_id = tracker.log_training(header("late-train"), complete("1"), scale="full", epochs=2, accuracy=0.9)
    run = only_run(client, "late-train", "train")
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert run.data.metrics["accuracy"] == 0.9


def test_files_that_are_refused_come_later_and_cost_no_number(client: Any, uri: str, faulty: Any) -> None:
    failed = faulty("log_artifacts", lambda: OSError("Read-only file system"), 2, done=False)
    tracker = Tracker(uri)
    run_id = tracker.start_search(header("files"))
    for record in trials():
        tracker.log_trial(record)
    report = FrontReport(note="n", hypervolume=0.4, front_size=1, finished=4, files={"front.csv": "id\n"})
    tracker.log_front(report)
    tracker.finish("complete")
    assert len(failed) == 1, "while files are owed no other is tried"
    check_trials(client, "files", trials(), files=False)
    assert only_run(client, "files", "search").data.metrics["hypervolume"] == 0.4
    with pytest.raises(TrackingError, match="Read-only file system") as caught:
        tracker.settle()
    assert not caught.value.away

    # Who goes on later has none of what is owed, only the store and the journal.
    resumed = Tracker(uri)
    assert resumed.start_search(header("files")) == run_id
    for record in trials():
        resumed.log_trial(record)
    resumed.log_front(report)
    resumed.finish("complete")
    resumed.settle()
    check_trials(client, "files", trials())
    assert {each.path for each in client.list_artifacts(run_id)} == {"space.yaml", "front.csv"}


def test_a_run_that_takes_other_files_takes_those_that_it_is_owed(client: Any, uri: str, faulty: Any) -> None:
    failed = faulty("log_artifacts", lambda: OSError("Read-only file system"), 1, done=False)
    tracker = Tracker(uri)
    run_id = tracker.start_search(header("owed"))
    assert len(failed) == 1
    assert "octnas.space" not in client.get_run(run_id).data.tags
    tracker.log_front(
        FrontReport(note="n", hypervolume=0.4, front_size=1, finished=4, files={"front.csv": "id\n"})
    )
    assert {each.path for each in client.list_artifacts(run_id)} == {"space.yaml", "front.csv"}
    assert client.get_run(run_id).data.tags["octnas.space"] == "imagenet-2d"


def test_the_figures_of_a_front_are_one_point_however_often_they_are_told(
    client: Any, uri: str, faulty: Any
) -> None:
    tracker = Tracker(uri)
    run_id = tracker.start_search(header("told"))
    faulty("log_batch", lost, 1, done=True)
    report = FrontReport(
        note="n", hypervolume=0.4, front_size=1, finished=4, files={}, hypervolumes=(0.2, 0.4)
    )
    tracker.log_front(report)
    again = Tracker(uri)
    again.start_search(header("told"))
    again.log_front(report)
    counts = {name: len(client.get_metric_history(run_id, name)) for name in ("hypervolume", "front_size")}
    assert counts == {"hypervolume": 2, "front_size": 1}


def test_a_failed_and_an_open_trial_end_as_they_should(client: Any, uri: str, faulty: Any) -> None:
    failed = running("3", alpha="0.75").failed("loss is nan in epoch 1")
    faulty("set_terminated", lost, 2, done=False)
    tracker = Tracker(uri)
    tracker.start_search(header("states"))
    tracker.log_trial(failed)
    tracker.log_trial(complete("2", alpha="0.25").with_state(TrialState.STOPPED, "rung 1"))
    tracker.finish("failed")
    check_trials(
        client, "states", [failed, complete("2", alpha="0.25").with_state(TrialState.STOPPED, "rung 1")]
    )
