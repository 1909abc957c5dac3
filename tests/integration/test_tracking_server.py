"""A search whose MLflow server, on a real PostgreSQL, is stopped in its midst and started again."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import fakes
import pytest
from servers import mlflow_server, postgres
from stand_ins import TINY_SPACE
from tracking_case import check_trials, only_run

from octnas import engine
from octnas.engine.events import SearchEvent
from octnas.record import RunFolder

TESTS = Path(__file__).parents[1]
SPACE = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 3, rungs: {eta: 3, min_epochs: 1}}\n"


def test_a_server_that_is_away_for_a_while_costs_no_trial_and_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("OCTNAS_TRACKING_RETRY_S", "0.5")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    (tmp_path / "tiny.yaml").write_text(SPACE, encoding="utf-8")
    with postgres() as database, mlflow_server(database.uri, tmp_path / "server") as server:
        back = threading.Thread(target=server.start)
        notes: list[str] = []

        def stop(event: SearchEvent) -> None:
            if event.kind == "finished" and event.finished == 3:
                server.stop(hard=True)
            elif event.kind == "finished" and event.finished == 6:
                back.start()
            elif event.kind == "note":
                notes.append(event.text)

        result = engine.search(
            "tiny.yaml",
            budget_gflops=0.04,
            trials=16,
            name="away",
            evaluate=fakes.slow,
            tracking_uri=server.uri,
            listener=stop,
        )
        back.join()
        from mlflow.tracking import MlflowClient

        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")  # of those who read what is there
        client = MlflowClient(server.uri)
        assert check_trials(client, "away", result.trials) >= 4 * 16
        run = only_run(client, "away", "search")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["trials_finished"] == len(result.trials)
    assert sum("tracking is behind" in note for note in notes) == 1
    assert f"MLflow: {server.uri}" in notes[-1]
    assert RunFolder.open("away").journal.read()[-1]["state"] == "complete"
