"""`octnas dashboard`: which store, which page, and what is said where there is none."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from finished_run import finished_run
from stand_ins import TINY_SPACE

from octnas.engine import served
from octnas.engine.served import dashboard, dashboard_text, has_display
from octnas.errors import RunError, TrackingError
from octnas.record import RunFolder, mlflow_server
from octnas.record.links import RunLinks
from octnas.record.mlflow_server import free_port
from octnas.record.tracking_store import resolve_store

VIEW = "workflowType=machine_learning"


class Started:
    """In place of a server: remembers over which store, and at which port."""

    address = "http://127.0.0.1:5999"

    def __init__(self) -> None:
        self.calls: list[tuple[str, int | None]] = []
        self.running = False

    @contextmanager
    def __call__(self, uri: str, port: int | None) -> Iterator[Started]:
        self.calls.append((uri, port))
        self.running = True
        try:
            yield self
        finally:
            self.running = False

    def wait(self) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    stand_in = Started()
    monkeypatch.setattr(served, "server", stand_in)
    for name in ("OCTNAS_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return stand_in


def _store(folder: Path, name: str = "mlflow.db") -> str:
    sqlite3.connect(folder / name).close()
    (folder / name).touch()
    return f"sqlite:///{folder / name}"


def _run(uri: str) -> RunFolder:
    run = finished_run(TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 3}\n")
    RunLinks(uri=uri, experiment_id="1", run_id="abc", trials={"t1": "def"}).keep(run.path)
    return run


def test_a_search_is_opened_at_its_front_by_a_server_over_its_store(started: Started, tmp_path: Path) -> None:
    uri = _store(tmp_path)
    _run(uri)
    with dashboard("r", port=5999) as found:
        assert started.running
        found.wait()  # Ctrl-C ends it, and is no error
    assert not started.running
    assert started.calls == [(uri, 5999)]
    root = "http://127.0.0.1:5999/#/experiments/1/runs"
    assert found.to_dict() == {
        "url": f"{root}/abc/artifacts/front.html?{VIEW}",
        "search": "r",
        "run_id": "abc",
        "run_url": f"{root}/abc?{VIEW}",
        "charts_url": f"{root}?{VIEW}&viewStateShareKey=octnas-r&compareRunsMode=CHART",
        "store": uri,
        "served": True,
    }
    assert f"the front: {found.url}" in dashboard_text(found)
    assert "Ctrl-C ends it" in dashboard_text(found)


def test_a_store_that_is_a_server_is_only_linked_to_without_credentials(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "check_store", lambda uri: True)
    _run("http://tracker:5000/base")
    with dashboard("r", tracking_uri="http://me:secret@tracker:5000/base") as found:
        found.wait()
    assert started.calls == []
    assert found.url == f"http://tracker:5000/base/#/experiments/1/runs/abc/artifacts/front.html?{VIEW}"
    assert found.to_dict()["served"] is False
    assert "secret" not in f"{found.to_dict()} {dashboard_text(found)}"
    assert "Ctrl-C" not in dashboard_text(found)


def test_without_a_name_it_is_the_list_of_all_runs(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _store(tmp_path)
    monkeypatch.setattr(served.Connection, "found", lambda self, identity: ("4", None))
    with dashboard(port=5999) as found:
        pass
    assert found.url == f"{Started.address}/#/experiments/4/runs?{VIEW}&viewStateShareKey=octnas"
    assert (found.search, found.run_id) == (None, None)
    assert started.calls == [(f"sqlite:///{tmp_path / 'mlflow.db'}", 5999)]
    assert dashboard_text(found).startswith(f"all runs: {found.url}\n")


def test_what_is_not_there_is_said_before_anything_is_started(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*arguments: Any, **more: Any) -> None:
        with dashboard(*arguments, **more):
            raise AssertionError("it is not there")

    with pytest.raises(RunError, match="no run named 'r'"):
        opened("r")
    with pytest.raises(TrackingError, match=r"there is no store .*mlflow\.db: `octnas search` makes one"):
        opened()
    _run("sqlite:////elsewhere/mlflow.db")
    with pytest.raises(TrackingError, match=r"there is no store .*: `octnas resume r` makes it anew"):
        opened("r")
    uri = _store(tmp_path)
    monkeypatch.setattr(served.Connection, "found", lambda self, identity: ("1", None))
    with pytest.raises(TrackingError, match=r"does not have the search 'r': `octnas resume r` brings it"):
        opened("r", tracking_uri=uri)
    assert started.calls == []
    assert resolve_store() == uri


def test_a_run_that_only_the_store_knows_is_looked_up_by_what_no_other_has(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run("sqlite:////elsewhere/mlflow.db")
    asked: list[Any] = []

    def found(self: Any, identity: Any) -> tuple[str, str]:
        asked.append(identity)
        return "7", "xyz"

    monkeypatch.setattr(served.Connection, "found", found)
    with dashboard("r", tracking_uri=_store(tmp_path), port=5999) as opened:
        assert opened.run_url == f"{Started.address}/#/experiments/7/runs/xyz?{VIEW}"
    assert asked == [{"octnas.search": "r", "octnas.kind": "search", "octnas.created": ""}]


def test_a_port_that_is_taken_is_refused_where_it_was_asked_for_and_else_another_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(TrackingError, match=rf"cannot listen on 127\.0\.0\.1:{port} .*another --port"):
            free_port(port)
    assert free_port(port) == port


def test_where_the_default_port_is_taken_any_other_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr(mlflow_server, "DEFAULT_PORT", port)
        assert free_port() not in (0, port)
    assert free_port() == port


def test_a_browser_is_opened_where_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_display()
