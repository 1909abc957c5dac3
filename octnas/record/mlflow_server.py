"""MLflow's own server over a store that is a file or a database: on loopback, and gone with its user."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from octnas.errors import TrackingError
from octnas.record.credentials import hidden, without_credentials

__all__ = ["DEFAULT_PORT", "Server", "free_port", "server"]

DEFAULT_PORT = 5000
_HOST = "127.0.0.1"
_START_S = 180.0
"""How long it may take until it answers: it imports MLflow several times, slowly on a busy machine."""
_END_S = 10.0
_LOG = "log"

_SETTINGS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_REGISTRY_STORE_URI",
    "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
    "MLFLOW_HOST",
    "MLFLOW_PORT",
    "MLFLOW_WORKERS",
    "MLFLOW_STATIC_PREFIX",
    "MLFLOW_ARTIFACTS_ONLY",
    "MLFLOW_EXPOSE_PROMETHEUS",
    "MLFLOW_GUNICORN_OPTS",
    "MLFLOW_UVICORN_OPTS",
    "MLFLOW_SERVER_ALLOWED_HOSTS",
    "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
    "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
    "MLFLOW_SERVER_X_FRAME_OPTIONS",
)
"""Of the environment: what would make it another server than one for this machine's browser."""


class Server:
    """A server that runs, see `server`."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.address = address
        self._process = process

    def wait(self) -> None:
        """Returns only by an exception: Ctrl-C, or the end of the server.

        Raises:
            TrackingError: the server ended by itself.
        """
        status = self._process.wait()
        raise TrackingError(f"MLflow's server at {self.address} ended (status {status}): start it again")


def free_port(port: int | None = None) -> int:
    """The port to listen on: `port`, or the default one, or, where that is taken, any.

    Raises:
        TrackingError: `port` is taken, or not ours to take.
    """
    for candidate in (port or DEFAULT_PORT, 0):
        with socket.socket() as probe:
            # As the server itself does: a port whose last connection has just ended is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, candidate))
            except OSError as error:
                if port is None:
                    continue
                raise TrackingError(
                    f"cannot listen on {_HOST}:{port} ({error.strerror}): name another --port, or none for "
                    "any that is free"
                ) from None
            return int(probe.getsockname()[1])
    raise TrackingError(f"no port of {_HOST} is free: end a server there")


@contextlib.contextmanager
def server(uri: str, port: int | None = None) -> Iterator[Server]:
    """Starts MLflow's server over a store, waits until it answers, and ends it when the block is left.

    Args:
        uri: of a file or a database. It is told through the environment, so that `ps` shows no credentials.
        port: of loopback; None: the default one, or any that is free.

    Raises:
        TrackingError: `port` is taken, or it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="octnas-mlflow-") as folder:
        chosen = free_port(port)
        process = _started(uri, chosen, Path(folder))
        try:
            try:
                _wait_for(process, chosen, Path(folder), uri)
            except _PortLostError:
                if port is not None:
                    raise
                chosen = free_port()
                process = _started(uri, chosen, Path(folder))
                _wait_for(process, chosen, Path(folder), uri)
            yield Server(process, f"http://{_HOST}:{chosen}")
        finally:
            _end(process)


class _PortLostError(TrackingError):
    """Another server took the port while this one came up."""


def _started(uri: str, port: int, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / _LOG).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port)],
            cwd=folder,
            env=_environment(os.environ, uri),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for octnas, which ends all of it
        )


def _environment(given: Mapping[str, str], uri: str) -> dict[str, str]:
    kept = {name: value for name, value in given.items() if name not in _SETTINGS}
    return {
        **kept,
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_WORKERS": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # judges of chat traces; processes of their own
        "MLFLOW_DISABLE_TELEMETRY": kept.get("MLFLOW_DISABLE_TELEMETRY", "true"),
    }


def _wait_for(process: subprocess.Popen[bytes], port: int, folder: Path, uri: str) -> None:
    address = f"http://{_HOST}:{port}"
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            text = hidden((folder / _LOG).read_text(encoding="utf-8", errors="replace"), uri)
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            why = lines[-1][:300] if lines else f"status {process.returncode}"
            lost = any("address already in use" in line.lower() for line in lines)
            kind = _PortLostError if lost else TrackingError
            raise kind(f"MLflow's server over {without_credentials(uri)} did not start: {why}")
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            if _listens(process, port):
                return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.1)
    raise TrackingError(f"MLflow's server at {address} does not answer after {_START_S:.0f} s: try again")


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it is this server that answers, and not one that took the port a moment before it."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(process.pid)
        for each in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(
                    found.status == psutil.CONN_LISTEN and found.laddr.port == port
                    for found in each.net_connections("tcp")
                ):
                    return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and every process that it started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        until = time.monotonic() + _END_S
        while time.monotonic() < until:
            process.poll()
            if not _alive(process.pid):
                return
            time.sleep(0.05)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
