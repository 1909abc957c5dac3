"""The way through with clips, by the command line: search, front, train, export, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from onnxruntime import InferenceSession

from octnas.architecture import Architecture
from octnas.cli import main
from octnas.costs import cost
from octnas.data import load_clips

TESTS = Path(__file__).parents[1]
SHAPE = (1, 4, 16, 16)
SPACE = """\
name: moves
description: a 2D and a 3D backbone on clips, trained for a moment
granularity: stage
alphas: [0, 0.5]
backbones: [resnet10, i3d_resnet10]
budget_gflops: 0.01
target: {input_size: 16, frames: 4, channels: 1, classes: 8, width: 8, stem: small}
proxy:
  data: clips-motion
  width: 4
  stem: small
  input_size: 16
  frames: 4
  train_images: 128
  val_images: 100
  steps: 8
  evaluations: 2
  batch_size: 32
  rungs: {min_epochs: 2}
"""


def environment() -> dict[str, str]:
    """No settings of the user's, and octnas from this checkout."""
    dropped = ("OCTNAS_HOME", "MLFLOW_TRACKING_URI", "PYTHONPATH")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}


@dataclass(frozen=True)
class Place:
    """A working directory in which commands run."""

    path: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "octnas", *arguments]
        done = subprocess.run(
            command, cwd=self.path, env=environment(), capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        return done

    def octnas(self, *arguments: str) -> tuple[Any, str]:
        """The JSON document of `octnas ... --json`, and what it said beside that."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    path = tmp_path_factory.mktemp("user")
    (path / "moves.yaml").write_text(SPACE, encoding="utf-8")
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 8)):
        for number in range(count):
            folder = path / "volumes" / split / f"class {number % 8}"
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{number}.npy", rng.integers(0, 255, (6, 20, 18), dtype=np.uint8))
    return Place(path)


@pytest.fixture(scope="module")
def searched(place: Place) -> tuple[Any, str]:
    """What the one search of this file printed, and said: without a budget of the user's."""
    return place.octnas(
        "search", "--space", "moves.yaml", "--trials", "4", "--confirm", "0", "--name", "mine"
    )


@pytest.fixture(scope="module")
def winner(searched: tuple[Any, str]) -> Any:
    """A candidate of 3D."""
    result, _ = searched
    return next(each for each in result["trials"] if each["dims"] == 3 and each["yardstick"] is None)


@pytest.fixture(scope="module")
def trained(place: Place, winner: Any) -> Any:
    return place.octnas("train", "mine", "--trial", winner["id"], "--scale", "full", "--epochs", "1")[0]


@pytest.fixture(scope="module")
def exported(place: Place, winner: Any, trained: Any) -> Any:
    return place.octnas("export", "mine", "--trial", winner["id"], "--to", "model")[0]


@pytest.fixture(scope="module")
def runs(place: Place, exported: Any) -> dict[str, list[Run]]:
    client = MlflowClient(f"sqlite:///{place.path / 'mlflow.db'}")
    found: dict[str, list[Run]] = {}
    for run in client.search_runs([each.experiment_id for each in client.search_experiments()]):
        found.setdefault(run.data.tags["octnas.kind"], []).append(run)
    return found


def test_the_search_takes_the_budget_of_the_space_and_says_so(searched: tuple[Any, str]) -> None:
    result, said = searched
    assert result["budget_gflops"] == 0.01
    assert "budget 0.01 GFLOPs (10^9 multiply-adds), the space's own, resnet10, i3d_resnet10" in said
    assert "data clips-motion as 1x4x16x16" in said


def test_trials_of_both_dimensions_count_all_frames(searched: tuple[Any, str]) -> None:
    result, _ = searched
    assert Counter(each["yardstick"] is None for each in result["trials"]) == {True: 4, False: 2}
    assert {(each["backbone"], each["dims"]) for each in result["trials"]} == {
        ("resnet10", 2), ("i3d_resnet10", 3),
    }  # fmt: skip
    for each in result["trials"]:
        architecture = Architecture(
            backbone=each["backbone"], low_channels=tuple(each["low_channels"]), downsample="pooled",
            width=8, stem="small",
        )  # fmt: skip
        assert architecture.digest == each["digest"]
        assert each["gflops"] == cost(architecture, SHAPE, 8).gflops
        assert each["state"] == "complete"
        # scored on all 4,000 validation clips
        assert each["accuracy"] * 4000 == pytest.approx(round(each["accuracy"] * 4000), abs=1e-6)


def test_the_front_tells_them_apart(place: Place, searched: tuple[Any, str]) -> None:
    result, _ = searched
    assert place.octnas("front", "mine", "--html", "page.html")[0] == result
    table = place.run("front", "mine").stdout
    head = next(line for line in table.splitlines() if "GFLOPs" in line and "backbone" in line)
    assert "dims" in head
    assert "validation clips" in " ".join(table.split())
    assert "i3d_resnet10 (3D)" in (place.path / "page.html").read_text(encoding="utf-8")
    with (place.path / "octnas-runs" / "mine" / "trials.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: row["dims"] for row in csv.DictReader(file)}
    assert rows == {each["id"]: str(each["dims"]) for each in result["trials"]}


def test_the_winner_is_trained_on_all_clips(trained: Any) -> None:
    assert (trained["scale"], trained["epochs"], trained["input_shape"]) == ("full", 1, [1, 4, 16, 16])
    assert 0 <= trained["test_accuracy"] <= 1
    assert trained["peak_memory_mb"] > 50


def test_the_exported_files_take_clips(place: Place, winner: Any, trained: Any, exported: Any) -> None:
    assert (exported["training"], exported["input_shape"]) == ("full", [1, 4, 16, 16])
    assert exported["accuracy"] == pytest.approx(trained["accuracy"], abs=1e-9)
    assert exported["accuracy_after_reload"] == pytest.approx(exported["accuracy"], abs=1e-3)
    assert 0 <= exported["max_abs_difference"] < 1e-3
    data = load_clips("clips-motion", frames=4, size=16)
    session = InferenceSession(place.path / "model" / "model.onnx")
    right = 0
    for clips, labels in data.val.batches(500):
        (logits,) = session.run(None, {"images": (clips.float() / 255).contiguous().numpy()})
        right += int((logits.argmax(1) == labels.numpy()).sum())
    assert right / len(data.val) == pytest.approx(exported["accuracy"], abs=1e-3)
    card = (place.path / "model" / "README.md").read_text(encoding="utf-8")
    assert "1 x 4 frames x 16 x 16 px in, 8 classes out" in card
    assert "(batch, 1, 4, 16, 16)" in card
    assert "per clip" in card
    assert "4,000 validation and 4,000 test clips" in card
    assert json.loads((place.path / "model" / "architecture.json").read_text())["backbone"] == "i3d_resnet10"


def test_mlflow_has_the_input(place: Place, runs: dict[str, list[Run]], winner: Any, tmp_path: Path) -> None:
    (search,), (training,), (export,) = runs["search"], runs["train"], runs["export"]
    assert search.data.params["input"] == "1x4x16x16"
    assert training.data.params["input"] == "1x4x16x16"
    assert float(training.data.params["peak_memory_mb"]) > 50
    dims = {run.data.tags["octnas.trial_id"]: run.data.params["dims"] for run in runs["trial"]}
    assert dims[winner["id"]] == "3"
    assert set(dims.values()) == {"2", "3"}
    client = MlflowClient(f"sqlite:///{place.path / 'mlflow.db'}")
    (version,) = client.search_model_versions("name = 'octnas-mine'")
    assert version.run_id == export.info.run_id
    assert version.tags["octnas.input"] == "1x4x16x16"
    signature = Model.load(client.download_artifacts(version.run_id, "model", str(tmp_path))).signature
    assert signature is not None
    assert signature.inputs.inputs[0].shape == (-1, 1, 4, 16, 16)


def test_a_2d_winner_is_trained_at_target_scale_on_a_folder_and_exported(
    place: Place, searched: tuple[Any, str], runs: dict[str, list[Run]]
) -> None:
    result, _ = searched
    flat = next(each["id"] for each in result["trials"] if each["dims"] == 2)
    report, said = place.octnas(
        "train", "mine", "--trial", flat, "--scale", "target", "--epochs", "1", "--data", "volumes"
    )
    assert (report["scale"], report["input_shape"], report["test_accuracy"]) == (
        "target", [3, 4, 16, 16], None,
    )  # fmt: skip
    assert "resnet10 at 4 frames of 16 px take hours on a CPU" in said
    exported, _ = place.octnas("export", "mine", "--trial", flat, "--to", "flat")
    assert (exported["training"], exported["input_shape"]) == ("target", [3, 4, 16, 16])
    session = InferenceSession(place.path / "flat" / "model.onnx")
    pixels = np.random.default_rng(0).random((3, 3, 4, 16, 16), np.float32)
    (logits,) = session.run(None, {"images": pixels})
    (again,) = session.run(None, {"images": pixels[:, :, ::-1].copy()})
    assert logits == pytest.approx(again, abs=1e-4), "a frame-wise network does not see the order"


@pytest.fixture
def refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """The one line with which a command, in this process, refuses its input."""
    for name in ("OCTNAS_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(place.path)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["octnas", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert (end.value.code, printed.out) == (2, ""), printed.err
        (line,) = printed.err.splitlines()
        return line

    return call


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("--data", "glyphs"),
            "i3d_resnet10 is a 3D backbone and needs clips, but glyphs holds still images",
        ),
        (
            ("--data", "glyphs", "--backbone", "resnet10"),
            "space moves trains on clips of 4 frames, but glyphs",
        ),
        (("--data", "clips-moton"), "did you mean 'clips-motion'"),
        (("--space", "small-2d", "--budget-gflops", "1", "--data", "volumes"), "volumes holds clips"),
        (("--space", "small-2d"), "give --budget-gflops, --budget-ms or both"),
        (("--budget-gflops", "0.0001"), "smallest reachable cost"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    place: Place, refused: Callable[..., str], arguments: tuple[str, ...], line: str
) -> None:
    space = () if "--space" in arguments else ("--space", "moves.yaml")
    assert line in refused("search", *space, *arguments, "--name", "bad")
    assert not (place.path / "octnas-runs" / "bad").exists()
    if "0.0001" not in arguments:  # of what cannot be reached a dry run prints a report
        assert line in refused("search", *space, *arguments, "--dry-run", "--no-estimate")


def test_training_on_the_other_kind_is_refused(refused: Callable[..., str], winner: Any) -> None:
    line = refused("train", "mine", "--trial", winner["id"], "--scale", "full", "--data", "glyphs")
    assert "glyphs" in line
    assert "still images" in line
