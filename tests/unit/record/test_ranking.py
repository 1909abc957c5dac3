"""What a ranking measured, written and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from record_case import header, score

from octnas.architecture import Architecture
from octnas.errors import RunError
from octnas.record import RunFolder
from octnas.record.ranking import (
    Model,
    Training,
    keep_rank,
    rank_document,
    rank_journal,
    rank_metrics,
    read_rank,
    training_event,
)

MODEL = Model(
    architecture=Architecture.uniform("resnet18", alpha="0.5", downsample="pooled"),
    gflops=1.137,
    params=11_689_512,
    latency_ms=12.5,
    trial="3",
)
FULL = Training(kind="full", digest=MODEL.digest, seed=2000, epochs=2)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    run = RunFolder.create("first", header())
    run.journal.release()
    return run


def test_nothing_was_measured_yet(run: RunFolder) -> None:
    ranked = read_rank(run)
    assert (ranked.models, ranked.trainings, ranked.values) == ([], {}, {})
    assert rank_document(run) is None


def test_what_is_written_is_read_back(run: RunFolder) -> None:
    journal, scores = rank_journal(run), (score(1, 0.5), score(2, 0.7))
    with journal.exclusive():
        journal.append({"event": "rank", "schema_version": 1})
        journal.append(MODEL.to_dict())
        journal.append(training_event(FULL, scores))
        journal.append({"event": "value", "digest": MODEL.digest, "proxy": "synflow", "value": 12.25})
        journal.append({"event": "of a later version", "id": "1"})
    with journal.path.open("ab") as file:
        file.write(b'{"event": "value", "dig')  # a death within a line
    ranked = read_rank(run)
    assert ranked.models == [MODEL]
    assert ranked.scores("full", MODEL.digest, 2000, 2) == scores
    assert ranked.scores("full", MODEL.digest, 2000, 3) is None
    assert ranked.scores("full", MODEL.digest, 2001, 2) is None
    assert ranked.values == {MODEL.digest: {"synflow": 12.25}}


def test_the_lock_is_the_runs(run: RunFolder) -> None:
    with rank_journal(run).exclusive():
        assert run.journal.in_use
        with pytest.raises(RunError, match="in use"):
            RunFolder.delete("first")


def test_a_newer_version_is_refused(run: RunFolder) -> None:
    rank_journal(run).append({"event": "rank", "schema_version": 2})
    with pytest.raises(RunError, match=r"schema version 2.*reads 1"):
        read_rank(run)


DOCUMENT: dict[str, Any] = {
    "ceiling": 0.8,
    "ceiling_spearman": 0.9,
    "noise_points": 0.5,
    "signal_points": None,
    "proxies": {
        "scratch": {"tau": 0.7, "tau_interval": [0.4, 0.9], "spearman": 0.8, "spearman_interval": None},
        "params": {"tau": None, "tau_interval": None, "spearman": None, "spearman_interval": None},
    },
}


def test_the_report_is_kept_and_a_damaged_one_is_none(run: RunFolder) -> None:
    files = keep_rank(run, DOCUMENT, b"\x89PNG")
    assert rank_document(run) == DOCUMENT
    assert [path.name for path in files] == ["rank.json", "rank.png"]
    for damaged in ("{", json.dumps([1]), json.dumps({"models": 3})):
        (run.path / "rank.json").write_text(damaged)
        assert rank_document(run) is None


def test_metrics_are_what_is_defined() -> None:
    assert rank_metrics(DOCUMENT) == {
        "ceiling": 0.8,
        "ceiling_spearman": 0.9,
        "noise_points": 0.5,
        "tau/scratch": 0.7,
        "tau_low/scratch": 0.4,
        "tau_high/scratch": 0.9,
        "spearman/scratch": 0.8,
    }
