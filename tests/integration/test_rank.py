"""A ranking through Ray with real trainings: cut off by Ctrl-C, gone on with, reported everywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from octnas.space import load_space
from octnas.train import save_weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SHORT = {
    "steps: 800": "steps: 8",
    "batch_size: 32": "batch_size: 512",
    "train_images: null": "train_images: 512",
    "val_images: 1000": "val_images: 200",
}


def _octnas(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "octnas", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def _space(folder: Path) -> Path:
    """small-2d with trainings of a moment."""
    text = load_space("small-2d").to_yaml()
    for old, new in SHORT.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "short.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_rank_from_a_search_to_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OCTNAS_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    search = _octnas(
        "search", "--space", str(_space(tmp_path)), "--budget-gflops", "0.03", "--trials", "3",
        "--confirm", "0", "--name", "s", cwd=tmp_path,
    )  # fmt: skip
    assert search.returncode == 0, search.stderr
    run = tmp_path / "octnas-runs" / "s"
    # Weights as a supernet would leave them.
    from octnas.nn import build

    space = load_space("small-2d")
    (run / "supernets").mkdir()
    for backbone in space.backbones:
        plain = space.proxy_architecture(space.uniform(backbone, 0))
        save_weights(
            build(plain, num_classes=160, in_channels=1), run / "supernets" / f"{backbone}.safetensors"
        )

    command = ["rank", "s", "--models", "4", "--seeds", "2", "--epochs", "1"]
    begun = subprocess.Popen(
        [sys.executable, "-m", "octnas", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = run / "rank.jsonl"
    for _ in range(600):
        if (journal.exists() and '"kind":"full"' in journal.read_text()) or begun.poll() is not None:
            break
        time.sleep(0.2)
    os.kill(begun.pid, signal.SIGINT)
    out, err = begun.communicate(timeout=120)
    assert begun.returncode == 130, err
    assert out == ""
    assert "octnas rank s --models 4 --seeds 2 --epochs 1" in err

    done = _octnas(*command, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["models"] == 4
    assert 0 <= document["ceiling"] <= 1
    assert {"shared", "shared-smoothed", "warm", "scratch-2", "scratch", "training-losses", "gflops",
            "params", "synflow", "grad-norm"} <= document["proxies"].keys()  # fmt: skip
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    trained = [(e["kind"], e["digest"], e["seed"]) for e in events if e["event"] == "training"]
    assert len(trained) == len(set(trained)) == 4 * 4
    assert (run / "rank.png").read_bytes().startswith(b"\x89PNG")
    assert not list((run / "checkpoints").glob("rank.*"))

    front = json.loads(_octnas("front", "s", "--json", cwd=tmp_path).stdout)
    assert (front["rank_warning"] is not None) == bool(document["warnings"])
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("octnas")
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id], "tags.`octnas.kind` = 'rank'")
    assert logged.data.metrics["ceiling"] == document["ceiling"]
    assert "mlflow.parentRunId" in logged.data.tags
