"""Many searches that write into one store at once, and credentials that stay with their user."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import MlflowServer, Postgres, mlflow_server, postgres
from stand_ins import TINY_SPACE
from tracking_case import check_trials, only_run
from tracking_proxy import proxy

from octnas.architecture import Architecture
from octnas.record import EpochScore, RunFolder, TrialRecord, TrialState

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

TESTS = Path(__file__).parents[1]
SECRET = "s3cr3t-of-a-test"
RECORDS = 25

WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from test_tracking_writers import header_of, trial
from octnas.record.mlflow_adapter import Tracker
import mlflow.tracking
name, uri, place = sys.argv[1], sys.argv[2], Path(sys.argv[3])
(place / f"ready-{name}").touch()
while not (place / "go").exists():
    time.sleep(0.01)
tracker = Tracker(uri)
tracker.start_search(header_of(name))
for number in range(25):
    for epochs in (1, 3):
        tracker.log_trial(trial(number, epochs))
tracker.finish("complete")
tracker.settle()
"""

DRIVER = """
import json, sys
import fakes
from octnas import engine
result = engine.search("tiny.yaml", budget_gflops=0.04, trials=4, name=sys.argv[1], evaluate=fakes.slow,
                       tracking_uri=sys.argv[2],
                       listener=lambda event: print(event.text, file=sys.stderr))
print(json.dumps(result.to_dict()))
"""


def trial(number: int, epochs: int = 3) -> TrialRecord:
    """A trial that ends after three epochs, another for each number."""
    record = TrialRecord(
        id=str(number),
        architecture=Architecture.uniform("resnet18", alpha="0.5", downsample="pooled"),
        state=TrialState.RUNNING,
        gflops=1.0 + number,
        params=11_689_512,
    )
    for epoch in range(1, epochs + 1):
        accuracy = (number + epoch / 10) / 100
        record = record.with_score(
            EpochScore(
                epoch=epoch,
                accuracy=accuracy,
                loss=1 - accuracy,
                train_loss=1.5,
                seconds=1.0,
                train_seconds=0.5,
                images_per_second=100.0 + epoch,
            )
        )
    return record.with_state(TrialState.COMPLETE) if epochs == 3 else record


def header_of(name: str) -> Any:
    from octnas.record import SearchHeader

    return SearchHeader(
        name=name,
        space_yaml="name: tiny\n",
        budget_gflops=2.0,
        trials=RECORDS,
        seed=0,
        data="made up",
        created=f"2026-01-01T00:00:00+00:00 {name}",
    )


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres(SECRET) as server:
        yield server


@pytest.fixture(scope="module")
def server(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(database.uri, tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of a process that knows where tests and runs are, and nothing of any store."""
    (tmp_path / "tiny.yaml").write_text(
        TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 3, rungs: {eta: 3, min_epochs: 1}}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PG"))}
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return {**kept, "PYTHONPATH": path, "OCTNAS_TRACKING_RETRY_S": "0.5", "HOME": str(tmp_path)}


@pytest.mark.parametrize(("store", "writers"), [("server", 8), ("sqlite", 4)])
def test_searches_that_write_at_once_lose_nothing(
    store: str, writers: int, server: MlflowServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    from mlflow.tracking import MlflowClient

    uri = server.uri if store == "server" else f"sqlite:///{tmp_path}/mlflow.db"
    names = [f"{store}-{number}" for number in range(writers)]
    processes = []
    for name in names:
        command = [sys.executable, "-c", WRITER, name, uri, str(tmp_path), str(Path(__file__).parent)]
        processes.append(
            subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        )
    until = time.monotonic() + 300
    while len(list(tmp_path.glob("ready-*"))) < writers and time.monotonic() < until:
        time.sleep(0.1)
    (tmp_path / "go").touch()
    errors = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * writers, errors
    assert not any("locked" in text or "Traceback" in text for text in errors)
    client = MlflowClient(uri)
    for name in names:
        assert check_trials(client, name, [trial(number) for number in range(RECORDS)]) == 4 * 3 * RECORDS


def _said(command: list[str], place: Path, environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *command], cwd=place, env=environment, capture_output=True, text=True, timeout=500
    )
    return done.returncode, done.stdout + done.stderr


def _holding(secret: str, *places: Path) -> list[str]:
    """The files below some folders that hold a text."""
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if secret.encode() in path.read_bytes()]


def test_a_servers_password_stays_with_its_user(
    database: Postgres, server: MlflowServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    from mlflow.tracking import MlflowClient

    with proxy(server.uri, login=f"me:{SECRET}") as door:
        lost: list[str] = []
        door.loses = lambda request: "runs/" in request and len(lost.append(request) or lost) % 4 == 0  # type: ignore[func-returns-value]
        full = door.uri.replace("://", f"://me:{SECRET}@")
        code, said = _said(["-c", DRIVER, "closed", full], tmp_path, environment)
        assert (code, SECRET in said) == (0, False), said
        assert f"MLflow: {door.uri}/#/experiments/" in said
        assert RunFolder.open("closed").header.tracking_uri == door.uri

        resume = ["-m", "octnas", "resume", "closed", "--json"]
        code, said = _said(resume, tmp_path, environment)
        assert code == 2
        assert "asks for a user and a password: give them in MLFLOW_TRACKING_USERNAME and" in said
        login = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": SECRET}
        for more, given in (([], login), ([], {"MLFLOW_TRACKING_URI": full}), (["--tracking-uri", full], {})):
            code, said = _said([*resume, *more], tmp_path, {**environment, **given})
            assert (code, SECRET in said) == (0, False), said
            assert f"MLflow: {door.uri}/#/experiments/" in said
    check_trials(MlflowClient(server.uri), "closed", RunFolder.open("closed").records())
    assert _holding(SECRET, tmp_path, server.artifacts) == []
    assert SECRET not in database.dump()


def test_a_databases_password_stays_with_its_user(
    database: Postgres, server: MlflowServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    from mlflow.tracking import MlflowClient

    code, said = _said(["-c", DRIVER, "direct", database.uri], tmp_path, environment)
    assert (code, SECRET in said) == (0, False), said
    shown = f"postgresql+psycopg://127.0.0.1:{database.port}/mlflow"
    assert RunFolder.open("direct").header.tracking_uri == shown
    resume = ["-m", "octnas", "resume", "direct", "--json"]
    code, said = _said(resume, tmp_path, environment)
    assert code == 2
    assert "PGUSER and PGPASSWORD" in said
    login = {"PGUSER": "mlflow", "PGPASSWORD": SECRET}
    code, said = _said(resume, tmp_path, {**environment, **login})
    assert (code, SECRET in said) == (0, False), said
    code, said = _said(resume, tmp_path, {**environment, "PGUSER": "mlflow", "PGPASSWORD": "another"})
    assert code == 2
    assert len(said.strip().splitlines()) == 1
    client = MlflowClient(server.uri)
    check_trials(client, "direct", RunFolder.open("direct").records(), files=False)
    assert only_run(client, "direct", "search").info.status == "FINISHED"
    assert _holding(SECRET, tmp_path) == []
    assert SECRET not in database.dump()
