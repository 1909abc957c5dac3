"""A training that is kept in an object store, or whose writer is killed, goes on bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import stores
import torch
from torch import nn

from octnas.architecture import Architecture
from octnas.data import ImageSet, load_images
from octnas.errors import RunError
from octnas.storage import Place, place
from octnas.train import ProxyTraining
from octnas.train.pretrained import read_state
from octnas.train.settings import TrainSettings
from octnas.train.weights import save_weights

SETTINGS = TrainSettings(epochs=None, steps=4, evaluations=2, batch_size=8, train_images=32, val_images=40)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with stores.s3_store() as uri:
        yield uri


@pytest.fixture(scope="module")
def images() -> ImageSet:
    found = load_images("glyphs")
    return replace(found, val=found.val.subset(40, 0))


def training(images: ImageSet) -> ProxyTraining:
    architecture = Architecture.uniform("resnet10", alpha=0.5, width=8, stem="small", input_size=32)
    return ProxyTraining(architecture, images, SETTINGS, seed=1)


def state_of(trained: ProxyTraining) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in trained.network.state_dict().values()])


@pytest.fixture(scope="module")
def expected(images: ImageSet) -> torch.Tensor:
    whole = training(images)
    for _ in range(2):
        whole.run_epoch()
    return state_of(whole)


def test_a_store_gives_back_what_was_saved(bucket: str, images: ImageSet, expected: torch.Tensor) -> None:
    path = place(f"{bucket}/run/checkpoints/1.pt")
    first = training(images)
    assert not first.same_as(path)
    first.run_epoch()
    first.save(path)
    second = training(images)
    assert second.same_as(path)
    second.load(path)
    second.run_epoch()
    assert torch.equal(state_of(second), expected)
    path.write_bytes(path.read_bytes()[:1000])
    assert not second.same_as(path)
    with pytest.raises(RunError, match=r"a checkpoint must be readable, but s3://.*1\.pt is not"):
        second.load(path)
    with pytest.raises(RunError, match=r"must be readable, but s3://.*2\.pt is not"):
        second.load(place(f"{bucket}/run/checkpoints/2.pt"))


def test_no_code_in_a_checkpoint_is_run(bucket: str, images: ImageSet, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "evil"),)

    torch.save({"identity": Evil()}, tmp_path / "1.pt")
    in_store = place(f"{bucket}/evil/1.pt")
    in_store.write_bytes((tmp_path / "1.pt").read_bytes())
    for path in (tmp_path / "1.pt", in_store):
        with pytest.raises(RunError, match="a checkpoint must be readable"):
            training(images).load(path)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_shared_weights_are_read_from_where_they_lie(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path: Place = tmp_path / "net.safetensors"
    if kind == "s3":
        path = place(f"{request.getfixturevalue('bucket')}/net.safetensors")
    network = nn.Linear(3, 2)
    save_weights(network, path)
    assert torch.equal(read_state(path)["weight"], network.weight)


KILLED = """
import os, signal, sys
from pathlib import Path
from octnas.train.files import written_whole

with written_whole(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "1.pt"
    path.write_bytes(b"whole")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"whole"
    (part,) = (each for each in tmp_path.iterdir() if each != path)
    assert part.name.startswith(".1.pt.")
    assert part.name.endswith(".part"), "as a search's sweep knows it"
