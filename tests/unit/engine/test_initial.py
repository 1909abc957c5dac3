"""`--init`: weights are found and fitted at the door, kept with the run, and reach the worker."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from octnas.architecture import Architecture
from octnas.data import ImageSet, load_images
from octnas.engine.evaluate import TrialJob, evaluate
from octnas.engine.initial import check_init, chosen_weights, job_weights, keep_initial, kept_weights
from octnas.errors import RunError
from octnas.nn import build
from octnas.record import EpochScore, RunFolder, SearchHeader
from octnas.space import SearchSpace, load_space
from octnas.train import ProxyTraining, save_weights, settings_from_proxy
from octnas.train.pretrained import fitted_state, read_state


@pytest.fixture(scope="module")
def images() -> ImageSet:
    data = load_images("fashion-sample")
    assert data.test is not None
    return dataclasses.replace(data, val=data.val.subset(120, 0), test=data.test.subset(60, 0))


def weights(folder: Path, backbone: str, suffix: str = ".safetensors", *, classes: int = 10) -> Path:
    """A file of a plain network of width 16 that reads RGB."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(len(backbone))
    network = build(Architecture.uniform(backbone, alpha=0, width=16, stem="small"), num_classes=classes)
    path = folder / f"{backbone}{suffix}"
    if suffix == ".safetensors":
        save_weights(network, path)
    else:
        torch.save(network.state_dict(), path)
    return path


def run_of(space: SearchSpace, **options: object) -> RunFolder:
    header = SearchHeader(
        name="r",
        space_yaml=space.to_yaml(),
        budget_gflops=1.0,
        trials=1,
        seed=0,
        data="fashion-sample",
        options=options,
    )
    return RunFolder.create("r", header)


# ------------------------------------------------------------------------ the door
def test_a_folder_has_a_file_for_each_backbone(
    space: SearchSpace, images: ImageSet, tmp_path: Path, runs_home: Path
) -> None:
    weights(tmp_path / "w", "resnet18", ".pth")
    weights(tmp_path / "w", "resnet26", classes=7)
    initial = check_init(str(tmp_path / "w"), space, images)
    assert initial.init == str(tmp_path / "w")
    assert {name: path.name for name, path in initial.files.items()} == {
        "resnet18": "resnet18.pth",
        "resnet26": "resnet26.safetensors",
    }
    gray = "the first convolution reads gray images, so its 3 input channels are summed"
    assert initial.notes == (
        f"resnet18.pth: {gray}",
        f"resnet26.safetensors: {gray}",
        "resnet26.safetensors classifies 7 classes, the images have 10: the classifier begins anew, at 0",
    )
    run = run_of(space, init=initial.init)
    keep_initial(run, initial)
    for name, path in initial.files.items():
        kept, given = read_state(kept_weights(run, name)), read_state(path)
        assert kept.keys() == given.keys(), "whole, so that it can be fitted to another network too"
        assert all(torch.equal(kept[key], given[key]) for key in given)
        path.unlink()
        assert job_weights(run, name) == kept_weights(run, name)
        assert chosen_weights(None, run, name) == (initial.init, kept_weights(run, name))


def test_one_file_is_of_one_backbone(space: SearchSpace, images: ImageSet, tmp_path: Path) -> None:
    path = weights(tmp_path, "resnet18")
    with pytest.raises(RunError, match=r"is given for resnet18, resnet26: choose one with --backbone, or"):
        check_init(str(path), space, images)
    alone = space.restricted(backbones=["resnet18"])
    assert check_init(str(path), alone, images).files == {"resnet18": path}
    with pytest.raises(RunError, match=r"must fit resnet26 .* keys of resnet18\.safetensors .* are missing"):
        check_init(str(path), space.restricted(backbones=["resnet26"]), images)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("torchvison", "unknown weights 'torchvison': did you mean 'torchvision'?.* and any file or folder"),
        ("torchvision", "the proxy of tiny has width 16 and stem small: search --space pretrained-2d, or"),
        ("here", r"must have resnet26\.safetensors \(or \.pth, \.pt\), but here has not: put it there"),
    ],
)
def test_weights_that_are_not_there_are_told(
    space: SearchSpace,
    images: ImageSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    init: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    weights(tmp_path / "here", "resnet18", ".pt")
    with pytest.raises(RunError, match=message):
        check_init(init, space, images)


def test_a_3d_backbone_takes_its_2d_ones_file(tmp_path: Path) -> None:
    backbones = ("resnet10", "i3d_resnet10")
    space = load_space("clips-small").restricted(backbones=backbones)
    torch.manual_seed(0)
    plain = space.proxy_architecture(space.uniform("resnet10", 0))
    save_weights(build(plain, num_classes=8, in_channels=1), tmp_path / "resnet10.safetensors")
    clips = cast(ImageSet, SimpleNamespace(classes=tuple("abcdefgh"), channels=1))
    initial = check_init(str(tmp_path), space, clips)
    assert initial.files == dict.fromkeys(backbones, tmp_path / "resnet10.safetensors")
    assert initial.notes == ("resnet10.safetensors: its 2D kernels are inflated for i3d_resnet10",)


@pytest.mark.parametrize("init", ["scratch", "shared"])
def test_what_is_not_given_has_no_files(space: SearchSpace, images: ImageSet, init: str) -> None:
    initial = check_init(init, space, images)
    assert (initial.init, dict(initial.files), initial.notes) == (init, {}, ())


@pytest.mark.parametrize(
    ("options", "begins", "winner"),
    [
        ({}, None, ("scratch", None)),
        ({"init": "scratch"}, None, ("scratch", None)),
        ({"init": "shared", "fine_tune": None}, None, ("scratch", None)),
        ({"init": "shared", "fine_tune": 1}, "supernets/resnet18.safetensors", ("scratch", None)),
        (
            {"init": "torchvision"},
            "init/resnet18.safetensors",
            ("torchvision", "init/resnet18.safetensors"),
        ),
    ],
)
def test_where_trials_and_the_training_of_a_winner_begin(
    space: SearchSpace,
    runs_home: Path,
    options: dict[str, object],
    begins: str | None,
    winner: tuple[str, str | None],
) -> None:
    run = run_of(space, **options)
    assert job_weights(run, "resnet18") == (begins and run.path / begins)
    assert chosen_weights(None, run, "resnet18") == (winner[0], winner[1] and run.path / winner[1])
    assert chosen_weights("scratch", run, "resnet18") == ("scratch", None)
    with pytest.raises(RunError, match="shared weights of resnet18, but 'r' has none: search with"):
        chosen_weights("shared", run, "resnet18")
    run.supernet("resnet18").parent.mkdir()
    run.supernet("resnet18").touch()
    assert chosen_weights("shared", run, "resnet18") == ("shared", run.supernet("resnet18"))


# ------------------------------------------------------------------------ in a worker
def job_of(space: SearchSpace, folder: Path) -> TrialJob:
    architecture = space.uniform("resnet18", 0.75)
    proxy = space.proxy.model_copy(
        update={"epochs": 3, "train_images": 64, "val_images": 50, "batch_size": 16}
    )
    return TrialJob(
        id="1",
        architecture=architecture,
        gflops=space.gflops(architecture),
        proxy_architecture=space.proxy_architecture(architecture),
        proxy=proxy,
        epochs=3,
        seed=3,
        checkpoint=folder / "1.pt",
    )


def scores_of(job: TrialJob, images: ImageSet, *, until: int = 99) -> list[tuple[int, float, float, float]]:
    scores: list[EpochScore] = []
    evaluate(job, images, lambda score: scores.append(score) is None and score.epoch < until)
    return [(score.epoch, score.accuracy, score.loss, score.train_loss) for score in scores]


def test_a_worker_takes_the_file_or_what_is_in_it(
    space: SearchSpace, images: ImageSet, tmp_path: Path
) -> None:
    path = weights(tmp_path, "resnet18")
    job = job_of(space, tmp_path)
    from_file = dataclasses.replace(job, initial=path)
    from_bytes = dataclasses.replace(job, initial=path.read_bytes(), checkpoint=tmp_path / "2.pt")
    assert len(repr(from_bytes)) < 5000
    found = scores_of(from_file, images)
    assert [epoch for epoch, *_ in found] == [1, 2, 3]
    assert scores_of(from_bytes, images) == found
    state, _ = fitted_state(read_state(path), job.proxy_architecture, num_classes=10, in_channels=1, name="r")
    settings = settings_from_proxy(job.proxy, images)
    by_hand = ProxyTraining(job.proxy_architecture, images, settings, seed=3, initial=state)
    first = by_hand.run_epoch()
    assert (first.accuracy, first.loss, first.train_loss) == found[0][1:]
    scratch = scores_of(dataclasses.replace(job, checkpoint=tmp_path / "3.pt"), images)
    assert scratch[0][3] != found[0][3]


def test_a_warm_start_that_was_paused_goes_on_bit_for_bit(
    space: SearchSpace, images: ImageSet, tmp_path: Path
) -> None:
    job = dataclasses.replace(
        job_of(space, tmp_path), initial=weights(tmp_path, "resnet18"), fine_tune=2, epochs=2, rungs=(1,)
    )
    whole = scores_of(job, images)
    assert [epoch for epoch, *_ in whole] == [1, 2]
    assert whole[-1][1] * 120 == pytest.approx(round(whole[-1][1] * 120)), "the last is of all images"
    paused = dataclasses.replace(job, checkpoint=tmp_path / "paused.pt")
    assert scores_of(paused, images, until=1) == whole[:1]
    assert scores_of(dataclasses.replace(paused, scored=1), images) == whole[1:]
    full = scores_of(dataclasses.replace(job, fine_tune=None, checkpoint=tmp_path / "full.pt"), images)
    assert len(full) == 3
    assert full[0][3] != whole[0][3], "at another learning rate"


def test_a_checkpoint_of_other_weights_is_not_gone_on_from(
    space: SearchSpace, images: ImageSet, tmp_path: Path
) -> None:
    job = dataclasses.replace(job_of(space, tmp_path), rungs=(1,))
    scratch = scores_of(job, images, until=1)
    assert job.checkpoint.exists()
    warm = scores_of(dataclasses.replace(job, initial=weights(tmp_path, "resnet18")), images, until=1)
    assert [warm[0][0], scratch[0][0]] == [1, 1]
    assert warm[0][3] != scratch[0][3]
