"""The way through by the command line: search, front, train, export, a Python without octnas, delete."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from onnxruntime import InferenceSession
from stand_ins import WITHOUT_OCTNAS

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.data import load_images
from octnas.front.pareto import hypervolume, pareto_front
from octnas.record import TrialRecord, TrialState

TESTS = Path(__file__).parents[1]

SPACE = """\
name: small
description: one backbone on characters, trained for a moment
granularity: stage+layer
alphas: [0, 0.25, 0.5, 0.75]
backbones: [resnet18]
target: {input_size: 32, channels: 1, classes: 160, width: 16, stem: small}
proxy:
  data: glyphs
  width: 8
  stem: small
  input_size: 32
  train_images: 512
  val_images: 200
  steps: 12
  evaluations: 3
  batch_size: 32
"""
PLAIN = cost(Architecture.uniform("resnet18", alpha=0, width=16, stem="small"), (1, 32, 32), 160).gflops
"""The budget: the plain network just fits, so every candidate is cheaper and one of them is on the front."""

TRIAL_KEYS = {
    "id", "digest", "state", "reason", "backbone", "dims", "downsample", "low_channels", "gflops", "accuracy",
    "epochs", "seconds", "yardstick",
}  # fmt: skip

ALONE = (
    WITHOUT_OCTNAS
    + """
import json
import re
import numpy, onnxruntime, torch

with numpy.load("images.npz") as arrays:
    images, labels = arrays["images"].astype(numpy.float32) / 255, arrays["labels"]
session = onnxruntime.InferenceSession("model/model.onnx", providers=["CPUExecutionProvider"])
pt2 = torch.export.load("model/model.pt2").module()
logits = {"onnx": [], "pt2": []}
for start in range(0, len(images), 250):
    batch = images[start : start + 250]
    logits["onnx"].append(session.run(None, {"images": batch})[0])
    logits["pt2"].append(pt2(torch.from_numpy(batch)).numpy(force=True))
logits = {name: numpy.concatenate(parts) for name, parts in logits.items()}
one = session.run(None, {"images": images[:1]})[0]
assert "octnas" not in sys.modules
print(json.dumps({
    "accuracy": {name: float((each.argmax(1) == labels).mean()) for name, each in logits.items()},
    "difference": float(abs(logits["onnx"] - logits["pt2"]).max()),
    "batch of one": float(abs(one - logits["onnx"][:1]).max()),
    "scale": float(abs(logits["onnx"]).max()),
}))
"""
)

INTERRUPTED = """
import fakes
from octnas import cli, engine

search = engine.search
engine.search = lambda *args, **kwargs: search(*args, evaluate=fakes.slow, **kwargs)
cli.main()
"""


def environment() -> dict[str, str]:
    """No settings of the user's, and octnas from this checkout."""
    dropped = ("OCTNAS_HOME", "MLFLOW_TRACKING_URI", "PYTHONPATH")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}


@dataclass(frozen=True)
class Place:
    """A working directory and what each command printed there."""

    path: Path

    def octnas(self, *arguments: str) -> Any:
        """Runs `octnas ... --json`; its standard output must be one JSON document and nothing else."""
        command = [sys.executable, "-m", "octnas", *arguments, "--json"]
        done = subprocess.run(
            command, cwd=self.path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    path = tmp_path_factory.mktemp("user")
    (path / "small.yaml").write_text(SPACE, encoding="utf-8")
    return Place(path)


@pytest.fixture(scope="module")
def result(place: Place) -> Any:
    """What the one search of this file printed."""
    return place.octnas(
        "search", "--space", "small.yaml", "--budget-gflops", repr(PLAIN), "--trials", "3", "--name", "mine"
    )


@pytest.fixture(scope="module")
def training(place: Place, result: Any) -> Any:
    return place.octnas("train", "mine", "--best", "--scale", "proxy")


@pytest.fixture(scope="module")
def exported(place: Place, training: Any) -> Any:
    return place.octnas("export", "mine", "--best", "--to", "model")


@pytest.fixture(scope="module")
def runs(place: Place, exported: Any) -> dict[str, list[Run]]:
    """All runs in MLflow by kind, when everything is done."""
    client = MlflowClient(f"sqlite:///{place.path / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    found: dict[str, list[Run]] = {}
    for run in client.search_runs(experiments):
        assert run.data.tags["octnas.search"] == "mine"
        found.setdefault(run.data.tags["octnas.kind"], []).append(run)
    return found


def test_the_search_trains_three_candidates_and_a_yardstick(result: Any) -> None:
    assert {"name", "budget_gflops", "hypervolume", "front", "trials"} <= result.keys()
    assert (result["name"], result["budget_gflops"]) == ("mine", PLAIN)
    trials = result["trials"]
    assert all(trial.keys() >= TRIAL_KEYS for trial in trials)
    assert Counter(trial["yardstick"] for trial in trials) == {None: 3, "plain-pooled": 1}
    assert len({trial["digest"] for trial in trials}) == 4
    for trial in trials:
        assert isinstance(trial["id"], str)
        assert (trial["backbone"], trial["dims"], trial["downsample"]) == ("resnet18", 2, "pooled")
        architecture = Architecture(
            backbone="resnet18", low_channels=tuple(trial["low_channels"]), downsample="pooled", width=16,
            stem="small",
        )  # fmt: skip
        assert architecture.digest == trial["digest"]
        assert trial["gflops"] == cost(architecture, (1, 32, 32), 160).gflops <= PLAIN
        assert trial["state"] in ("complete", "stopped")
        assert trial["epochs"] == 3 or trial["state"] == "stopped"
        assert 0 <= trial["accuracy"] <= 1
        assert trial["seconds"] > 0
        if trial["state"] == "complete":  # scored on all 8,000 validation images
            assert trial["accuracy"] * 8000 == pytest.approx(round(trial["accuracy"] * 8000), abs=1e-6)


def test_the_front_is_what_no_trial_beats(result: Any) -> None:
    records = [
        TrialRecord(
            id=trial["id"],
            architecture=Architecture.uniform("resnet18", alpha=0),
            state=TrialState(trial["state"]),
            gflops=trial["gflops"],
            params=1,
            accuracy=trial["accuracy"],
            reason=trial["reason"],
        )
        for trial in result["trials"]
    ]
    assert result["front"] == [each.id for each in pareto_front(records, PLAIN)]
    assert result["hypervolume"] == hypervolume(records, PLAIN)
    complete = [trial for trial in result["trials"] if trial["state"] == "complete"]
    for trial in complete:
        beaten = any(
            other["gflops"] <= trial["gflops"]
            and other["accuracy"] >= trial["accuracy"]
            and (other["gflops"], other["accuracy"]) != (trial["gflops"], trial["accuracy"])
            for other in complete
        )
        assert beaten is (trial["id"] not in result["front"])
    best = next(trial for trial in complete if trial["id"] == result["best"])
    assert best["yardstick"] is None


def test_front_list_and_resume_agree_with_the_search(place: Place, result: Any) -> None:
    assert place.octnas("front", "mine", "--html", "page.html") == result
    page = (place.path / "page.html").read_text(encoding="utf-8")
    assert re.findall(r'data-trial="(\w+)"', page) == [trial["id"] for trial in result["trials"]]
    assert 'src="http' not in page
    (listed,) = place.octnas("list")["searches"]
    assert (listed["name"], listed["state"], listed["trials"], listed["finished"]) == (
        "mine",
        "complete",
        4,
        4,
    )
    assert place.octnas("resume", "mine") == result


def test_the_search_leaves_its_folder_and_its_store_and_nothing_else(place: Place, exported: Any) -> None:
    assert {path.name for path in place.path.iterdir()} - {"page.html", "images.npz"} == {
        "small.yaml", "octnas-runs", "mlflow.db", "mlruns", "model",
    }  # fmt: skip
    assert {path.name for path in (place.path / "octnas-runs").iterdir()} == {"mine"}


def test_the_training_of_the_winner_repeats_the_search(place: Place, result: Any, training: Any) -> None:
    assert {"scale", "epochs", "accuracy", "test_accuracy", "checkpoint"} <= training.keys()
    assert (training["scale"], training["epochs"]) == ("proxy", 3)
    assert (place.path / training["checkpoint"]).is_file()
    best = next(trial for trial in result["trials"] if trial["id"] == result["best"])
    # The same seed and steps: equal but for the number format in which the search scored.
    assert training["accuracy"] == pytest.approx(best["accuracy"], abs=0.005)
    assert 0 <= training["test_accuracy"] <= 1


def test_the_export_reports_what_it_wrote(place: Place, result: Any, training: Any, exported: Any) -> None:
    assert {
        "dir", "files", "accuracy", "accuracy_after_reload", "max_abs_difference", "training",
    } <= exported.keys()  # fmt: skip
    assert exported["training"] == "proxy"
    assert {"onnx", "pt2", "weights", "architecture", "card"} <= exported["files"].keys()
    assert {key: Path(path).name for key, path in exported["files"].items()}.items() >= {
        ("onnx", "model.onnx"),
        ("pt2", "model.pt2"),
        ("weights", "weights.safetensors"),
        ("architecture", "architecture.json"),
        ("card", "README.md"),
    }
    assert all((place.path / path).stat().st_size > 0 for path in exported["files"].values())
    assert exported["accuracy"] == pytest.approx(training["accuracy"], abs=1e-9)
    assert exported["accuracy_after_reload"] == pytest.approx(exported["accuracy"], abs=1e-3)
    assert 0 <= exported["max_abs_difference"] < 1e-3
    best = next(trial for trial in result["trials"] if trial["id"] == result["best"])
    architecture = Architecture.from_json((place.path / "model" / "architecture.json").read_text())
    assert (architecture.width, architecture.stem) == (8, "small")
    assert [2 * low for low in architecture.low_channels] == best["low_channels"]


def test_the_files_run_in_a_python_without_octnas(place: Place, exported: Any) -> None:
    validation = load_images("glyphs").val
    np.savez(
        place.path / "images.npz",
        images=validation.images.transpose(0, 3, 1, 2),  # type: ignore[attr-defined]
        labels=validation.labels,
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE], cwd=place.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    for name in ("onnx", "pt2"):
        assert seen["accuracy"][name] == pytest.approx(exported["accuracy"], abs=1e-3), name
    assert seen["difference"] <= 1e-4 * seen["scale"]
    assert seen["batch of one"] <= 1e-4 * seen["scale"]


def test_mlflow_has_a_run_of_each_kind_for_each_thing_done(runs: dict[str, list[Run]], result: Any) -> None:
    assert {kind: len(found) for kind, found in runs.items()} == {
        "search": 1, "trial": 4, "train": 1, "export": 1,
    }  # fmt: skip
    (parent,) = runs["search"]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["space"] == "small"
    assert float(parent.data.params["budget_gflops"]) == PLAIN
    assert parent.data.metrics["hypervolume"] == pytest.approx(result["hypervolume"])
    for kind in ("trial", "train", "export"):
        for run in runs[kind]:
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    by_id = {run.data.tags["octnas.trial_id"]: run for run in runs["trial"]}
    assert by_id.keys() == {trial["id"] for trial in result["trials"]}
    for trial in result["trials"]:
        run = by_id[trial["id"]]
        assert run.data.tags["octnas.state"] == trial["state"]
        assert run.data.tags.get("octnas.yardstick") == trial["yardstick"]
        assert run.data.metrics["gflops"] == pytest.approx(trial["gflops"])
        assert run.data.metrics["accuracy"] == pytest.approx(trial["accuracy"])
    for kind in ("train", "export"):
        assert runs[kind][0].data.tags["octnas.trial_id"] == result["best"]


def test_mlflow_has_the_front_as_a_table_and_as_pictures(
    place: Place, runs: dict[str, list[Run]], result: Any, tmp_path: Path
) -> None:
    client = MlflowClient(f"sqlite:///{place.path / 'mlflow.db'}")
    (parent,) = runs["search"]
    names = {each.path for each in client.list_artifacts(parent.info.run_id)}
    assert {"front.csv", "trials.csv", "front.html", "front.png", "space.yaml"} <= names
    content = {
        name: Path(client.download_artifacts(parent.info.run_id, name, str(tmp_path))).read_bytes()
        for name in ("front.csv", "front.html", "front.png")
    }
    rows = list(csv.DictReader(io.StringIO(content["front.csv"].decode())))
    assert [row["id"] for row in rows] == result["front"]
    assert content["front.png"].startswith(b"\x89PNG")
    page = content["front.html"].decode()
    assert {trial.data.tags["octnas.trial_id"] for trial in runs["trial"]} == set(
        re.findall(r'data-trial="(\w+)"', page)
    )
    assert all(trial.info.run_id in page for trial in runs["trial"])  # the link to each
    for trial in runs["trial"]:
        text = client.download_artifacts(trial.info.run_id, "architecture.json", str(tmp_path))
        architecture = Architecture.from_json(Path(text).read_text(encoding="utf-8"))
        assert architecture.digest == trial.data.tags["octnas.digest"]
        curve = client.get_metric_history(trial.info.run_id, "accuracy")
        assert [point.step for point in curve] == list(range(1, len(curve) + 1))


def test_mlflow_has_the_model_with_its_signature(
    place: Place, runs: dict[str, list[Run]], tmp_path: Path
) -> None:
    client = MlflowClient(f"sqlite:///{place.path / 'mlflow.db'}")
    (version,) = client.search_model_versions("name = 'octnas-mine'")
    assert version.run_id == runs["export"][0].info.run_id
    folder = client.download_artifacts(version.run_id, "model", str(tmp_path))
    signature = Model.load(folder).signature
    assert signature is not None
    (images,), (logits,) = signature.inputs.inputs, signature.outputs.inputs
    assert (images.shape, images.type) == ((-1, 1, 32, 32), np.dtype("float32"))
    assert (logits.shape, logits.type) == ((-1, 160), np.dtype("float32"))
    pixels = np.random.default_rng(0).random((3, 1, 32, 32), np.float32)
    registered, written = (
        InferenceSession(path / "model.onnx").run(None, {"images": pixels})[0]
        for path in (Path(folder), place.path / "model")
    )
    assert np.array_equal(registered, written)


def test_delete_forgets_the_search_and_keeps_its_records(place: Place, runs: dict[str, list[Run]]) -> None:
    # Last in this file: what it deletes is the search of all other tests.
    assert place.octnas("delete", "mine") == {"deleted": "mine"}
    assert place.octnas("list") == {"searches": []}
    assert not any((place.path / "octnas-runs").iterdir())
    client = MlflowClient(f"sqlite:///{place.path / 'mlflow.db'}")
    assert client.get_run(runs["search"][0].info.run_id).info.status == "FINISHED"


def test_ctrl_c_exits_with_130_and_the_line_that_resumes(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SPACE, encoding="utf-8")
    arguments = ["search", "--space", "small.yaml", "--budget-gflops", "0.03", "--trials", "200"]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *arguments, "--name", "long", "--json"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    journal = tmp_path / "octnas-runs" / "long" / "journal.jsonl"
    until = time.monotonic() + 300
    while not journal.exists() or '"state":"complete"' not in journal.read_text(encoding="utf-8"):
        assert process.poll() is None, "the search ended too early"
        assert time.monotonic() < until, "no trial ended"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    out, err = process.communicate(timeout=200)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith("octnas resume long")
