"""Where a search and its trials are seen in MLflow, and what a run's folder keeps of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from record_case import header

from octnas.record import RunFolder
from octnas.record.links import RunLinks

VIEW = "workflowType=machine_learning"


def _links(uri: str, **trials: str) -> RunLinks:
    return RunLinks(uri=uri, experiment_id="3", run_id="abc", trials=trials)


def test_pages_are_of_runs_and_have_no_credentials() -> None:
    links = _links("http://me:pw@tracker:5000/base/?token=pw")
    page = f"http://tracker:5000/base/#/experiments/3/runs/abc?{VIEW}"
    assert (links.search_page, links.where("first")) == (page, page)
    assert _links("sqlite:////data/mlflow.db").where("first") == "`octnas dashboard first`"


def test_pages_of_a_server_are_its_own() -> None:
    links = _links("https://[::1]:8443/base/", **{"7": "def"})
    base = "https://[::1]:8443/base/#/experiments/3/runs"
    assert links.server == "https://[::1]:8443/base"
    assert links.search_page == f"{base}/abc?{VIEW}"
    assert links.front_page == f"{base}/abc/artifacts/front.html?{VIEW}"
    assert links.trial_page("7") == f"{base}/def?{VIEW}"
    assert links.trial_page("8") is None
    assert links.list_page == f"{base}?{VIEW}&viewStateShareKey=octnas"


@pytest.mark.parametrize("uri", ["sqlite:////data/mlflow.db", "postgresql+psycopg://db/mlflow"])
def test_pages_of_a_store_without_a_server_are_of_any_server_over_it(uri: str) -> None:
    links = _links(uri, **{"7": "def"})
    assert links.server is None
    assert links.search_page == f"#/experiments/3/runs/abc?{VIEW}"
    assert links.trial_page("7") == f"#/experiments/3/runs/def?{VIEW}"


@pytest.mark.parametrize(
    "uri", ["http://me:secret@tracker:5000", "postgresql+psycopg://me:secret@db/mlflow?password=secret"]
)
def test_a_run_folder_keeps_them_without_credentials(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    run = RunFolder.create("first", header())
    run.journal.release()
    assert RunLinks.of(run) is None
    links = _links(uri, **{"1": "r1", "2": "r2"})
    links.keep(run.path)
    assert RunLinks.of(run) == links
    assert "secret" not in (run.path / "mlflow.json").read_text() + str(links)
    assert {path.name for path in run.path.iterdir()} == {
        "journal.jsonl",
        "lock",
        "checkpoints",
        "mlflow.json",
    }


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"uri": "", "experiment_id": 1, "run_id": 2, "trials": 3}']
)
def test_damaged_links_are_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    run = RunFolder.create("first", header())
    run.journal.release()
    (run.path / "mlflow.json").write_text(text)
    assert RunLinks.of(run) is None
