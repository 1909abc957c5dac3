"""Runs of one MLflow experiment: each made once, its numbers in few calls, its files kept until taken.

MLflow gives a run its id when it makes it, so a creation whose answer is lost cannot simply be sent again: it
would make a second run. Whoever creates one here says by which tags it is known, and what may be there is
looked up by them first.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octnas.record.tracking_values import Value

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

__all__ = ["Files", "Runs", "fullest"]

_AT_ONCE = 900
"""Metrics of one call, of which MLflow takes 1,000; what else a trial tells is far fewer than its 100."""

_PAGE = 500
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


class Runs:
    """The runs of the experiment `experiment_id`, through MLflow's `client`."""

    def __init__(self, client: MlflowClient, experiment_id: str) -> None:
        self.client = client
        self.experiment_id = experiment_id
        self._doubted: dict[frozenset[tuple[str, str]], str] = {}

    def search(self, tags: Mapping[str, str]) -> Iterator[Run]:
        """All runs with these tags."""
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def create(
        self, identity: Mapping[str, str], *, name: str, tags: Mapping[str, str], start: int | None = None
    ) -> Run:
        """A new run with `identity` and `tags` as tags, or the one that an earlier call made unknown to us.

        Args:
            identity: the tags that no other run has.
            start: ms since 1970; default now.
        """
        key = frozenset(identity.items())
        if key in self._doubted:
            for run in self.search(identity):
                self._doubted[key] = run.info.run_id
                return run
        try:
            with _sent_once():
                run = self.client.create_run(
                    self.experiment_id, start_time=start, run_name=name, tags={**tags, **identity}
                )
        except BaseException:
            self._doubted.setdefault(key, "")
            raise
        if key in self._doubted:
            self._doubted[key] = run.info.run_id
        return run

    def settle(self) -> None:
        """Deletes the second run of what was created while the store did not answer, should one have come."""
        for key, kept in list(self._doubted.items()):
            if kept:
                for run in list(self.search(dict(key))):
                    if run.info.run_id != kept:
                        self.client.delete_run(run.info.run_id)
                del self._doubted[key]

    def write(
        self,
        run_id: str,
        *,
        metrics: list[Value] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Params, metrics and, once these are there, tags; in one call unless the metrics are many."""
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(value.name, value.value, value.at, value.step) for value in metrics or ()]
        entries = [
            Param(key, str(value)[:6000]) for key, value in (params or {}).items() if value is not None
        ]
        labels = [RunTag(key, value) for key, value in (tags or {}).items()]
        while len(points) > _AT_ONCE:
            self.client.log_batch(run_id, metrics=points[:_AT_ONCE])
            points = points[_AT_ONCE:]
        self.client.log_batch(run_id, metrics=points, params=entries, tags=labels)


class Files:
    """Files that the artifact store takes now or later: it may be away while the database answers."""

    def __init__(self) -> None:
        self._owed: dict[str, tuple[dict[str, str | bytes], dict[str, str]]] = {}

    def put(
        self, runs: Runs, run_id: str, files: Mapping[str, str | bytes], tags: Mapping[str, str] | None = None
    ) -> bool:
        """Writes files by name, and what the run is owed; whether they are there.

        Files that are not there are owed, and so are their tags. While other runs are owed some nothing is
        tried: a store that refuses one refuses the next.
        """
        older, labels = self._owed.get(run_id, ({}, {}))
        together = {**older, **files}
        if self._owed.keys() <= {run_id}:
            try:
                _upload(runs.client, run_id, together)
                if labels:
                    runs.write(run_id, tags=labels)
            except Exception:  # whatever it is, `settle` meets it again and tells
                pass
            else:
                self._owed.pop(run_id, None)
                return True
        self._owed[run_id] = (together, {**labels, **(tags or {})})
        return False

    def settle(self, runs: Runs) -> None:
        """Writes what is owed, then its tags.

        Raises:
            Exception: of the first that the store does not take.
        """
        for run_id, (files, tags) in list(self._owed.items()):
            _upload(runs.client, run_id, files)
            runs.write(run_id, tags=tags)
            del self._owed[run_id]

    def __len__(self) -> int:
        return len(self._owed)


def fullest(runs: list[Run]) -> Run:
    """Of several runs of one thing the one that holds the most, the oldest of equals."""
    return max(
        runs,
        key=lambda run: (
            "octnas.record" in run.data.tags,
            run.info.status == "FINISHED",
            len(run.data.metrics),
            -run.info.start_time,
        ),
    )


def _upload(client: MlflowClient, run_id: str, files: Mapping[str, str | bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            (Path(folder) / name).write_bytes(data)
        client.log_artifacts(run_id, folder)


@contextlib.contextmanager
def _sent_once() -> Iterator[None]:
    """Inside, MLflow's own client sends nothing a second time; it reads this variable at every call."""
    before = os.environ.get(_RETRIES)
    os.environ[_RETRIES] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_RETRIES]
        else:
            os.environ[_RETRIES] = before
