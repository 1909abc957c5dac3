"""The adapter to MLflow: the only file that imports it.

One parent run a search, one child run a trial. A run is looked up by its tags before it is created, so a
resumed search finds its runs again; writing the same record twice changes nothing. Only `MlflowClient` is
used: MLflow's global state belongs to the user's own code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octnas.errors import OctnasError, TrackingError
from octnas.record.ranking import rank_metrics
from octnas.record.runs import SearchHeader
from octnas.record.tracking_store import (
    SHARED_VIEW,
    check_store,
    local_folder,
    prepare_environment,
    resolve_store,
    run_link,
    with_links,
    without_password,
)
from octnas.record.tracking_values import (
    FrontReport,
    Value,
    architecture_params,
    curves,
    record_tags,
    record_values,
    search_params,
    search_tags,
    values_at,
)
from octnas.record.trial import EpochScore, TrialRecord, TrialState

if TYPE_CHECKING:
    import numpy as np
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

__all__ = ["Tracker"]

# MLflow draws "KILLED" as it draws "FAILED"; that a trial was stopped is in its tag octnas.state.
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.STOPPED: "FINISHED", TrialState.FAILED: "FAILED"}
_END = {"complete": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@dataclass(kw_only=True, slots=True)
class _Child:
    """A trial's run: its start in ms since 1970, the record that it shows, and the scores that it holds."""

    run_id: str
    start: int
    shows: str = ""
    under_way: bool = True
    has_architecture: bool = False
    scores: dict[int, EpochScore] = field(default_factory=dict)


class Tracker:
    """Writes a search to an MLflow store.

    The constructor makes sure that the store answers and is quick; mlflow is imported, and a new SQLite store
    made (several seconds), by the first call that writes.
    """

    def __init__(self, tracking_uri: str | None = None, *, experiment: str = "octnas") -> None:
        self.uri = resolve_store(tracking_uri)
        check_store(self.uri)
        self._experiment = experiment
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._parent: str | None = None
        self._search = ""
        self._children: dict[str, _Child] = {}

    def start_search(self, header: SearchHeader) -> str:
        """The search's parent run, found again or created, and open; returns its id."""
        with self._translated() as client:
            found = self._find_search(client, header)
            if found is None:
                found = self._create_search(client, header)
            else:
                client.update_run(found, status="RUNNING")
            client.set_experiment_tag(self._experiment_id, *SHARED_VIEW)
            self._parent, self._search = found, header.name
            self._children = dict(self._find_children(client, found))
        return found

    def log_trial(self, record: TrialRecord) -> None:
        """Brings the trial's child run to what the record says; creates it if there is none."""
        shows = hashlib.sha256(json.dumps(record.to_dict()).encode()).hexdigest()[:16]
        with self._translated() as client:
            child = self._children.get(record.id)
            if child is not None and child.shows == shows and child.under_way != record.state.final:
                return
            if child is None:
                child = self._children[record.id] = self._create_child(client, record)
            if not child.has_architecture:
                client.log_text(child.run_id, record.architecture.to_json(), "architecture.json")
                client.set_tag(child.run_id, "octnas.architecture", record.architecture.digest)
                child.has_architecture = True
            self._log_numbers(client, child, record)
            if record.state.final:
                end = child.start + int(1000 * record.seconds)
                client.set_terminated(child.run_id, _STATUS[record.state], end_time=end)
            elif not child.under_way:
                client.update_run(child.run_id, status="RUNNING")
            client.set_tag(child.run_id, "octnas.record", shows)
            child.shows, child.under_way = shows, not record.state.final

    def log_front(self, report: FrontReport) -> None:
        """Puts the front's files, its description, its hypervolume and its claim on the search's run.

        The hypervolume is a curve with a step for each complete trial; steps that the run has are not sent
        again, so after a resume it goes on where it ended.
        """
        with self._translated() as client, tempfile.TemporaryDirectory() as folder:
            run_id = self._need_parent()
            for name, content in report.files.items():
                data = content if isinstance(content, bytes) else content.encode()
                (Path(folder) / name).write_bytes(data)
            client.log_artifacts(run_id, folder)
            note = with_links(report.note, self._experiment_id, run_id)
            client.set_tag(run_id, "mlflow.note.content", note)
            now = int(1000 * time.time())
            counts = {"front_size": report.front_size, "trials_finished": report.finished}
            metrics = values_at({**counts, **report.claim, **report.shared}, report.finished, now)
            curve = dict(enumerate(report.hypervolumes, start=1)) or {0: report.hypervolume}
            known = {point.step for point in client.get_metric_history(run_id, "hypervolume")}
            for step in curve.keys() - known:
                metrics += values_at({"hypervolume": curve[step]}, step, now)
            self._batch(client, run_id, metrics, {"octnas.claim": report.outcome} if report.outcome else {})

    def finish(self, state: str) -> None:
        """Closes the search's run ("complete", "interrupted" or "failed") and the trials left open in it."""
        with self._translated() as client:
            for child in self._children.values():
                if child.under_way:
                    client.set_terminated(child.run_id, "KILLED")
                    child.under_way = False
            client.set_tag(self._need_parent(), "octnas.state", state)
            client.set_terminated(self._need_parent(), _END[state])

    def log_training(
        self,
        header: SearchHeader,
        record: TrialRecord,
        *,
        scale: str,
        epochs: int,
        accuracy: float,
        test_accuracy: float | None = None,
        params: Mapping[str, Any] | None = None,
        scores: Iterable[EpochScore] = (),
    ) -> str:
        """A run for one training of a winner, a child of its search's run; returns its id."""
        metrics = {"accuracy": accuracy, "gflops": record.gflops, "params": float(record.params)}
        if test_accuracy is not None:
            metrics["test_accuracy"] = test_accuracy
        more = {"scale": scale, "epochs": epochs, **(params or {})}
        with self._translated() as client:
            run_id, start = self._create_for(
                client, header, record, "train", f"train {record.id} ({scale})", more
            )
            self._batch(client, run_id, [*curves(scores, start), *values_at(metrics, epochs, start)])
            client.set_terminated(run_id, "FINISHED")
        return run_id

    def log_export(
        self,
        header: SearchHeader,
        record: TrialRecord,
        *,
        training: str,
        metrics: Mapping[str, float],
        files: Iterable[Path] = (),
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """A run for one export of a winner, a child of its search's run; returns its id.

        Args:
            header: the search.
            record: the winner.
            training: whose weights these are ("proxy", "full" or "target").
            metrics: what was checked, for instance accuracy and accuracy_after_reload.
            files: small files to keep with the run, such as the model card.
            tags: more of them, such as the device on which the latency was measured.
        """
        with self._translated() as client:
            name = f"export {record.id} ({training})"
            run_id, start = self._create_for(client, header, record, "export", name, {"training": training})
            self._batch(client, run_id, values_at(metrics, 0, start), tags)
            for path in files:
                client.log_artifact(run_id, str(path))
            client.set_terminated(run_id, "FINISHED")
        return run_id

    def log_rank(self, header: SearchHeader, document: Mapping[str, Any], files: Iterable[Path]) -> None:
        """A run for one ranking, with what it reports and its files, a child of its search's run."""
        with self._translated() as client:
            run_id, start = self._create_below(client, header, "rank", f"rank {document['models']}", {})
            self._params(client, run_id, {key: document[key] for key in ("models", "seeds", "full_epochs")})
            self._batch(client, run_id, values_at(rank_metrics(document), 0, start))
            for path in files:
                client.log_artifact(run_id, str(path))
            client.set_terminated(run_id, "FINISHED")

    def register(
        self,
        model_name: str,
        onnx_file: Path,
        *,
        run_id: str,
        inputs: np.ndarray[Any, Any],
        outputs: np.ndarray[Any, Any],
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Registers an ONNX file as a new version of `model_name`, kept with the run; returns the version.

        The signature comes from an example: `inputs` (B, C, H, W), or (B, C, T, H, W), and `outputs`
        (B, classes), B left open.
        """
        with self._translated() as client, tempfile.TemporaryDirectory() as folder:
            import mlflow.onnx
            import onnx
            from mlflow.exceptions import MlflowException
            from mlflow.models import infer_signature

            mlflow.onnx.save_model(
                onnx.load(str(onnx_file)),
                f"{folder}/model",
                signature=infer_signature(inputs, outputs),
                pip_requirements=["numpy", "onnx", "onnxruntime"],  # else MLflow tries the model to find out
            )
            client.log_artifacts(run_id, f"{folder}/model", "model")
            try:
                client.get_registered_model(model_name)
            except MlflowException:
                client.create_registered_model(model_name, description="Exported by octnas.")
            source = f"{client.get_run(run_id).info.artifact_uri}/model"
            version = client.create_model_version(
                model_name, source=source, run_id=run_id, tags=dict(tags or {})
            )
        return str(version.version)

    def link(self, run_id: str | None = None) -> str:
        """Where the search's run, or another, is seen; see `run_link`."""
        with self._translated():
            return run_link(self.uri, self._experiment_id, run_id or self._parent)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[MlflowClient]:
        """The client; whatever MLflow, its database or its network raises becomes a `TrackingError`."""
        try:
            yield self._connect()
        except (OctnasError, AssertionError):
            raise
        except Exception as error:
            first = (str(error) or type(error).__name__).strip().splitlines()[0][:300]
            raise TrackingError(f"the tracking store {without_password(self.uri)} failed: {first}") from error

    def _connect(self) -> MlflowClient:
        if self._client is None:
            prepare_environment()
            from mlflow.tracking import MlflowClient

            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.ERROR)
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            self._experiment_id = self._find_experiment(client)
            self._client = client
        return self._client

    def _find_experiment(self, client: MlflowClient) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            folder = local_folder(self.uri)
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

    def _need_parent(self) -> str:
        assert self._parent is not None, "start_search comes first"
        return self._parent

    def _find_search(self, client: MlflowClient, header: SearchHeader) -> str | None:
        query = {"octnas.search": header.name, "octnas.kind": "search", "octnas.created": header.created}
        return next((str(run.info.run_id) for run in self._search_runs(client, query)), None)

    def _search_runs(self, client: MlflowClient, tags: Mapping[str, str]) -> Iterator[Run]:
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        token = None
        while True:
            page = client.search_runs([self._experiment_id], query, max_results=500, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _create_search(self, client: MlflowClient, header: SearchHeader) -> str:
        run = client.create_run(self._experiment_id, run_name=header.name, tags=search_tags(header))
        run_id = str(run.info.run_id)
        self._params(client, run_id, search_params(header))
        client.log_text(run_id, header.space_yaml, "space.yaml")
        return run_id

    def _find_children(self, client: MlflowClient, parent: str) -> Iterator[tuple[str, _Child]]:
        for run in self._search_runs(client, {"mlflow.parentRunId": parent, "octnas.kind": "trial"}):
            yield (
                run.data.tags["octnas.trial_id"],
                _Child(
                    run_id=run.info.run_id,
                    start=run.info.start_time,
                    shows=run.data.tags.get("octnas.record", ""),
                    under_way=run.info.status in ("RUNNING", "SCHEDULED"),
                    has_architecture="octnas.architecture" in run.data.tags,
                ),
            )

    def _create_child(self, client: MlflowClient, record: TrialRecord) -> _Child:
        architecture = record.architecture
        tags = {
            "mlflow.parentRunId": self._need_parent(),
            "octnas.search": self._search,
            "octnas.kind": "trial",
            "octnas.trial_id": record.id,
            "octnas.digest": architecture.digest,
        }
        name = " ".join(filter(None, (record.id, record.yardstick, architecture.backbone)))
        start = int(1000 * (time.time() - record.seconds))
        run = client.create_run(self._experiment_id, start_time=start, run_name=name, tags=tags)
        return _Child(run_id=run.info.run_id, start=start)

    def _log_numbers(self, client: MlflowClient, child: _Child, record: TrialRecord) -> None:
        fresh = [score for score in record.scores if child.scores.get(score.epoch) != score]
        metrics = record_values(record, child.start, only={score.epoch for score in fresh})
        self._params(client, child.run_id, architecture_params(record))
        self._batch(client, child.run_id, metrics, record_tags(record))
        child.scores.update({score.epoch: score for score in fresh})

    def _create_for(
        self,
        client: MlflowClient,
        header: SearchHeader,
        record: TrialRecord,
        kind: str,
        name: str,
        params: Mapping[str, Any],
    ) -> tuple[str, int]:
        tags = {"octnas.trial_id": record.id, "octnas.digest": record.architecture.digest}
        run_id, start = self._create_below(client, header, kind, name, tags)
        self._params(client, run_id, {**architecture_params(record), **params})
        client.log_text(run_id, record.architecture.to_json(), "architecture.json")
        return run_id, start

    def _create_below(
        self, client: MlflowClient, header: SearchHeader, kind: str, name: str, tags: Mapping[str, str]
    ) -> tuple[str, int]:
        tags = {"octnas.search": header.name, "octnas.kind": kind, **tags}
        tags |= {"mlflow.parentRunId": parent} if (parent := self._find_search(client, header)) else {}
        run = client.create_run(self._experiment_id, run_name=name, tags=tags)
        return str(run.info.run_id), int(run.info.start_time)

    def _params(self, client: MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [Param(key, str(value)[:6000]) for key, value in params.items() if value is not None]
        client.log_batch(run_id, params=entries)

    def _batch(
        self, client: MlflowClient, run_id: str, metrics: list[Value], tags: Mapping[str, str] | None = None
    ) -> None:
        from mlflow.entities import Metric, RunTag

        entries = [Metric(value.name, value.value, value.at, value.step) for value in metrics]
        for start in range(0, len(entries), 900):  # MLflow takes 1,000 at a time
            client.log_batch(run_id, metrics=entries[start : start + 900])
        if tags:
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
