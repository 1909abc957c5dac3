"""Where MLflow keeps its records: which store is meant, and whether it answers.

Nothing here imports mlflow, so that a store out of reach is refused in seconds, before a search starts.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from octnas.errors import TrackingError
from octnas.record.credentials import authorization, hidden, login_remedy, without_credentials

__all__ = [
    "INVALID_HOST",
    "check_store",
    "local_file",
    "local_folder",
    "prepare_environment",
    "refusal",
    "resolve_store",
    "retry_pause",
]

_REMEDY = "start the server, or leave out --tracking-uri (and MLFLOW_TRACKING_URI) for a local ./mlflow.db"
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_OTHER_LOGINS = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_CLIENT_CERT_PATH")
INVALID_HOST = "Invalid Host header"
"""What MLflow's server says to requests by a name that it was not told; by itself it admits loopback and
private addresses alone."""


def resolve_store(uri: str | None = None, recorded: str | None = None) -> str:
    """The store that is meant: `uri`, MLFLOW_TRACKING_URI, or mlflow.db in the working directory.

    Args:
        uri: as its user gave it.
        recorded: of the search that is taken up again, without credentials. MLFLOW_TRACKING_URI then counts
            only where it is the same store, for the credentials that it may hold.
    """
    told = os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None and recorded is not None:
        return told if told and without_credentials(told) == without_credentials(recorded) else recorded
    return uri or told or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def retry_pause() -> float:
    """Seconds until a store that failed is tried again: OCTNAS_TRACKING_RETRY_S, or 30.

    Raises:
        TrackingError: the variable holds no positive number.
    """
    text = os.environ.get("OCTNAS_TRACKING_RETRY_S", "30")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise TrackingError(
            f"OCTNAS_TRACKING_RETRY_S is seconds, more than 0, but got {text!r}: unset it for 30"
        )
    return seconds


def local_folder(uri: str) -> Path | None:
    """The folder of a SQLite store, None for every other store."""
    file = local_file(uri)
    return None if file is None else file.parent


def local_file(uri: str) -> Path | None:
    """The file of a SQLite store, None for every other store."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").split("?", 1)[0]).absolute()


def check_store(uri: str, *, timeout: float = 4.0) -> bool:
    """Makes sure that the store answers, within about twice `timeout` seconds.

    Returns:
        False where the server lets nobody in as it was asked here: MLflow may know more, from ~/.netrc, a
        file or a plugin of its own, so only it can tell.

    Raises:
        TrackingError: the host or file cannot be reached, does not let its user in, or MLflow has no such
            kind of store.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+", 1)[0]
    if scheme == "sqlite":
        _check_file(uri)
    elif scheme in _PORTS:
        return _check_host(uri, scheme, timeout)
    elif scheme != "databricks":
        raise TrackingError(
            f"a tracking URI begins with http://, https://, sqlite:/// or postgresql://, "
            f"but got {without_credentials(uri)!r}: {_REMEDY}"
        )
    return True


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


def _check_host(uri: str, scheme: str, timeout: float) -> bool:
    shown = without_credentials(uri)
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or _PORTS[scheme]
    except ValueError as error:
        reason = hidden(str(error), uri)
        raise TrackingError(f"the tracking URI {shown!r} is malformed ({reason}): {_REMEDY}") from None
    if not host:
        raise TrackingError(f"the tracking URI {shown!r} names no host: {_REMEDY}")
    place = f"{scheme}://{host}:{port}"
    try:
        if scheme.startswith("http"):
            # A proxy may stand between, so ask for a page; any answer, a refusal too, is an answer.
            urllib.request.urlopen(f"{place}/health", timeout=timeout).close()
        else:
            socket.create_connection((host, port), timeout=timeout).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise TrackingError(f"no tracking server answers at {place} ({why}): {_REMEDY}") from None
    if scheme.startswith("http"):
        return _check_http_login(uri, timeout)
    if scheme == "postgresql":
        _check_database(uri, timeout)
    return True


def _check_http_login(uri: str, timeout: float) -> bool:
    """Refuses credentials that the server refuses; False: it asks for some that only MLflow may know of."""
    known = authorization(uri)
    page = f"{without_credentials(uri).rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1"
    request = urllib.request.Request(page, headers={} if known is None else {"Authorization": known})
    try:
        urllib.request.urlopen(request, timeout=timeout).close()
    except urllib.error.HTTPError as error:
        said = ""
        with error, contextlib.suppress(OSError, ValueError):
            said = error.read(1000).decode(errors="replace")
        if error.code not in (401, 403):
            return True
        if INVALID_HOST not in said and (known is None or any(map(os.environ.get, _OTHER_LOGINS))):
            return False
        raise TrackingError(refusal(uri, said)) from None
    except (OSError, ValueError):
        pass  # it answered a moment ago; the search has patience with it
    return True


def refusal(uri: str, said: str) -> str:
    """What it means that an http server answered 401, or 403 for the host's name, and what helps.

    Args:
        uri: how it was asked, with the credentials of its user.
        said: its answer's text.
    """
    shown = without_credentials(uri)
    if INVALID_HOST in said:
        host = urlsplit(shown).netloc
        return (
            f"the tracking server {shown} admits no requests to {host} ({INVALID_HOST}): start it with "
            f"`mlflow server --allowed-hosts {host}` (several are separated by commas)"
        )
    what = "asks for a user and a password" if authorization(uri) is None else "refuses this user or password"
    return f"the tracking server {shown} {what}: {login_remedy('http')}"


def _check_database(uri: str, timeout: float) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    shown = without_credentials(uri)
    try:
        patience = {"connect_timeout": max(2, int(timeout))}
        engine = create_engine(uri, poolclass=NullPool, connect_args=patience)
        engine.connect().close()
    except ImportError as error:
        raise TrackingError(
            f"a store at {shown} needs its driver ({error}): pip install 'octnas[postgres]', "
            f"and write postgresql+psycopg://"
        ) from None
    except SQLAlchemyError as error:
        reason = hidden(" ".join(str(getattr(error, "orig", error)).split()), uri)[:300]
        raise TrackingError(
            f"the database {shown} lets nobody in ({reason}); where it asks for a user and a password, "
            f"{login_remedy('postgresql')}"
        ) from None


def prepare_environment() -> None:
    """Makes mlflow, before its import, quick to fail and quiet; what the user has set stays."""
    # A search must not hang on its tracking server, nor send anything to anybody else. What failed is tried
    # again by octnas, which knows what it must look up before.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Standard output belongs to `--json`; MLflow would print a link there whenever a run ends.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
