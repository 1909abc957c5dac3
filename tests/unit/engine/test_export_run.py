"""Which weights an export takes, and what it tells the registry."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from octnas.architecture import Architecture
from octnas.data import ImageSet, MemorySplit
from octnas.engine import export_latency
from octnas.engine.export_run import export_run, export_text, training_folder
from octnas.errors import ExportError, RunError
from octnas.export import ExportReport
from octnas.nn import OctaveNetwork, build
from octnas.record import RunFolder, SearchHeader, TrialRecord, TrialState
from octnas.space import SearchSpace, load_space
from octnas.train import save_weights


def images(
    name: str,
    size: int | None = None,
    channels: int | None = None,
    frames: int | None = None,
    sampling: str = "uniform",
    frame_stride: int = 2,
) -> ImageSet:
    """In place of `load_data`: four images, whose fingerprint tells what was asked for."""
    side = size or 32
    pixels = np.random.default_rng(0).integers(0, 255, (4, side, side, channels or 1), dtype=np.uint8)
    split = MemorySplit(images=pixels, labels=np.arange(4), size=side, channels=channels or 1)
    return ImageSet(
        name=name,
        classes=("a", "b", "c", "d"),
        channels=channels or 1,
        size=side,
        train=split,
        val=split,
        test=None,
        fingerprint=f"{name}-{side}",
        licence="public domain",
        origin="drawn by seed 0",
        flip=False,
        mean=(0.5,) * (channels or 1),
        std=(0.25,) * (channels or 1),
    )


class Exporter:
    """In place of `export_model`: remembers what it was given."""

    def __call__(self, network: OctaveNetwork, *, to: Path, **kwargs: Any) -> ExportReport:
        self.network, self.kwargs = network, kwargs
        timings = kwargs["timed"](to / "model.onnx")
        card = to.with_name("card.md")  # not in the folder, which so may be asked for again
        card.write_text("the card", encoding="utf-8")
        return ExportReport(
            dir=to,
            files={"onnx": to / "model.onnx", "card": card},
            accuracy=0.5,
            accuracy_after_reload=0.25,
            max_abs_difference=1e-6,
            images=4,
            training=kwargs["provenance"].training,
            epochs=kwargs["provenance"].epochs,
            input_shape=kwargs["example_shape"],
            gflops=0.01,
            latency=timings.network,
            target_latency=timings.target,
        )


@dataclasses.dataclass(frozen=True)
class Timed:
    """In place of a measured latency: what was asked for, and that it is `ratio` of its plain twin's."""

    architecture: Architecture
    asked: dict[str, Any]
    ratio: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "device": "a processor",
            "runtime": "onnxruntime",
            "threads": 1,
            "batch": 1,
            "latency_ms": 10 * self.ratio,
            "plain_latency_ms": 10.0,
            "ratio": self.ratio,
            "flops_ratio": 0.5,
            "precision": "float32",
            "versions": {"onnxruntime": "1.0"},
            "slower": self.ratio > 1,
            "shape": self.asked["input_shape"],
            "classes": self.asked["num_classes"],
            "digest": self.architecture.digest,
        }


class Listener:
    """In place of MLflow's tracker."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def log_export(self, *args: Any, **kwargs: Any) -> str:
        self.calls.append(("log_export", args, kwargs))
        return "run-7"

    def register(self, *args: Any, **kwargs: Any) -> str:
        self.calls.append(("register", args, kwargs))
        return "1"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Exporter:
    stand_in, module = Exporter(), sys.modules[export_run.__module__]
    monkeypatch.setattr(module, "export_model", stand_in)
    monkeypatch.setattr(module, "load_data", images)
    monkeypatch.setattr(export_latency, "file_latency", lambda _, arch, **asked: Timed(arch, asked, 1.25))
    monkeypatch.setattr(export_latency, "latency", lambda arch, **asked: Timed(arch, asked, 0.5))
    return stand_in


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space("small-2d")


@pytest.fixture
def run(space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A finished search of one complete and one stopped trial; the complete one has its proxy weights."""
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    header = SearchHeader(
        name="one",
        space="small-2d",
        space_yaml=space.to_yaml(),
        budget_gflops=0.05,
        trials=2,
        seed=3,
        data="drawn",
        data_fingerprint=f"drawn-{space.proxy.input_size}",
    )
    run = RunFolder.create("one", header)
    architecture = space.uniform("resnet18", "1/2", "pooled")
    record = TrialRecord(
        id="1",
        architecture=architecture,
        state=TrialState.COMPLETE,
        gflops=space.gflops(architecture),
        params=1,
        accuracy=0.75,
        epochs=6,
        seed=3,
    )
    run.journal.append_trial(record)
    run.journal.append_trial(dataclasses.replace(record, id="2", state=TrialState.STOPPED))
    run.journal.release()
    torch.save({"network": network_of(run, seed=1).state_dict()}, run.checkpoint("1"))
    return run


def network_of(run: RunFolder, seed: int, *, target: bool = False, channels: int = 1) -> OctaveNetwork:
    space = load_space("small-2d")
    architecture = run.record("1").architecture
    torch.manual_seed(seed)
    return build(architecture if target else space.proxy_architecture(architecture), 4, channels)


def train(run: RunFolder, scale: str, seed: int, **changes: Any) -> OctaveNetwork:
    """What `octnas train --scale SCALE` leaves behind."""
    at_target = scale == "target"
    network = network_of(run, seed, target=at_target, channels=3 if at_target else 1)
    folder = training_folder(run, "1", scale)
    save_weights(network, folder / "weights.safetensors")
    facts = {
        "architecture": json.loads(network.architecture.to_json()),
        "epochs": 24,
        "seed": seed,
        "accuracy": 0.875,
        "test_accuracy": 0.625,
        "data_source": "drawn",
        "input_size": 40,
        "channels": 3 if at_target else 1,
        "data_fingerprint": "drawn-40",
        **changes,
    }
    (folder / "training.json").write_text(json.dumps(facts), encoding="utf-8")
    return network


def same(network: OctaveNetwork, other: OctaveNetwork) -> bool:
    state = other.state_dict()
    return network.architecture == other.architecture and all(
        torch.equal(value, state[name]) for name, value in network.state_dict().items()
    )


def test_the_best_training_so_far_is_taken(run: RunFolder, exporter: Exporter, tmp_path: Path) -> None:
    report = export_run(run, "1", tmp_path / "out", None)
    assert report.training == "proxy"
    assert same(exporter.network, network_of(run, seed=1))
    assert exporter.kwargs["provenance"].epochs == 6
    assert exporter.kwargs["provenance"].accuracy == 0.75
    for scale, seed, words in (("proxy", 2, "proxy training"), ("full", 3, "full"), ("target", 4, "target")):
        trained = train(run, scale, seed)
        report = export_run(run, "1", tmp_path / "out", None)
        assert report.training == scale
        assert same(exporter.network, trained)
        assert exporter.kwargs["example_shape"] == ((3 if scale == "target" else 1), 40, 40)
        assert exporter.kwargs["provenance"].test_accuracy == 0.625
        first = export_text(report.to_dict()).splitlines()[0]
        assert first.startswith("exported with the weights of the ")
        assert words in first


def test_weights_that_were_given_are_told(run: RunFolder, exporter: Exporter, tmp_path: Path) -> None:
    export_run(run, "1", tmp_path / "out", None)
    assert exporter.kwargs["provenance"].begun_from is None
    header = dataclasses.replace(run.header, options={"init": "torchvision"})
    export_run(RunFolder(run.path, header), "1", tmp_path / "out", None)
    assert exporter.kwargs["provenance"].begun_from == "torchvision's weights"
    train(run, "full", 3, epochs=0, init="/home/me/secret/ten.pth")
    report = export_run(run, "1", tmp_path / "out", None)
    assert exporter.kwargs["provenance"].begun_from == "ten.pth"
    assert export_text(report.to_dict()).startswith(
        "exported with the weights that were given to the proxy network and not trained to "
    )


def test_the_card_is_told_the_targets_cost(
    run: RunFolder, exporter: Exporter, space: SearchSpace, tmp_path: Path
) -> None:
    export_run(run, "1", tmp_path / "out", None)
    provenance = exporter.kwargs["provenance"]
    assert provenance.target_gflops == pytest.approx(space.gflops(run.record("1").architecture))
    assert provenance.budget_gflops == 0.05
    assert (provenance.search, provenance.trial, provenance.seed) == ("one", "1", 3)


@pytest.mark.usefixtures("exporter")
def test_the_exported_network_and_the_target_are_both_timed(
    run: RunFolder, space: SearchSpace, tmp_path: Path
) -> None:
    tracker = Listener()
    report = export_run(run, "1", tmp_path / "out", tracker).to_dict()
    winner, target = run.record("1").architecture, space.target
    side = target.input_size
    assert report["latency"]["digest"] == space.proxy_architecture(winner).digest
    assert (report["latency"]["shape"], report["latency"]["classes"]) == ((1, 32, 32), 4)
    assert report["target_latency"]["digest"] == winner.digest
    assert report["target_latency"]["shape"] == (target.channels, side, side)
    assert report["target_latency"]["classes"] == target.classes
    text = export_text(report)
    assert "this network: 12.5 ms, 1.250 of its plain network's 10 ms, at 0.500 of its FLOPs" in text
    assert "fewer FLOPs, slower: 0.500 of the plain network's FLOPs take 1.250 of its time" in text
    assert "the target network: 5 ms, 0.500 of its plain network's 10 ms" in text
    assert text.count("slower") == 1
    (_, _, facts), (_, _, version) = tracker.calls
    assert facts["metrics"]["latency_ms"] == 12.5
    assert facts["metrics"]["latency_ratio"] == 1.25
    assert facts["metrics"]["plain_latency_ms"] == facts["metrics"]["target_plain_latency_ms"] == 10
    assert facts["metrics"]["target_latency_ms"] == 5
    assert facts["tags"] == {
        "octnas.device": "a processor",
        "octnas.runtime": "onnxruntime, float32, threads 1, batch 1",
        "octnas.versions": "onnxruntime 1.0",
        "octnas.slower_than_plain": "true",
        "octnas.target_slower_than_plain": "false",
    }
    assert facts["tags"].items() <= version["tags"].items()


def test_a_target_is_timed_once(run: RunFolder, space: SearchSpace, tmp_path: Path) -> None:
    winner, target = run.record("1").architecture, space.target
    at_target = dataclasses.replace(
        images("x", target.input_size, target.channels), classes=tuple(map(str, range(target.classes)))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_latency, "file_latency", lambda _, arch, **asked: Timed(arch, asked, 0.75))
        once = export_latency.timings(tmp_path / "model.onnx", winner, at_target, winner, target)
        assert once.network["latency_ms"] == 7.5
        assert once.target is None
        # other classes are another head: not the network that a budget is about
        patch.setattr(export_latency, "latency", lambda arch, **asked: Timed(arch, asked, 0.5))
        few = dataclasses.replace(at_target, classes=("a", "b"))
        both = export_latency.timings(tmp_path / "model.onnx", winner, few, winner, target)
        assert both.target is not None
        assert both.target["classes"] == target.classes


def test_an_unfinished_training_is_not_taken(run: RunFolder, exporter: Exporter, tmp_path: Path) -> None:
    train(run, "full", 3)
    (training_folder(run, "1", "full") / "training.json").unlink()
    assert export_run(run, "1", tmp_path / "out", None).training == "proxy"


@pytest.mark.usefixtures("exporter")
def test_the_model_is_registered_with_its_signature(run: RunFolder, tmp_path: Path) -> None:
    tracker = Listener()
    export_run(run, "1", tmp_path / "out", tracker)
    (_, logged, facts), (name, registered, version) = tracker.calls
    assert logged == (run.header, run.record("1"))
    assert facts["training"] == "proxy"
    assert facts["metrics"]["accuracy_after_reload"] == 0.25
    assert (name, registered) == ("register", ("octnas-one", tmp_path / "out" / "model.onnx"))
    assert version["run_id"] == "run-7"
    assert (version["inputs"].shape[1:], version["outputs"].shape[1:]) == ((1, 32, 32), (4,))
    assert version["inputs"].dtype == version["outputs"].dtype == np.float32
    assert version["tags"]["octnas.trial_id"] == "1"
    assert (version["tags"]["octnas.training"], version["tags"]["octnas.backbone"]) == ("proxy", "resnet18")
    assert version["card"] == "the card"
    assert version["alias"] == "best", "it is the search's best candidate"


@pytest.mark.usefixtures("exporter")
def test_a_trial_without_weights_says_how_to_get_some(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"trial 2 \(stopped\) of 'one' has no weights: .* --trial 2"):
        export_run(run, "2", tmp_path / "out", None)
    # The checkpoint of a paused trial is half a training, of which nothing was said.
    paused = dataclasses.replace(run.record("1"), id="3", state=TrialState.PAUSED)
    run.journal.append_trial(paused)
    shutil.copy(run.checkpoint("1"), run.checkpoint("3"))
    with pytest.raises(ExportError, match=r"trial 3 \(paused\) of 'one' has no weights"):
        export_run(run, "3", tmp_path / "out", None)
    with pytest.raises(RunError, match="no trial '9'"):
        export_run(run, "9", tmp_path / "out", None)


@pytest.mark.usefixtures("exporter")
def test_other_images_than_those_of_the_training_are_refused(run: RunFolder, tmp_path: Path) -> None:
    train(run, "full", 3, data_fingerprint="000000000000")
    with pytest.raises(ExportError, match=r"fingerprint 000000000000\), but drawn has drawn-40"):
        export_run(run, "1", tmp_path / "out", None)


@pytest.mark.usefixtures("exporter")
def test_damaged_weights_are_named(run: RunFolder, tmp_path: Path) -> None:
    run.checkpoint("1").write_bytes(b"damaged")
    with pytest.raises(ExportError, match=r"1\.pt are damaged .* `octnas train one --trial 1`"):
        export_run(run, "1", tmp_path / "out", None)
    train(run, "full", 3)
    (training_folder(run, "1", "full") / "training.json").write_text("{")
    with pytest.raises(ExportError, match=r"training\.json is damaged .* train again"):
        export_run(run, "1", tmp_path / "out", None)


@pytest.mark.usefixtures("exporter")
def test_a_taken_folder_is_refused_before_anything_is_read(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    run.checkpoint("1").unlink()
    with pytest.raises(ExportError, match=r"holds 'thesis\.tex'"):
        export_run(run, "1", tmp_path / "out", None)


@pytest.mark.usefixtures("exporter")
def test_a_trial_that_another_beats_says_why_it_has_no_weights(run: RunFolder, tmp_path: Path) -> None:
    beaten = dataclasses.replace(run.record("1"), id="7", accuracy=0.5)
    run.journal.append_trial(beaten)
    with pytest.raises(ExportError) as caught:
        export_run(run, "7", tmp_path / "out", None)
    assert str(caught.value) == (
        "no weights are kept of trial 7, which is not on the front: `octnas train one --trial 7` makes some"
    )
    run.checkpoint("1").unlink()
    with pytest.raises(ExportError, match=r"trial 1 \(complete\) of 'one' has no weights"):
        export_run(run, "1", tmp_path / "out", None)
