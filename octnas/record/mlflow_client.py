"""A connection to one MLflow store: made by the first use, tried again where that helps, its errors ours.

Only `MlflowClient` is used: MLflow's global state belongs to the user's own code.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from octnas.errors import OctnasError, TrackingError
from octnas.record.credentials import hidden, login_remedy, without_credentials
from octnas.record.mlflow_import import import_mlflow
from octnas.record.mlflow_runs import Runs
from octnas.record.tracking_store import (
    INVALID_HOST,
    check_store,
    local_folder,
    refusal,
    resolve_store,
)

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["Connection"]

_T = TypeVar("_T")

_PAUSES = (0.1, 0.3, 1.0, 2.0)
"""Seconds before each further try of one piece of work, each drawn between half of it and the whole."""

_TABLES_S = 300.0
"""How long another process may take to make the tables of a new SQLite store, which takes seconds."""

_BUSY = (
    "database is locked",
    "database table is locked",
    "deadlock",
    "could not serialize",
    "UNIQUE constraint failed",
    "duplicate key value",
    "Duplicate entry",
)
"""What a database says where several writers meet; one of them goes first, the other tries again."""


class Connection:
    """Runs pieces of work on the runs of one experiment of one store.

    The constructor makes sure that the store answers and is quick; mlflow is imported, and a new SQLite store
    made (several seconds), by the first piece of work, or at once where a server asks who is there and only
    MLflow may know. `uri` is without credentials.
    """

    def __init__(self, tracking_uri: str | None, experiment: str) -> None:
        self._uri = resolve_store(tracking_uri)
        self.uri = without_credentials(self._uri)
        self._experiment = experiment
        self._runs: Runs | None = None
        if not check_store(self._uri):
            self._log_in()

    def done(self, work: Callable[[Runs], _T]) -> _T:
        """What `work` returns. It is begun anew where the store was busy or gone for a moment, so it must be
        such that doing it twice, or half and then whole, is as doing it once.

        Raises:
            TrackingError: whatever MLflow, its database or its network raises; `away` tells whether the store
                may be back.
        """
        for pause in (*_PAUSES, None):
            try:
                return work(self._connect())
            except (OctnasError, AssertionError):
                raise
            except Exception as error:
                if pause is None or not _passing(error):
                    raise self._translated(error) from None
            time.sleep(random.uniform(0.5, 1.0) * pause)
        raise AssertionError("the last try returns or raises")

    def found(self, identity: Mapping[str, str]) -> tuple[str, str | None] | None:
        """The experiment's id, and that of its newest run with these tags or None; None where the store has
        no such experiment. Nothing is made.

        Raises:
            TrackingError: as `done`.
        """
        try:
            client = _client(self._uri)
            experiment = client.get_experiment_by_name(self._experiment)
            if experiment is None:
                return None
            experiment_id = str(experiment.experiment_id)
            run = next(Runs(client, experiment_id).search(identity), None)
            return experiment_id, None if run is None else str(run.info.run_id)
        except Exception as error:
            raise self._translated(error) from None

    def _log_in(self) -> None:
        try:
            self.done(lambda runs: None)
        except TrackingError as error:
            if not error.away:  # else it answered a moment ago; the search has patience with it
                raise

    def _translated(self, error: Exception) -> TrackingError:
        status = _status(error)
        told = status == 401 or (status == 403 and INVALID_HOST in str(error))
        if told and self._uri.startswith("http"):
            return TrackingError(refusal(self._uri, str(error)))
        text = hidden(_unanswered(error) or str(error) or type(error).__name__, self._uri).strip()
        first = text.splitlines()[0][:300]
        if status in (401, 403):
            first += f"; where it asks for a user and a password, {login_remedy('http')}"
        translated = TrackingError(f"the tracking store {self.uri} failed: {first}")
        translated.away = _away(error)
        return translated

    def _connect(self) -> Runs:
        if self._runs is None:
            with _alone(self._uri):
                client = _client(self._uri)
                self._runs = Runs(client, self._find_experiment(client))
        return self._runs

    def _find_experiment(self, client: MlflowClient) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            folder = local_folder(self._uri)
            place = None if folder is None else (folder / "mlruns").as_uri()
            try:
                return str(client.create_experiment(self._experiment, artifact_location=place))
            except MlflowException:
                found = client.get_experiment_by_name(self._experiment)  # another process was first
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


def _client(uri: str) -> MlflowClient:
    import_mlflow()
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # It logs a traceback of what it raises as well, for instance of a database that is locked.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Keeps other processes from a SQLite file meanwhile: two that make its tables at once spoil it."""
    folder = local_folder(uri)
    if folder is None:
        yield
        return
    from filelock import FileLock

    # Not beside the file: a search leaves nothing there but its store.
    path = (folder / Path(uri.split("?", 1)[0]).name).resolve()
    name = hashlib.sha256(f"{os.getuid()} {path}".encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"octnas-tables-{name}.lock", timeout=_TABLES_S):
        yield


def _status(error: BaseException) -> int:
    """The HTTP status that MLflow gives an error, 0 for others."""
    from mlflow.exceptions import MlflowException

    response = getattr(error, "response", None)
    if response is not None:
        return int(getattr(response, "status_code", 0))
    return int(error.get_http_status_code()) if isinstance(error, MlflowException) else 0  # type: ignore[no-untyped-call]


def _unanswered(error: BaseException) -> str | None:
    """In place of the page-long text of a request that nobody answered; None for other errors."""
    from requests.exceptions import ConnectionError as RequestsConnectionError

    for each in (error, error.__context__):
        if isinstance(each, RequestsConnectionError):
            reason = re.search(r"\[Errno [^\]]*\] ([A-Za-z ]+)", str(each))
            return f"no answer ({reason.group(1)})" if reason else "no answer"
    return None


def _away(error: BaseException) -> bool:
    """Whether a store did not answer, or its database did not."""
    from requests.exceptions import ConnectionError as RequestsConnectionError
    from requests.exceptions import Timeout
    from sqlalchemy.exc import OperationalError

    if isinstance(error, (OperationalError, RequestsConnectionError, Timeout)):
        return True
    return _status(error) >= 500 or _status(error) == 429


def _passing(error: BaseException) -> bool:
    """Whether another try in a moment may go through; one that waited for an answer in vain is not made."""
    if any(text in str(error) for text in _BUSY):
        return True
    return _away(error) and "timed out" not in str(error) and "timeout" not in str(error)
