"""Training a winner: what is kept, and that an interrupted training ends like an uninterrupted one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.errors import RunError
from octnas.nn import build
from octnas.record import EpochScore
from octnas.train import TrainSettings, evaluate_network, load_weights, mode_of, train_and_keep
from octnas.train.winner import Progress


def die(score: EpochScore, epochs: int) -> None:
    raise KeyboardInterrupt


def listener() -> tuple[list[tuple[int, int]], Progress]:
    """A `progress`, and the list in which it keeps (epoch, epochs) of each call."""
    seen: list[tuple[int, int]] = []

    def note(score: EpochScore, epochs: int) -> None:
        seen.append((score.epoch, epochs))

    return seen, note


def test_what_is_kept_reproduces_what_is_reported(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path
) -> None:
    seen, note = listener()
    folder = tmp_path / "t"
    report = train_and_keep(tiny, corners, settings, scale="full", seed=0, folder=folder, progress=note)
    assert seen == [(1, 2), (2, 2)]
    assert sorted(path.name for path in folder.iterdir()) == ["training.json", "weights.safetensors"]
    facts = json.loads((folder / "training.json").read_text())
    network = build(Architecture.from_json(json.dumps(facts["architecture"])), num_classes=4, in_channels=1)
    load_weights(network, report.checkpoint)
    mode = mode_of(settings)
    network = network.to(memory_format=mode.memory_format(2))
    for split, accuracy in ((corners.val, report.accuracy), (corners.test, report.test_accuracy)):
        assert split is not None
        again, _ = evaluate_network(network, split, mean=facts["mean"], std=facts["std"], mode=mode)
        assert again == accuracy
    assert facts["accuracy"] == report.accuracy
    assert (facts["scale"], facts["epochs"], facts["seed"], facts["data"]) == ("full", 2, 0, "corners")
    assert (facts["classes"], facts["channels"], facts["input_size"]) == (["a", "b", "c", "d"], 1, 16)
    keys = {"scale", "epochs", "accuracy", "test_accuracy", "checkpoint"}
    assert keys <= json.loads(json.dumps(report.to_dict())).keys()


def test_an_interrupted_training_goes_on(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path
) -> None:
    seen, note = listener()
    with pytest.raises(KeyboardInterrupt):
        train_and_keep(tiny, corners, settings, scale="proxy", seed=0, folder=tmp_path / "a", progress=die)
    resumed = train_and_keep(
        tiny, corners, settings, scale="proxy", seed=0, folder=tmp_path / "a", progress=note
    )
    whole = train_and_keep(tiny, corners, settings, scale="proxy", seed=0, folder=tmp_path / "b")
    assert seen == [(2, 2)]
    assert [score.epoch for score in resumed.scores] == [1, 2]
    assert [score.loss for score in resumed.scores] == [score.loss for score in whole.scores]
    assert resumed.accuracy == whole.accuracy
    first, second = load_file(resumed.checkpoint), load_file(whole.checkpoint)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_of_another_seed_is_not_taken_up(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path
) -> None:
    seen, note = listener()
    with pytest.raises(KeyboardInterrupt):
        train_and_keep(tiny, corners, settings, scale="proxy", seed=0, folder=tmp_path, progress=die)
    train_and_keep(tiny, corners, settings, scale="proxy", seed=1, folder=tmp_path, progress=note)
    assert seen == [(1, 2), (2, 2)]


def test_a_folder_that_cannot_be_made_is_an_error_of_one_line(
    corners: ImageSet, tiny: Architecture, settings: TrainSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="must be writable"):
        train_and_keep(tiny, corners, settings, scale="proxy", seed=0, folder=tmp_path / "file" / "t")
