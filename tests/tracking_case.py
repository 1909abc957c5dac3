"""What a tracking store holds of a search, read back value by value and compared with its records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from octnas.record import TrialRecord

__all__ = ["check_trials", "only_run", "runs_of"]

_STATUS = {"complete": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}
_FILES_READ = 4
"""Trials whose architecture.json is fetched; of all others its tag, which is written after it, is enough."""

_CURVES = ("accuracy", "loss", "train_loss", "images_per_second")


def runs_of(client: Any, name: str, kind: str) -> list[Any]:
    """The runs of a kind ("search", "trial" ...) of a search, deleted ones left out."""
    experiment = client.get_experiment_by_name("octnas")
    query = f"tags.`octnas.search` = '{name}' and tags.`octnas.kind` = '{kind}'"
    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs([experiment.experiment_id], query, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def only_run(client: Any, name: str, kind: str) -> Any:
    """The one run of a kind."""
    (run,) = runs_of(client, name, kind)
    return run


def check_trials(client: Any, name: str, records: Iterable[TrialRecord], *, files: bool = True) -> int:
    """Asserts that each trial is exactly one run, with every score of its record once and in its state.

    Returns:
        How many points were compared.
    """
    parent = only_run(client, name, "search").info.run_id
    runs = runs_of(client, name, "trial")
    records = list(records)
    assert Counter(run.data.tags["octnas.trial_id"] for run in runs) == Counter(each.id for each in records)
    by_id = {run.data.tags["octnas.trial_id"]: run for run in runs}
    compared = 0
    for record in records:
        run = by_id[record.id]
        assert run.data.tags["mlflow.parentRunId"] == parent
        assert run.data.tags["octnas.state"] == str(record.state)
        assert run.info.status == _STATUS[str(record.state)], record.id
        assert run.data.params["backbone"] == record.architecture.backbone
        assert (run.data.metrics["gflops"], run.data.metrics["params"]) == (record.gflops, record.params)
        for curve in _CURVES:
            told = client.get_metric_history(run.info.run_id, curve)
            points = sorted((point.step, point.value) for point in told)
            assert points == [(score.epoch, getattr(score, curve)) for score in record.scores], record.id
            compared += len(points)
        if not files:
            continue
        assert run.data.tags["octnas.architecture"] == record.architecture.digest
        if record in records[:_FILES_READ]:
            written = Path(client.download_artifacts(run.info.run_id, "architecture.json"))
            assert json.loads(written.read_text()) == json.loads(record.architecture.to_json())
    return compared
