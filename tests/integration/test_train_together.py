"""`octnas train --workers 2`, as users type it: to its end, interrupted, and with a worker that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from clusters import SETTINGS, local_cluster
from fault_table import tell
from finished_run import finished_run
from mlflow.tracking import MlflowClient

from octnas.architecture import Architecture
from octnas.data import load_images
from octnas.nn import build
from octnas.train import Mode, evaluate_network, load_weights

SPACE = """\
name: small
description: one backbone on characters, trained for a moment
granularity: stage
alphas: [0, 0.5]
backbones: [resnet18]
target: {input_size: 32, channels: 1, classes: 160, width: 16, stem: small}
proxy: {data: glyphs, width: 8, stem: small, input_size: 32, train_images: 640, val_images: 200, epochs: 1,
        batch_size: 32}
"""
TRAIN = ("train", "r", "--trial", "t1", "--scale", "proxy", "--seed", "3", "--json")
FOLDER = Path("octnas-runs/r/trainings/t1-proxy")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a finished search of one trial."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "octnas-runs"))
    monkeypatch.setenv("RAY_worker_niceness", "0")
    finished_run(SPACE)
    return tmp_path


@contextlib.contextmanager
def started(home: Path, *arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "octnas", *arguments],
        cwd=home,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # As in a terminal, also where the tests run in the background, whose children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def read_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """The lines of standard error up to the one that begins so."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(wanted):
            return lines
    raise AssertionError("".join(lines))


def processes_of(home: Path) -> list[str]:
    """All that a command started in this folder, whoever their parents are by now, each by its name."""
    found, mine = [], f"OCTNAS_HOME={home / 'octnas-runs'}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mine in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def workers_of(driver: int) -> list[int]:
    """Processes below the driver that train, by what Ray calls them."""
    parents, names = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(path.name)] = (path / "cmdline").read_bytes().split(b"\0")[0].decode()

    def below(pid: int) -> bool:
        while pid in parents and pid != driver:
            pid = parents[pid]
        return pid == driver

    return [pid for pid, name in names.items() if "TrainWorker" in name and below(pid)]


def test_two_workers_train_to_the_end(home: Path) -> None:
    options = (
        "--workers",
        "2",
        "--epochs",
        "2",
        "--mixup",
        "0.2",
        "--ema",
        "0.9",
        "--label-smoothing",
        "0.1",
    )
    with started(home, *TRAIN, *options) as process:
        begun = read_until(process, "epoch 1/2")
        seen = processes_of(home)
        out, err = process.communicate()
    err = "".join(begun) + err
    assert process.returncode == 0, err
    # Ray's are among those that are found, and none of them is left.
    assert sum("TrainWorker" in each for each in seen) == 2, seen
    assert any("raylet" in each for each in seen), seen
    assert processes_of(home) == []
    report = json.loads(out)
    assert (report["workers"], report["epochs"], report["scale"]) == (2, 2, "proxy")
    assert [line.partition(":")[0] for line in err.splitlines()] == ["recipe", "epoch 1/2", "epoch 2/2"]
    assert "label smoothing 0.1, mixup 0.2, weights averaged by 0.9" in err
    folder = home / FOLDER
    assert sorted(path.name for path in folder.iterdir()) == ["training.json", "weights.safetensors"]
    facts = json.loads((folder / "training.json").read_text())
    assert (facts["workers"], facts["settings"]["mixup"], facts["settings"]["ema"]) == (2, 0.2, 0.9)
    # What the two measured on halves of the images is what one process measures on all.
    architecture = Architecture.from_json(json.dumps(facts["architecture"]))
    network = build(architecture, num_classes=160, in_channels=1)
    load_weights(network, folder / "weights.safetensors")
    data = load_images("glyphs", size=32, channels=1)
    for split, accuracy in ((data.val, report["accuracy"]), (data.test, report["test_accuracy"])):
        assert split is not None
        again = evaluate_network(
            network,
            split,
            mean=data.mean,
            std=data.std,
            mode=Mode(device=torch.device("cpu"), precision="fp32"),
        )
        assert again[0] == pytest.approx(accuracy, abs=1.5 / len(split))
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    (tracked,) = client.search_runs(
        [each.experiment_id for each in client.search_experiments()], "tags.`octnas.kind` = 'train'"
    )
    assert {"workers": "2", "mixup": "0.2", "batch_size": "32"}.items() <= tracked.data.params.items()


@pytest.mark.cluster
def test_an_interrupted_training_goes_on_with_another_number_of_workers(home: Path) -> None:
    with started(home, *TRAIN, "--epochs", "20", "--workers", "2") as process:
        read_until(process, "epoch 1/20")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert process.returncode == 130, err
        assert out == ""
        assert (
            err.splitlines()[-1] == "octnas: interrupted; the same command goes on after the last whole epoch"
        )
    done = torch.load(home / FOLDER / "checkpoint.pt", weights_only=True)["step"] // 20
    assert 1 <= done < 20
    with started(home, *TRAIN, "--epochs", "20") as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert re.findall(r"^epoch (\d+)/20", err, re.M) == [str(i) for i in range(done + 1, 21)]
    report = json.loads(out)
    assert (report["workers"], report["epochs"]) == (1, 20)


@pytest.mark.cluster
def test_a_worker_that_is_killed_is_started_again_from_the_last_epoch(home: Path) -> None:
    with started(home, *TRAIN, "--epochs", "30", "--workers", "2") as process:
        read_until(process, "epoch 3/30")
        begin = time.monotonic()
        pids = workers_of(process.pid)
        assert len(pids) == 2
        os.kill(pids[-1], signal.SIGKILL)
        lines = read_until(process, "workers were started again")
        found = re.search(r"after (\d+) of 30 epochs", lines[-1])
        assert found is not None
        again = int(found[1])
        assert 3 <= again < 30
        tell("`octnas train`: a worker is killed", "the epoch under way", time.monotonic() - begin)
        out, err = process.communicate()
    assert process.returncode == 0, err
    told = re.findall(r"^epoch (\d+)/30", "".join(lines) + err, re.M)
    assert told == [str(i) for i in range(4, 31)]  # each once: nothing was lost, or trained from the start
    report = json.loads(out)
    assert (report["workers"], report["epochs"]) == (2, 30)
    assert [score["epoch"] for score in report["scores"]] == list(range(1, 31))


@pytest.mark.cluster
def test_a_loss_that_diverges_ends_the_training_in_one_line(home: Path) -> None:
    with started(home, *TRAIN, "--epochs", "2", "--workers", "2", "--learning-rate", "1e30") as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    lines = err.splitlines()
    assert lines[0].startswith("recipe: ")
    assert len(lines) == 2  # no other try
    assert re.match(
        r"octnas: losses must stay finite, but the training loss is (nan|inf) at step \d+", lines[1]
    )


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_cluster_loses_a_node_and_gets_another(home: Path) -> None:
    with local_cluster() as cluster:
        for _ in range(2):
            cluster.add()
        options = ("--epochs", "30", "--workers", "2", "--cluster", cluster.address)
        with started(home, *TRAIN, *options, **SETTINGS) as process:
            lines = read_until(process, "epoch 2/30")
            assert any(f"joined the cluster at {cluster.address}: 2 workers" in line for line in lines)
            cluster.nodes[1].kill()
            begin = time.monotonic()
            cluster.add(wait=False)
            lines += read_until(process, "workers were started again")
            fault = "`octnas train`: a node is killed, another one joins"
            tell(fault, "the epoch under way", time.monotonic() - begin)
            out, err = process.communicate()
        assert process.returncode == 0, err
        told = re.findall(r"^epoch (\d+)/30", "".join(lines) + err, re.M)
        assert told == [str(i) for i in range(1, 31)]
        report = json.loads(out)
        assert (report["workers"], report["epochs"]) == (2, 30)
        assert sorted(path.name for path in (home / FOLDER).iterdir()) == [
            "training.json",
            "weights.safetensors",
        ]
