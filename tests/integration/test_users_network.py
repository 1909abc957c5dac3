"""A user's network in the user's own file: costed, searched beside one of ours, killed, resumed, trained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]

NETWORK = """\
from blocks import Block
from torch import nn

print("this line is for nobody")


class Net(nn.Module):
    def __init__(self, num_classes, in_channels, width):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.stages = nn.Sequential(Block(width, width, 1), Block(width, 2 * width, 2))
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x):
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


def make(num_classes=10, in_channels=3, width=16):
    return Net(num_classes, in_channels, width)
"""
BLOCKS = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1, stride)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))
"""
SPACE = """\
name: small
description: one backbone on characters, trained for a moment
granularity: stage
alphas: [0, 0.5]
backbones: [resnet18]
target: {input_size: 32, channels: 1, classes: 10, width: 16, stem: small}
proxy:
  data: fashion-sample
  width: 8
  train_images: 64
  val_images: 32
  steps: 4
  evaluations: 2
  batch_size: 16
"""
SEARCH = (
    "search", "--space", "small.yaml", "--backbone", "mynet:make", "--backbone", "resnet18", "--trials", "4",
    "--budget-gflops", "9", "--confirm", "0", "--name", "mine", "--json",
)  # fmt: skip


def environment() -> dict[str, str]:
    """No settings of the user's, and octnas from this checkout."""
    dropped = ("OCTNAS_HOME", "MLFLOW_TRACKING_URI", "PYTHONPATH")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return {**kept, "PYTHONPATH": str(TESTS.parent)}


def command(*arguments: str) -> list[str]:
    """The command without the working directory on Python's path, as its console script runs."""
    program = "import sys; del sys.path[0]; from octnas import cli; cli.main()"
    return [sys.executable, "-c", program, *arguments]


def octnas(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("user")
    for name, text in {"mynet.py": NETWORK, "blocks.py": BLOCKS, "small.yaml": SPACE}.items():
        (path / name).write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def result(folder: Path) -> Any:
    """What resuming the search printed, which was killed when its first trial was complete."""
    process = subprocess.Popen(
        command(*SEARCH),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = folder / "octnas-runs" / "mine" / "journal.jsonl"
    while process.poll() is None and not (journal.is_file() and '"state":"complete"' in journal.read_text()):
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = octnas(folder, "resume", "mine", "--json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def test_a_search_over_a_users_network_and_ours_ends_with_trials_of_both(result: Any) -> None:
    trials = [trial for trial in result["trials"] if trial["yardstick"] is None]
    assert len(trials) == 4
    assert all(trial["state"] in ("complete", "stopped") for trial in result["trials"])
    assert {trial["backbone"] for trial in result["trials"]} == {"mynet:make", "resnet18"}
    assert result["networks"] == [{"backbone": "mynet:make", "proxy_width": 0.5, "proxy_input": "1x32x32"}]


def test_a_trial_is_costed_and_trained_by_its_name(folder: Path, result: Any) -> None:
    trial = next(each for each in result["trials"] if each["backbone"] == "mynet:make")
    costed = octnas(folder, "cost", f"mine:{trial['id']}", "--verify", "--json")
    assert costed.returncode == 0, costed.stderr
    document = json.loads(costed.stdout)
    assert document["gflops"] == trial["gflops"]
    assert document["verify"]["equal"]
    trained = octnas(folder, "train", "mine", "--trial", trial["id"], "--scale", "proxy", "--json")
    assert trained.returncode == 0, trained.stderr
    report = json.loads(trained.stdout)
    assert Path(report["checkpoint"]).is_file()
    if trial["state"] == "complete":
        assert report["accuracy"] == pytest.approx(trial["accuracy"], abs=0.02)


def test_another_network_under_the_name_is_refused(folder: Path, result: Any) -> None:
    (folder / "blocks.py").write_text(BLOCKS.replace("3, padding=1", "5, padding=2"), encoding="utf-8")
    try:
        for arguments in (
            ("resume", "mine"),
            ("train", "mine", "--best"),
            ("export", "mine", "--best", "--to", "x"),
        ):
            done = octnas(folder, *arguments)
            assert done.returncode == 2
            assert done.stderr.splitlines()[-1].startswith(
                "octnas: mynet:make must be the network that 'mine' began with"
            )
        listed = json.loads(octnas(folder, "list", "--json").stdout)["searches"]
        assert [(each["name"], each["state"]) for each in listed] == [("mine", "complete")]
    finally:
        (folder / "blocks.py").write_text(BLOCKS, encoding="utf-8")


SHIPS = """\
import json
import sys

import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
sys.path.insert(0, sys.argv[1])  # too late for workers to know of it

import octnas

result = octnas.search("small.yaml", budget_gflops=0.05, trials=1, confirm=0, name="far")
print(json.dumps([[trial.architecture.backbone, trial.state.value, trial.reason] for trial in result.trials]))
ray.shutdown()
"""


def test_workers_that_have_none_of_the_users_files_get_their_code(folder: Path, tmp_path: Path) -> None:
    # a Ray that runs already, as a cluster's does, and was told nothing of where the network is
    space = SPACE.replace("backbones: [resnet18]", "backbones: [mynet:make]")
    (tmp_path / "small.yaml").write_text(space, encoding="utf-8")
    (tmp_path / "ships.py").write_text(SHIPS, encoding="utf-8")
    command = [sys.executable, "ships.py", str(folder)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout.splitlines()[-1])
    assert trials
    assert {(backbone, state) for backbone, state, _ in trials} == {("mynet:make", "complete")}
