"""Where MLflow keeps its records: which store is meant, whether it answers, and links into its pages.

Nothing here imports mlflow, so that a store out of reach is refused in seconds, before a search starts.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from octnas.errors import TrackingError

__all__ = [
    "SHARED_VIEW",
    "check_store",
    "local_folder",
    "prepare_environment",
    "resolve_store",
    "run_link",
    "with_links",
    "without_password",
]

_REMEDY = "start the server, or leave out --tracking-uri (and MLFLOW_TRACKING_URI) for a local ./mlflow.db"
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_VIEW = "workflowType=machine_learning"  # else MLflow opens the view for chat traces
_COLUMNS = (
    "metrics.`accuracy`",
    "metrics.`shared_accuracy`",
    "metrics.`gflops`",
    "metrics.`latency_ms`",
    "params.`backbone`",
    "params.`alphas`",
    "tags.`octnas.state`",
    "tags.`octnas.yardstick`",
)

SHARED_VIEW = (
    "mlflow.sharedViewState.octnas",
    json.dumps({"selectedColumns": _COLUMNS, "orderByKey": "attributes.start_time", "orderByAsc": False}),
)
"""The experiment's tag that tells MLflow's page which columns the list of runs has, where a link asks for it;
without it the list shows neither accuracy nor GFLOPs. Trials stay below their search in this order."""


def resolve_store(uri: str | None = None) -> str:
    """The store that is meant: `uri`, MLFLOW_TRACKING_URI, or mlflow.db in the working directory."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def local_folder(uri: str) -> Path | None:
    """The folder of a SQLite store, None for every other store."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").split("?", 1)[0]).absolute().parent


def check_store(uri: str, *, timeout: float = 4.0) -> None:
    """Makes sure that the store answers, within about twice `timeout` seconds.

    Raises:
        TrackingError: the host or file cannot be reached, or MLflow has no such kind of store.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+", 1)[0]
    if scheme == "sqlite":
        _check_file(uri)
    elif scheme in _PORTS:
        _check_host(uri, scheme, timeout)
    elif scheme != "databricks":
        raise TrackingError(
            f"a tracking URI begins with http://, https://, sqlite:/// or postgresql://, "
            f"but got {uri!r}: {_REMEDY}"
        )


def _check_file(uri: str) -> None:
    folder = local_folder(uri)
    if folder is None:
        raise TrackingError(
            f"a SQLite store is sqlite:///FILE, but got {uri!r}: write three slashes and a file"
        )
    path = folder / Path(uri.split("?", 1)[0]).name
    existed = path.exists()
    try:
        with sqlite3.connect(path, timeout=5) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        connection.close()
    except sqlite3.Error as error:
        if existed and "locked" in str(error):
            return  # another process writes at this moment: the store is there
        raise TrackingError(f"cannot write the tracking store {path} ({error}): {_REMEDY}") from None


def _check_host(uri: str, scheme: str, timeout: float) -> None:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or _PORTS[scheme]
    except ValueError as error:
        raise TrackingError(f"the tracking URI {uri!r} is malformed ({error}): {_REMEDY}") from None
    if not host:
        raise TrackingError(f"the tracking URI {uri!r} names no host: {_REMEDY}")
    place = f"{scheme}://{host}:{port}"  # without a password that the URI may hold
    try:
        if scheme.startswith("http"):
            # A proxy may stand between, so ask for a page; any answer, a refusal too, is an answer.
            request = urllib.request.Request(f"{place}/health", method="GET")
            urllib.request.urlopen(request, timeout=timeout).close()
        else:
            socket.create_connection((host, port), timeout=timeout).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise TrackingError(f"no tracking server answers at {place} ({reason}): {_REMEDY}") from None


def prepare_environment() -> None:
    """Makes mlflow, before its import, quick to fail and quiet; what the user has set stays."""
    # A search must not hang on its tracking server, nor send anything to anybody else.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Standard output belongs to `--json`; MLflow would print a link there whenever a run ends.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


def run_link(uri: str, experiment_id: str, run_id: str | None = None) -> str:
    """Where a run, or the experiment's list of runs, is seen; for a local file the command that serves it."""
    if not uri.startswith(("http://", "https://")):
        page = _page("http://127.0.0.1:5000", experiment_id, run_id)
        return f"mlflow server --backend-store-uri {without_password(uri)}  then  {page}"
    parts = urlsplit(uri)
    port = f":{parts.port}" if parts.port else ""
    return _page(f"{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}", experiment_id, run_id)


def with_links(note: str, experiment_id: str, run_id: str) -> str:
    """A search's description with links to its picture and to the list of trials below its first paragraph.

    MLflow's page folds a description after about five lines.
    """
    first, _, rest = note.partition("\n\n")
    picture = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/front.html?{_VIEW}"
    trials = _page("", experiment_id, None).removeprefix("/")
    return f"{first}\n\n[Interactive picture]({picture}), [all trials as a table]({trials})\n\n{rest}"


def _page(root: str, experiment_id: str, run_id: str | None) -> str:
    runs = f"{root}/#/experiments/{experiment_id}/runs"
    return f"{runs}/{run_id}?{_VIEW}" if run_id else f"{runs}?{_VIEW}&viewStateShareKey=octnas"


def without_password(uri: str) -> str:
    """The URI as it may be shown: what stands before the host is left out."""
    head, at, tail = uri.rpartition("@")
    return f"{head.split('://', 1)[0]}://...@{tail}" if at and "://" in head else uri
