"""A real PostgreSQL, MLflow server and Prometheus for tests: on loopback, and ended whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

__all__ = ["MlflowServer", "Postgres", "Prometheus", "free_port", "mlflow_server", "postgres", "prometheus"]

_BINARIES = Path("/usr/lib/postgresql")
_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
# Short waits, no writes to be sure of: what a test checks is the protocol, not the disk.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "fsync": "off",
    "log_statement": "none",
}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class _Server(ABC):
    """A process of its own group that listens on a port; `start` waits for it, `stop` for its end."""

    def __init__(self, command: Sequence[str], port: int, log: Path, env: dict[str, str]) -> None:
        self.port = port
        self._command = list(command)
        self._log = log
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, patience: float = 180.0) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._env, cwd="/", start_new_session=True
            )
        until = time.monotonic() + patience
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
                pytest.fail(f"{' '.join(self._command)} does not answer on port {self.port}:\n{tail}")
            time.sleep(0.1)

    def end(self, number: signal.Signals, *, group: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            (os.killpg if group else os.kill)(process.pid, number)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it takes requests by now."""


class Postgres(_Server):
    """A PostgreSQL with one user and one database, both named `mlflow`."""

    def __init__(self, folder: Path, port: int, password: str) -> None:
        self._binaries = _postgres_binaries()
        self._folder = folder
        self._password = password
        self._user = _as_user()
        data = folder / "data"
        secret = folder / "password"
        secret.write_text(password, encoding="utf-8")
        if self._user:
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(secret, "postgres", "postgres")
        access = ["--auth=scram-sha-256", f"--pwfile={secret}", "--username=mlflow"]
        self._run("initdb", "--pgdata", str(data), "--no-sync", "--encoding=UTF8", "--locale=C", *access)
        secret.unlink()
        settings = {**_SETTINGS, "port": str(port), "unix_socket_directories": str(folder)}
        flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        command = [*self._user, str(self._binaries / "postgres"), "-D", str(data), *flags]
        super().__init__(command, port, folder / "postgres.log", dict(os.environ))
        self.start()
        self._run("createdb", "--host=127.0.0.1", f"--port={port}", "--username=mlflow", "mlflow")

    @property
    def uri(self) -> str:
        """With its password."""
        return f"postgresql+psycopg://mlflow:{self._password}@127.0.0.1:{self.port}/mlflow"

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Ends it; "immediate" as a crash does, without a checkpoint."""
        self.end(_SIGNALS[mode], group=False)

    def restart(self, mode: Literal["fast", "immediate"] = "fast", away: float = 0.0) -> None:
        """Ends it and, after `away` seconds, starts it again on the same port."""
        self.stop(mode)
        time.sleep(away)
        self.start()

    def dump(self) -> str:
        """The whole database as SQL."""
        return self._run("pg_dump", "--host=127.0.0.1", f"--port={self.port}", "--username=mlflow", "mlflow")

    def ask(self, query: str) -> str:
        """What a query answers, a row a line."""
        place = ("--host=127.0.0.1", f"--port={self.port}", "--username=mlflow", "--dbname=mlflow")
        return self._run("psql", *place, "--tuples-only", "--no-align", "--command", query).strip()

    def _run(self, program: str, *arguments: str) -> str:
        command = [*self._user, str(self._binaries / program), *arguments]
        env = {**os.environ, "PGPASSWORD": self._password}
        done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{program}: {done.stderr[-2000:]}"
        return done.stdout

    def _answers(self) -> bool:
        place = ["--host=127.0.0.1", f"--port={self.port}", "--quiet", "--timeout=1"]
        return subprocess.run([str(self._binaries / "pg_isready"), *place], check=False).returncode == 0


class MlflowServer(_Server):
    """`mlflow server` over a database and a folder of artifacts."""

    artifacts: Path

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, *, hard: bool = False) -> None:
        """Ends it and its workers; `hard`: within whatever they do."""
        self.end(signal.SIGKILL if hard else signal.SIGTERM, group=True)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
        except OSError:
            return False
        return True


class Prometheus(_Server):
    """A Prometheus that keeps what it scrapes in a folder."""

    def ask(self, query: str) -> list[dict[str, Any]]:
        """What a PromQL expression gives at this moment: series, each with its labels and its value."""
        asked = urllib.parse.urlencode({"query": query}).encode()
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/api/v1/query", asked, timeout=10
        ) as answer:
            document = json.load(answer)
        assert document["status"] == "success", document
        return [
            {"labels": each["metric"], "value": float(each["value"][1])}
            for each in document["data"]["result"]
        ]

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def postgres(password: str = "postgres-of-a-test") -> Iterator[Postgres]:
    """A PostgreSQL of Debian's package in a folder of its own, for as long as the context is open."""
    folder = Path(tempfile.mkdtemp(prefix="octnas-postgres-"))
    server = None
    try:
        server = Postgres(folder, free_port(), password)
        yield server
    finally:
        if server is not None:
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def mlflow_server(backend: str, folder: Path, *, workers: int = 2) -> Iterator[MlflowServer]:
    """An MLflow server over `backend`, its artifacts and its log in `folder`."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    store = ["--backend-store-uri", backend, "--artifacts-destination", str(folder / "artifacts")]
    place = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    env = {**kept, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "server", *store, *place]
    server = MlflowServer(command, port, folder / "mlflow.log", env)
    server.artifacts = folder / "artifacts"
    try:
        server.start()
        yield server
    finally:
        server.stop(hard=True)


@contextmanager
def prometheus(config: str, folder: Path) -> Iterator[Prometheus]:
    """Debian's Prometheus with a configuration, its files and its log in `folder`."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.fail("no `prometheus` on the PATH: apt-get install prometheus, or leave this test out")
    folder.mkdir(parents=True)
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    port = free_port()
    command = [
        program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    server = Prometheus(command, port, folder / "prometheus.log", dict(os.environ))
    try:
        server.start()
        yield server
    finally:
        server.end(signal.SIGTERM, group=True)


def _postgres_binaries() -> Path:
    found = sorted(_BINARIES.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        pytest.fail(
            "no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql, or leave this test out"
        )
    return found[-1].parent


def _as_user() -> list[str]:
    """What runs a command as another user than root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
