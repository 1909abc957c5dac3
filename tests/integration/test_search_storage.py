"""A search that keeps its weights in an object store is killed and goes on, through Ray."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import stores
from stand_ins import TINY_SPACE

from octnas import engine
from octnas.engine import ray_session
from octnas.engine.workers import plan_workers
from octnas.front import SearchResult
from octnas.record import RunFolder, TrialState
from octnas.storage import names_in, place

TESTS = Path(__file__).parents[1]
SPACE = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 3, rungs: {eta: 3, min_epochs: 1}}\n"
DRIVER = """
import sys
import fakes_stored
from octnas import engine
engine.search(
    "tiny.yaml", budget_gflops=0.04, trials=8, name="mine", evaluate=fakes_stored.keeps_weights,
    storage=sys.argv[1],
)
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with stores.s3_store() as uri:
        yield uri


@pytest.fixture(scope="module", autouse=True)
def ray(bucket: str) -> Iterator[None]:
    """Its workers inherit what a client of the store needs."""
    with ray_session.ray_session(plan_workers(), "fakes_stored:keeps_weights", None):
        yield


@pytest.mark.cluster
def test_a_killed_search_goes_on_from_the_weights_in_its_storage(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    (tmp_path / "tiny.yaml").write_text(SPACE, encoding="utf-8")
    storage = f"{bucket}/octnas"
    process = subprocess.Popen([sys.executable, "-c", DRIVER, storage])
    journal, until = tmp_path / "runs" / "mine" / "journal.jsonl", time.monotonic() + 300
    final = re.compile(r'"state":"(complete|stopped)"')
    while not journal.exists() or len(final.findall(journal.read_text(encoding="utf-8"))) < 3:
        assert process.poll() is None, "the search ended too early"
        assert time.monotonic() < until, "the search is too slow"
        time.sleep(0.02)
    process.kill()
    process.wait()

    result = engine.resume("mine")
    assert {record.state for record in result.trials} <= {TrialState.COMPLETE, TrialState.STOPPED}
    assert len([record for record in result.trials if record.yardstick is None]) == 8
    where = place(storage) / "mine" / "checkpoints"
    assert names_in(where) == sorted(f"{record.id}.pt" for record in result.front)
    for record in result.front:
        assert json.loads((where / f"{record.id}.pt").read_bytes()) == {"id": record.id, "epoch": 3}
        assert record.checkpoint == f"checkpoints/{record.id}.pt"
    assert names_in(tmp_path / "runs" / "mine" / "checkpoints") == []
    assert SearchResult.from_run("mine").to_dict() == result.to_dict()

    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "mlflow.db" for path in kept)
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    assert [path for path in kept if secret in path.read_bytes()] == []
    RunFolder.delete("mine")
    assert names_in(place(storage)) == []
