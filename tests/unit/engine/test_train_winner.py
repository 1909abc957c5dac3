"""Which network, images, settings and folder a winner's training takes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_run import finished_run

import octnas.engine.winner as module
from octnas.architecture import Architecture
from octnas.data import ImageSet, MemorySplit
from octnas.engine.winner import train, train_winner, training_text
from octnas.errors import RunError, UnknownNameError
from octnas.nn import build
from octnas.record import EpochScore, RunFolder, SearchHeader, TrialRecord
from octnas.space import parse_space
from octnas.train import (
    ProxyTraining,
    Scale,
    evaluate_network,
    load_weights,
    mode_of,
    save_weights,
    settings_from_proxy,
)
from octnas.train.recalibrate import calibration_batches, recalibrate

SPACE = """
name: tiny
description: one backbone
granularity: stage
alphas: [0, 0.25, 0.5, 0.75]
backbones: [resnet18]
target: {input_size: 64, channels: 1, classes: 10, width: 8, stem: imagenet}
proxy:
  {data: dots, width: 4, input_size: 16, train_images: 12, val_images: 8, epochs: 1, batch_size: 4,
   learning_rate: 0.01, rungs: {eta: 3, min_epochs: 1}}
"""


def dots(
    name: str, *, size: int, frames: int | None, sampling: str = "uniform", frame_stride: int = 2
) -> ImageSet:
    """In place of `load_data`: 24, 8 and 4 noisy images of two classes."""
    rng = np.random.default_rng(0)

    def split(count: int) -> MemorySplit:
        labels = np.arange(count) % 2
        images = (
            rng.integers(0, 120, (count, size, size, 1), dtype=np.uint8) + 100 * labels[:, None, None, None]
        )
        return MemorySplit(images=images.astype(np.uint8), labels=labels, size=size, channels=1)

    return ImageSet(
        name=Path(name).name,
        classes=("a", "b"),
        channels=1,
        size=size,
        train=split(24),
        val=split(8),
        test=split(4),
        fingerprint=f"{size}",
        licence="none",
        origin="test",
        flip=False,
        mean=(0.4,),
        std=(0.2,),
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    monkeypatch.setattr(module, "load_data", dots)
    return finished_run(SPACE)


@pytest.mark.parametrize(
    ("scale", "epochs", "width", "size"), [("proxy", 1, 4, 16), ("full", 4, 4, 16), ("target", 2, 8, 64)]
)
def test_a_scale_is_a_network_its_input_and_a_length(
    run: RunFolder, scale: Scale, epochs: int, width: int, size: int
) -> None:
    told: list[str] = []
    report = train_winner(run, "t1", scale=scale, epochs=2 if scale == "target" else None, notice=told.append)
    facts = json.loads((run.path / "trainings" / f"t1-{scale}" / "training.json").read_text())
    assert (facts["scale"], facts["epochs"], facts["input_size"]) == (scale, epochs, size)
    assert (facts["architecture"]["width"], len(facts["classes"])) == (width, 2)
    assert facts["settings"]["train_images"] == (12 if scale == "proxy" else None)
    lows = Architecture.from_json(json.dumps(facts["architecture"])).alphas
    assert lows == run.record("t1").architecture.alphas
    on_cpu = not torch.cuda.is_available()
    assert told[0].startswith(
        f"recipe: {epochs} epochs of batches of 4, AdamW, learning rate 0.01 by a cosine"
    )
    assert len(told) == 1 + (scale == "target" and on_cpu)
    assert f"{100 * report.accuracy:.2f} %" in training_text(report.to_dict())


def test_the_proxy_scale_repeats_the_trial_of_the_search(run: RunFolder) -> None:
    space = parse_space(SPACE)
    images = dots("dots", size=16, frames=None)
    training = ProxyTraining(
        space.proxy_architecture(run.record("t1").architecture),
        images,
        settings_from_proxy(space.proxy, images),
        seed=0,
    )
    score = training.run_epoch()
    report = train_winner(run, "t1", scale="proxy", seed=0)
    assert report.scores[0].loss == score.loss
    assert report.scores[0].train_loss == score.train_loss


def test_without_a_gpu_the_default_is_full(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "choose_device", lambda: torch.device("cpu"))
    assert train_winner(run, "t1", epochs=1).scale == "full"


def test_a_folder_of_images_is_recorded_with_its_path(run: RunFolder) -> None:
    train_winner(run, "t1", scale="proxy", data="./some/images")
    facts = json.loads((run.path / "trainings" / "t1-proxy" / "training.json").read_text())
    assert (facts["data"], facts["data_source"]) == ("images", "./some/images")


def test_unknown_trials_and_scales_are_named(run: RunFolder) -> None:
    with pytest.raises(RunError, match="t1"):
        train_winner(run, "t2", scale="proxy")
    with pytest.raises(UnknownNameError, match="full, proxy, target"):
        train_winner(run, "t1", scale="half")  # type: ignore[arg-type]


def test_training_the_best_is_logged_with_its_scores(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logged: list[tuple[str, str, int, float, int]] = []
    pages: list[str] = []

    class Tracker:
        def __init__(self, tracking_uri: str | None) -> None:
            assert tracking_uri == "sqlite:///elsewhere.db"

        def log_training(self, header: SearchHeader, record: TrialRecord, **values: Any) -> None:
            logged.append(
                (header.name, record.id, values["epochs"], values["accuracy"], len(values["scores"]))
            )

        def log_files(self, header: SearchHeader, files: Mapping[str, Any]) -> None:
            pages.append(files["front.html"])

    monkeypatch.setattr("octnas.record.mlflow_adapter.Tracker", Tracker)
    report = train("r", scale="full", epochs=2, tracking_uri="sqlite:///elsewhere.db")
    assert logged == [("r", "t1", 2, report["accuracy"], 2)]
    assert json.loads(json.dumps(report))["checkpoint"].endswith("t1-full/weights.safetensors")
    (page,) = pages
    assert f"<td>{100 * report['accuracy']:.2f} %<td>" in page, "in full, beside the proxy's 50.00 %"
    assert (run.path / "front.html").read_text(encoding="utf-8") == page
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line[:9] for line in captured.err.splitlines()] == ["recipe: 2", "epoch 1/2", "epoch 2/2"]


def test_a_search_without_a_complete_trial_has_no_best(run: RunFolder) -> None:
    record = dataclasses.replace(run.record("t1"), within_budget=False)
    run.journal.append({"event": "trial", "trial": record.to_dict()})
    run.journal.release()
    with pytest.raises(RunError, match="--best needs a candidate on the front, and 'r' has none"):
        train("r")


def test_epochs_0_estimates_statistics_and_evaluates(run: RunFolder, tmp_path: Path) -> None:
    """The weights of the plain network, at the trial's alphas."""
    torch.manual_seed(1)
    plain = build(
        Architecture.uniform("resnet18", alpha=0, width=4, stem="small"), num_classes=2, in_channels=1
    )
    save_weights(plain, tmp_path / "plain.safetensors")
    told: list[str] = []
    report = train_winner(
        run,
        "t1",
        scale="full",
        epochs=0,
        init=str(tmp_path / "plain.safetensors"),
        progress=lambda score, epochs: told.append("an epoch"),
        notice=told.append,
    )
    assert (report.epochs, report.scores, told) == (0, (), [])
    images = dots("dots", size=16, frames=None)
    settings = settings_from_proxy(parse_space(SPACE).proxy, images)
    mode = mode_of(settings)
    proxy = parse_space(SPACE).proxy_architecture(run.record("t1").architecture)
    network = build(proxy, num_classes=2, in_channels=1).to(memory_format=torch.channels_last)
    network.load_state_dict(plain.state_dict())
    recalibrate(network, calibration_batches(images.train, images, mode), mode=mode)
    mode = dataclasses.replace(mode, precision="fp32")
    accuracy, loss = evaluate_network(network, images.val, mean=images.mean, std=images.std, mode=mode)
    assert report.accuracy == pytest.approx(accuracy, abs=0.13)  # one of 8, where the sums are bfloat16's
    assert report.loss == pytest.approx(loss, rel=0.01)
    kept = build(proxy, num_classes=2, in_channels=1)
    load_weights(kept, report.checkpoint)
    assert all(torch.equal(kept.get_parameter(name), value) for name, value in plain.named_parameters())
    assert json.loads((report.checkpoint.parent / "training.json").read_text())["init"] == report.init
    assert training_text(report.to_dict()).splitlines()[0] == (
        "the proxy network, not trained, its batch-norm statistics are of dots, "
        f"begun from {tmp_path / 'plain.safetensors'}, seed 0"
    )


def test_a_training_begins_from_the_weights_that_its_search_was_given(run: RunFolder) -> None:
    given = RunFolder(run.path, dataclasses.replace(run.header, options={"init": "torchvision"}))
    torch.manual_seed(1)
    wide = build(Architecture.uniform("resnet18", alpha=0, width=4, stem="small"), num_classes=3)
    (run.path / "init").mkdir()
    save_weights(wide, run.path / "init" / "resnet18.safetensors")
    told: list[str] = []
    report = train_winner(given, "t1", scale="full", epochs=1, notice=told.append)
    assert report.init == "torchvision"
    assert "1 epochs of dots, begun from torchvision's weights, seed 0" in training_text(report.to_dict())
    assert [line.partition(" ")[0] for line in told] == [
        "resnet18.safetensors:",
        "resnet18.safetensors",
        "recipe:",
    ]
    scratch = train_winner(given, "t1", scale="full", epochs=1, init="scratch")
    assert scratch.init == "scratch"
    assert "begun from" not in training_text(scratch.to_dict())
    assert scratch.scores[0].train_loss != report.scores[0].train_loss


def test_epochs_0_leaves_a_training_that_is_under_way(run: RunFolder, tmp_path: Path) -> None:
    folder = run.path / "trainings" / "t1-full"

    def interrupt(score: EpochScore, epochs: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_winner(run, "t1", scale="full", epochs=2, progress=interrupt)
    plain = build(
        Architecture.uniform("resnet18", alpha=0, width=4, stem="small"), num_classes=2, in_channels=1
    )
    save_weights(plain, tmp_path / "plain.safetensors")
    train_winner(run, "t1", scale="full", epochs=0, init=str(tmp_path / "plain.safetensors"))
    told: list[int] = []
    assert (folder / "checkpoint.pt").exists()
    train_winner(run, "t1", scale="full", epochs=2, progress=lambda score, epochs: told.append(score.epoch))
    assert told == [2]


def test_epochs_0_needs_weights_of_these_classes(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--epochs 0 evaluates weights as they are, but none are given: name"):
        train_winner(run, "t1", scale="full", epochs=0)
    other = build(
        Architecture.uniform("resnet18", alpha=0, width=4, stem="small"), num_classes=5, in_channels=1
    )
    torch.save(other.state_dict(), tmp_path / "other.pt")
    with pytest.raises(RunError, match=r"other\.pt is of other classes than dots: train --epochs 1 or more"):
        train_winner(run, "t1", scale="full", epochs=0, init=str(tmp_path / "other.pt"))
    with pytest.raises(RunError, match=r"must fit resnet18 .*width 8, stem imagenet"):
        train_winner(run, "t1", scale="target", epochs=1, init=str(tmp_path / "other.pt"))
