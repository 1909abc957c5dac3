"""Whole searches while their MLflow server, its PostgreSQL or its artifact store fail; the servers are real.

What must hold each time: the search ends, each trial is one run, and every score of the journal is there
once.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest
from fault_table import tell
from servers import MlflowServer, Postgres, mlflow_server, postgres
from stand_ins import TINY_SPACE
from tracking_case import check_trials, only_run
from tracking_proxy import proxy

from octnas import engine
from octnas.engine import ray_session
from octnas.engine.events import SearchEvent
from octnas.engine.workers import plan_workers
from octnas.front import SearchResult
from octnas.record import RunFolder
from octnas.record.background import BackgroundTracker

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

TESTS = Path(__file__).parents[1]
SPACE = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 3, rungs: {eta: 3, min_epochs: 1}}\n"

DRIVER = """
import sys
import fakes
from octnas import engine
engine.search("tiny.yaml", budget_gflops=0.04, trials=12, name="killed", evaluate=fakes.slow,
              tracking_uri=sys.argv[1])
"""


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def server(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(database.uri, tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One Ray for the searches of this process."""
    with ray_session.ray_session(plan_workers(), "fakes:slow", None):
        yield


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("OCTNAS_TRACKING_RETRY_S", "0.5")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    (tmp_path / "tiny.yaml").write_text(SPACE, encoding="utf-8")
    return tmp_path


def client_of(uri: str) -> Any:
    """To read what is there, with patience for a server on a busy machine."""
    from mlflow.tracking import MlflowClient

    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "5"
    return MlflowClient(uri)


def search(
    uri: str, name: str, at: dict[int, Callable[[], object]], trials: int = 24
) -> tuple[SearchResult, list[str]]:
    """A search during which something happens once so many trials are finished, and its notes."""
    notes: list[str] = []

    def listen(event: SearchEvent) -> None:
        if event.kind == "finished" and event.finished in at:
            at.pop(event.finished)()
        elif event.kind == "note":
            notes.append(event.text)

    result = engine.search(
        "tiny.yaml",
        budget_gflops=0.04,
        trials=trials,
        name=name,
        evaluate=fakes.slow,
        tracking_uri=uri,
        listener=listen,
    )
    assert not at, "the search was too short"
    return result, notes


class Aside:
    """What brings a server back while a search goes on, and when."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._threads: list[threading.Thread] = []
        self._back = 0.0

    def begin(self) -> None:
        self._threads.append(threading.Thread(target=self._run))
        self._threads[-1].start()

    def tell(self, fault: str) -> None:
        """A line of the table of faults: how long the rest took. To be called when the search has ended."""
        ended = time.monotonic()
        for thread in self._threads:
            thread.join()
        tell(fault, "nothing", ended - self._back)

    def _run(self) -> None:
        self._work()
        self._back = time.monotonic()


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_database_restarted_within_a_search_costs_nothing(
    database: Postgres, server: MlflowServer, mode: Any
) -> None:
    back = Aside(lambda: database.restart(mode, 2.0))
    result, notes = search(server.uri, f"database-{mode}", {3: back.begin, 12: back.begin})
    back.tell(f"PostgreSQL restarted twice ({mode})")
    client = client_of(server.uri)
    check_trials(client, f"database-{mode}", result.trials)
    assert only_run(client, f"database-{mode}", "search").info.status == "FINISHED"
    assert "MLflow: " in notes[-1]


@pytest.mark.usefixtures("ray")
def test_a_server_that_is_killed_and_started_costs_nothing(server: MlflowServer) -> None:
    back = Aside(server.start)
    result, notes = search(server.uri, "server", {3: lambda: server.stop(hard=True), 9: back.begin})
    back.tell("MLflow server killed and started")
    check_trials(client_of(server.uri), "server", result.trials)
    assert sum("tracking is behind" in note for note in notes) == 1


@pytest.mark.usefixtures("ray")
def test_answers_lost_on_the_way_make_no_second_run(
    server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of its user; what creates a run is sent once all the same.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    with proxy(server.uri) as between:
        seen: list[str] = []

        def loses(request: str) -> bool:
            if not re.search(r"runs/(create|log-batch|update)", request):
                return False
            seen.append(request)
            return len(seen) % 3 == 0

        between.loses = loses
        result, _ = search(between.uri, "lossy", {})
        assert len([request for request in between.lost if "runs/create" in request]) >= 3
    check_trials(client_of(server.uri), "lossy", result.trials)


@pytest.mark.usefixtures("ray")
def test_a_driver_killed_within_its_search_leaves_one_run_a_trial(server: MlflowServer, place: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", DRIVER, server.uri], cwd=place)
    journal = place / "runs" / "killed" / "journal.jsonl"
    final, until = re.compile(r'"state":"(complete|stopped)"'), time.monotonic() + 300
    while not journal.exists() or len(final.findall(journal.read_text(encoding="utf-8"))) < 4:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.wait()
    result = engine.resume("killed")
    client = client_of(server.uri)
    check_trials(client, "killed", result.trials)
    assert only_run(client, "killed", "search").info.status == "FINISHED"


@pytest.mark.usefixtures("ray")
def test_an_artifact_store_that_takes_nothing_costs_no_number(server: MlflowServer) -> None:
    folder = server.artifacts
    aside = folder.with_name("aside")
    if folder.exists():
        folder.rename(aside)
    folder.write_text("a file where a folder should be", encoding="utf-8")
    try:
        result, notes = search(server.uri, "artifacts", {})
        client = client_of(server.uri)
        check_trials(client, "artifacts", result.trials, files=False)
        assert only_run(client, "artifacts", "search").info.status == "FINISHED"
        assert sum("tracking is behind" in note for note in notes) == 1
    finally:
        folder.unlink()
        if aside.exists():
            aside.rename(folder)
    engine.resume("artifacts")
    check_trials(client, "artifacts", result.trials)
    kept = {each.path for each in client.list_artifacts(only_run(client, "artifacts", "search").info.run_id)}
    assert {"space.yaml", "front.html"} <= kept


@pytest.mark.usefixtures("ray")
def test_what_a_server_missed_at_the_end_comes_with_a_resume(
    server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = BackgroundTracker.close
    monkeypatch.setattr(BackgroundTracker, "close", lambda self, state, timeout: close(self, state, 2.0))
    result, notes = search(server.uri, "missed", {5: lambda: server.stop(hard=True)})
    assert sum("tracking is behind" in note for note in notes) == 1
    assert not any("MLflow: " in note for note in notes)
    assert RunFolder.open("missed").journal.read()[-1]["state"] == "complete"
    server.start()
    monkeypatch.setattr(BackgroundTracker, "close", close)
    assert engine.resume("missed").to_dict() == result.to_dict()
    client = client_of(server.uri)
    check_trials(client, "missed", result.trials)
    assert only_run(client, "missed", "search").info.status == "FINISHED"
