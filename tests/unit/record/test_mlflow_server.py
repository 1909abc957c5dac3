"""MLflow's server over a store: what it is told and how, and what is said where it does not start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from octnas.errors import TrackingError
from octnas.record import mlflow_server
from octnas.record.mlflow_server import free_port, server

URI = "postgresql+psycopg://me:secret@db/mlflow"
ANSWERS = """
import http.server, os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(os.environ["TOLD"], "w").write(f"{os.getpid()} {child.pid} {os.environ['MLFLOW_BACKEND_STORE_URI']}")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Stand:
    """In place of MLflow's server: another program, and the arguments that MLflow's would have had."""

    def __init__(self, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.command: list[str] = []
        begin = subprocess.Popen

        def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
            self.command, self.environment = command, options["env"]
            return begin([sys.executable, "-c", program, command[-1]], **options)

        monkeypatch.setattr(mlflow_server.subprocess, "Popen", popen)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_it_ends_with_all_that_it_started_and_no_command_line_has_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "tracker.example.org")
    monkeypatch.setenv("MLFLOW_HOST", "0.0.0.0")
    stand, port = Stand(ANSWERS, monkeypatch), free_port()
    with server(URI, port) as started:
        assert started.address == f"http://127.0.0.1:{port}"
        first, child, uri = (tmp_path / "told").read_text().split()
        assert uri == URI
        assert _runs(int(first))
        assert _runs(int(child))
    assert not _runs(int(first))
    assert not _runs(int(child))
    assert "secret" not in " ".join(stand.command)
    assert stand.command[1:] == ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    assert not {"MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_HOST"} & stand.environment.keys()


def test_a_server_that_does_not_start_says_why_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    Stand(f"print('no database at {URI}'); raise SystemExit(3)", monkeypatch)
    why = "did not start: no database at postgresql"
    with pytest.raises(TrackingError, match=why) as caught, server(URI, free_port()):
        raise AssertionError("it ended")
    assert "secret" not in str(caught.value)


def test_a_server_that_ends_by_itself_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    Stand(ANSWERS, monkeypatch)
    with server(URI, free_port()) as started:
        os.kill(int((tmp_path / "told").read_text().split()[0]), 15)
        with pytest.raises(TrackingError, match="ended"):
            started.wait()


def test_a_server_that_another_program_answers_for_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    port = free_port()
    late = "import time; time.sleep(1.5); print('[Errno 98] address already in use'); raise SystemExit(1)"
    other = subprocess.Popen(
        [sys.executable, "-c", ANSWERS, str(port)],
        start_new_session=True,
        env={**os.environ, "MLFLOW_BACKEND_STORE_URI": "another"},
    )
    try:
        monkeypatch.setattr(mlflow_server, "free_port", lambda asked=None: port)
        Stand(late, monkeypatch)
        with pytest.raises(TrackingError, match="address already in use"), server(URI, port):
            raise AssertionError("it was the other one that answered")
    finally:
        os.killpg(other.pid, 9)
        other.wait()
