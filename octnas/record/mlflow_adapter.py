"""A search in an MLflow store: one parent run, and one child run a trial, whatever fails on the way.

Runs are known by their tags: a resumed search finds its own again, a creation whose answer was lost is looked
up before it is sent anew, and of two runs of one trial the one that holds less is deleted. Writing the same
record twice changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octnas.record.links import RunLinks
from octnas.record.mlflow_children import Child, only_children, only_search
from octnas.record.mlflow_client import Connection
from octnas.record.mlflow_models import register_model
from octnas.record.mlflow_runs import Files, Runs
from octnas.record.mlflow_system import Sample, sampled
from octnas.record.mlflow_view import SHARED_VIEW, charts_view, with_links
from octnas.record.ranking import rank_metrics
from octnas.record.runs import SearchHeader
from octnas.record.tracking_values import (
    FrontReport,
    architecture_params,
    curves,
    record_tags,
    record_values,
    search_identity,
    search_params,
    search_tags,
    values_at,
)
from octnas.record.trial import EpochScore, TrialRecord, TrialState

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Tracker"]

# MLflow draws "KILLED" as it draws "FAILED"; that a trial was stopped is in its tag octnas.state.
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.STOPPED: "FINISHED", TrialState.FAILED: "FAILED"}
_END = {"complete": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class Tracker:
    """Writes a search to an MLflow store.

    The constructor makes sure that the store answers and is quick; mlflow is imported, and a new SQLite store
    made (several seconds), by the first call that writes. `uri` is without credentials.
    """

    def __init__(self, tracking_uri: str | None = None, *, experiment: str = "octnas") -> None:
        self._connection = Connection(tracking_uri, experiment)
        self.uri = self._connection.uri
        self._files = Files()
        self._parent: str | None = None
        self._experiment_id = ""
        self._start = 0
        self._header: SearchHeader | None = None
        self._children: dict[str, Child] = {}

    def start_search(self, header: SearchHeader) -> str:
        """The search's parent run, found again or created, and open; returns its id."""

        def work(runs: Runs) -> str:
            run = only_search(runs, header)
            if run is None:
                run = runs.create(search_identity(header), name=header.name, tags=search_tags(header))
            elif run.info.status != "RUNNING":
                runs.client.update_run(run.info.run_id, status="RUNNING")
            run_id = str(run.info.run_id)
            if not run.data.params:
                runs.write(run_id, params=search_params(header))
            if "octnas.space" not in run.data.tags:
                told = {"octnas.space": header.space or "of a file"}
                if self._files.put(runs, run_id, {"space.yaml": header.space_yaml}, told):
                    runs.write(run_id, tags=told)
            for view in (SHARED_VIEW, charts_view(header)):
                runs.client.set_experiment_tag(runs.experiment_id, *view)
            self._children = only_children(runs, run_id)
            self._parent, self._header = run_id, header
            self._experiment_id, self._start = runs.experiment_id, int(run.info.start_time)
            return run_id

        return self._connection.done(work)

    @property
    def links(self) -> RunLinks | None:
        """Where the search and the trials that the store has are seen; None before `start_search`."""
        if self._parent is None:
            return None
        trials = {trial_id: child.run_id for trial_id, child in self._children.copy().items()}
        return RunLinks(uri=self.uri, experiment_id=self._experiment_id, run_id=self._parent, trials=trials)

    def log_trial(self, record: TrialRecord) -> None:
        """Brings the trial's child run to what the record says; creates it if there is none.

        Its architecture.json waits for `settle` where the artifact store does not take it.
        """
        shows = hashlib.sha256(json.dumps(record.to_dict()).encode()).hexdigest()[:16]
        child = self._children.get(record.id)
        known = child is not None and child.shows == shows and child.under_way != record.state.final
        if known and child is not None and child.has_architecture:
            return
        self._connection.done(lambda runs: self._write_trial(runs, record, shows))

    def _write_trial(self, runs: Runs, record: TrialRecord, shows: str) -> None:
        child = self._children.get(record.id)
        if child is None:
            child = self._children[record.id] = self._create_child(runs, record)
        tags = record_tags(record) | {"octnas.record": shows}
        if not child.has_architecture:
            told = {"octnas.architecture": record.architecture.digest}
            files = {"architecture.json": record.architecture.to_json()}
            tags |= told if self._files.put(runs, child.run_id, files, told) else {}
        fresh = [score for score in record.scores if child.scores.get(score.epoch) != score]
        runs.write(
            child.run_id,
            metrics=record_values(record, child.start, only={score.epoch for score in fresh}),
            params=None if child.has_params else architecture_params(record),
            tags=tags,
        )
        child.has_params = child.has_architecture = True  # the latter perhaps owed
        child.scores.update({score.epoch: score for score in fresh})
        if record.state.final:
            end = child.start + int(1000 * record.seconds)
            runs.client.set_terminated(child.run_id, _STATUS[record.state], end_time=end)
        elif not child.under_way:
            runs.client.update_run(child.run_id, status="RUNNING")
        child.shows, child.under_way = shows, not record.state.final

    def log_front(self, report: FrontReport) -> None:
        """Puts the front's files, its description, its hypervolume and its claim on the search's run, and
        says of each trial whether it is a member.

        The hypervolume is a curve with a step for each complete trial; steps that the run has are not sent
        again, so after a resume it goes on where it ended.
        """

        def work(runs: Runs) -> None:
            run_id = self._need_parent()
            self._files.put(runs, run_id, report.files)
            now = int(1000 * time.time())
            curve = dict(enumerate(report.hypervolumes, start=1)) or {0: report.hypervolume}
            known = {point.step for point in runs.client.get_metric_history(run_id, "hypervolume")}
            metrics = [
                value
                for step in sorted(curve.keys() - known)
                for value in values_at({"hypervolume": curve[step]}, step, now)
            ]
            counts = {"front_size": report.front_size, "trials_finished": report.finished}
            figures = {**counts, **report.claim, **report.shared}
            latest = runs.client.get_run(run_id).data.metrics
            if any(latest.get(name) != value for name, value in figures.items()):
                metrics += values_at(figures, report.finished, now)
            note = with_links(report.note, self._need_header(), runs.experiment_id, run_id)
            tags = {"octnas.claim": report.outcome} if report.outcome else {}
            runs.write(run_id, metrics=metrics, tags={"mlflow.note.content": note, **tags})
            self._tell_members(runs, frozenset(report.front))

        self._connection.done(work)

    def log_samples(self, samples: Iterable[Sample]) -> None:
        """Puts what this machine did on the search's run; its steps are seconds since the run began."""
        values = sampled(samples, self._start)
        self._connection.done(lambda runs: runs.write(self._need_parent(), metrics=values))

    def _tell_members(self, runs: Runs, front: frozenset[str]) -> None:
        """A trial's run says whether the trial is on the front; a call for each of which that is new."""
        for trial_id, child in self._children.items():
            if child.on_front != (trial_id in front):
                runs.client.set_tag(child.run_id, "octnas.on_front", str(not child.on_front).lower())
                child.on_front = not child.on_front

    def finish(self, state: str) -> None:
        """Closes the search's run ("complete", "interrupted" or "failed") and the trials left open in it."""

        def work(runs: Runs) -> None:
            runs.settle()
            for child in self._children.values():
                if child.under_way:
                    runs.client.set_terminated(child.run_id, "KILLED")
                    child.under_way = False
            runs.client.set_tag(self._need_parent(), "octnas.state", state)
            runs.client.set_terminated(self._need_parent(), _END[state])

        self._connection.done(work)

    def settle(self) -> None:
        """Writes the files that the artifact store did not take when it should have.

        Raises:
            TrackingError: it still does not; runs, metrics and tags are there without them.
        """
        if len(self._files):
            self._connection.done(self._files.settle)

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
        samples: Iterable[Sample] = (),
    ) -> str:
        """A run for one training of a winner, a child of its search's run; returns its id.

        Args:
            samples: of this machine while it trained.
        """
        metrics = {"accuracy": accuracy, "gflops": record.gflops, "params": float(record.params)}
        if test_accuracy is not None:
            metrics["test_accuracy"] = test_accuracy
        points, more = tuple(scores), {"scale": scale, "epochs": epochs, **(params or {})}
        told = tuple(samples)
        token, name = _token("train", record), f"train {record.id} ({scale})"

        def fill(runs: Runs, run_id: str, start: int) -> None:
            values = [*curves(points, start), *values_at(metrics, epochs, start)]
            values += sampled(told, told[0].at if told else start)
            runs.write(run_id, metrics=values, params={**architecture_params(record), **more})
            runs.client.log_text(run_id, record.architecture.to_json(), "architecture.json")

        return self._one_run(header, token, name, fill)

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
        token, name = _token("export", record), f"export {record.id} ({training})"
        paths, params = tuple(files), {**architecture_params(record), "training": training}

        def fill(runs: Runs, run_id: str, start: int) -> None:
            runs.write(run_id, metrics=values_at(metrics, 0, start), params=params, tags=tags)
            runs.client.log_text(run_id, record.architecture.to_json(), "architecture.json")
            for path in paths:
                runs.client.log_artifact(run_id, str(path))

        return self._one_run(header, token, name, fill)

    def log_rank(self, header: SearchHeader, document: Mapping[str, Any], files: Iterable[Path]) -> None:
        """A run for one ranking, with what it reports and its files, a child of its search's run."""
        token, paths = _token("rank", None), tuple(files)
        params = {key: document[key] for key in ("models", "seeds", "full_epochs")}

        def fill(runs: Runs, run_id: str, start: int) -> None:
            runs.write(run_id, metrics=values_at(rank_metrics(document), 0, start), params=params)
            for path in paths:
                runs.client.log_artifact(run_id, str(path))

        self._one_run(header, token, f"rank {document['models']}", fill)

    def log_files(self, header: SearchHeader, files: Mapping[str, str | bytes]) -> None:
        """Puts files on the search's run, in place of older ones; nothing where the store lacks it."""

        def work(runs: Runs) -> None:
            run = only_search(runs, header)
            if run is not None:
                self._files.put(runs, run.info.run_id, files)

        self._connection.done(work)
        self.settle()

    def register(
        self,
        model_name: str,
        onnx_file: Path,
        *,
        run_id: str,
        inputs: np.ndarray[Any, Any],
        outputs: np.ndarray[Any, Any],
        tags: Mapping[str, str] | None = None,
        card: str = "",
        alias: str | None = None,
    ) -> str:
        """Registers an ONNX file as a new version of `model_name`, kept with the run; returns the version.

        The signature comes from an example: `inputs` (B, C, H, W), or (B, C, T, H, W), and `outputs`
        (B, classes), B left open. The other arguments are `register_model`'s.
        """
        labels = {**(tags or {}), "octnas.token": uuid.uuid4().hex}
        return self._connection.done(
            lambda runs: register_model(
                runs,
                model_name,
                onnx_file,
                run_id=run_id,
                inputs=inputs,
                outputs=outputs,
                tags=labels,
                card=card,
                alias=alias,
            )
        )

    def _need_parent(self) -> str:
        assert self._parent is not None, "start_search comes first"
        return self._parent

    def _need_header(self) -> SearchHeader:
        assert self._header is not None, "start_search comes first"
        return self._header

    def _one_run(
        self,
        header: SearchHeader,
        token: Mapping[str, str],
        name: str,
        fill: Callable[[Runs, str, int], None],
    ) -> str:
        """A run below the search's, made once, filled as often as it takes, and closed; returns its id."""
        made: list[tuple[str, int]] = []

        def work(runs: Runs) -> str:
            if not made:
                made.append(_create_below(runs, header, token, name))
            run_id, start = made[0]
            fill(runs, run_id, start)
            runs.client.set_terminated(run_id, "FINISHED")
            runs.settle()
            return run_id

        return self._connection.done(work)

    def _create_child(self, runs: Runs, record: TrialRecord) -> Child:
        architecture = record.architecture
        identity = {
            "mlflow.parentRunId": self._need_parent(),
            "octnas.kind": "trial",
            "octnas.trial_id": record.id,
        }
        tags = {
            "octnas.search": self._need_header().name,
            "octnas.digest": architecture.digest,
            "octnas.on_front": "false",
        }
        name = " ".join(filter(None, (record.id, record.yardstick, architecture.backbone)))
        start = int(1000 * (time.time() - record.seconds))
        return Child.of(runs.create(identity, name=name, tags=tags, start=start))


def _token(kind: str, record: TrialRecord | None) -> dict[str, str]:
    """The tags of a run that no search's journal names, with one of its own by which it is found again."""
    of = {} if record is None else {"octnas.trial_id": record.id, "octnas.digest": record.architecture.digest}
    return {"octnas.kind": kind, "octnas.token": uuid.uuid4().hex, **of}


def _create_below(runs: Runs, header: SearchHeader, token: Mapping[str, str], name: str) -> tuple[str, int]:
    """A run below the search's, if that is there; its id and its start in ms since 1970."""
    parent = only_search(runs, header)
    above = {} if parent is None else {"mlflow.parentRunId": parent.info.run_id}
    run = runs.create(token, name=name, tags={"octnas.search": header.name, **above})
    return str(run.info.run_id), int(run.info.start_time)
