"""Every machine of a cluster reads its own copy of the same files."""

from __future__ import annotations

import pickle
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stores
import torch
from PIL import Image

from octnas.data import ImageSet, StreamedSplit, load_images
from octnas.data.moved import files_fingerprint
from octnas.engine import node_data as module
from octnas.engine.node_data import NodeData, here, node_data
from octnas.errors import DataError, RunError
from octnas.storage import names_in, place


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with stores.s3_store() as uri:
        yield uri


@pytest.fixture(autouse=True)
def new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTNAS_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_found", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight images of each of two classes, without a split."""
    root = tmp_path / "driver" / "pets"
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(root / name / f"{i}.png")
    return root


def load(source: Path | str, *, memory_limit: int = 0) -> ImageSet:
    images = load_images(str(source), size=8, memory_limit=memory_limit)
    for split in (images.train, images.val, images.test):
        if isinstance(split, StreamedSplit):
            split.workers = 0
    return images


def pixels(images: ImageSet) -> torch.Tensor:
    splits = (images.train, images.val, images.test)
    return torch.cat([batch for split in splits if split is not None for batch, _ in split.batches(4)])


def test_what_lies_in_memory_travels_as_it_is(folder: Path) -> None:
    images = load(folder, memory_limit=2**30)
    assert node_data(images, str(folder), None, visible=False) is None
    assert node_data(load_images("glyphs"), "glyphs", None, visible=False) is None
    assert here(images, None) is images


def test_a_folder_that_all_see_is_read_where_it_is(folder: Path, tmp_path: Path) -> None:
    images = load(folder)
    found = node_data(images, str(folder), None, visible=True)
    assert found == NodeData(source=str(folder), fingerprint=images.fingerprint)
    assert torch.equal(pixels(here(images, pickle.loads(pickle.dumps(found)))), pixels(images))
    assert not (tmp_path / "cache").exists()


def test_a_uri_is_fetched_by_every_machine(
    folder: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"{bucket}/{tmp_path.name}/pets"
    fs = place(uri).fs  # type: ignore[union-attr]
    fs.put(str(folder), uri.removeprefix("s3://"), recursive=True)
    images = load(uri)
    expected = pixels(images)
    data = node_data(images, uri, None, visible=False)
    assert data == NodeData(source=uri, fingerprint=images.fingerprint)
    monkeypatch.setenv("OCTNAS_DATA", str(tmp_path / "node"))
    shutil.rmtree(tmp_path / "cache")
    found = here(images, data)
    assert str(found.train.root).startswith(str(tmp_path / "node"))  # type: ignore[attr-defined]
    assert torch.equal(pixels(found), expected)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_files_that_nodes_do_not_see_are_packed_once(
    kind: str, folder: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = str(tmp_path / "shared")
    if kind == "s3":
        storage = f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    images = load(folder)
    expected = pixels(images)
    data = node_data(images, str(folder), storage, visible=False)
    assert data is not None
    assert names_in(place(storage) / ".octnas-data") == [f"{images.fingerprint}.tar"]
    monkeypatch.setattr("octnas.data.archive.pack", lambda *_: pytest.fail("it is there"))
    assert node_data(images, str(folder), storage, visible=False) == data

    shutil.rmtree(folder)  # a machine that does not have it
    found = here(images, data)
    assert torch.equal(pixels(found), expected)
    assert (found.fingerprint, found.classes) == (images.fingerprint, images.classes)
    assert torch.equal(pixels(here(images, data)), expected)


def test_a_folder_around_all_files_is_part_of_their_names_in_a_pack(folder: Path, tmp_path: Path) -> None:
    images = load(folder)

    def below(split: Any) -> Any:
        paths = np.array([b"pets/" + bytes(path) for path in split.paths])
        return replace(split, root=str(folder.parent), paths=paths)

    around = replace(images, train=below(images.train), val=below(images.val), test=below(images.test))
    around = replace(around, fingerprint=files_fingerprint(around))
    expected = pixels(around)
    data = node_data(around, str(folder.parent), str(tmp_path / "shared"), visible=False)
    shutil.rmtree(folder)
    assert torch.equal(pixels(here(around, data)), expected)


def test_a_pack_that_breaks_off_is_not_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    images = load(folder)
    (folder / "dog" / "7.png").unlink()
    for storage in (str(tmp_path / "shared"), f"{bucket}/{tmp_path.name}"):
        with pytest.raises(RunError, match=r"cannot pack .*: No such file or directory; check --storage"):
            node_data(images, str(folder), storage, visible=False)
        assert names_in(place(storage) / ".octnas-data") == []


def test_no_way_to_the_files_is_refused(folder: Path) -> None:
    with pytest.raises(
        RunError, match="must be seen by every node: put it on a folder that all of them share"
    ):
        node_data(load(folder), str(folder), None, visible=False)


def test_other_files_on_a_machine_are_named_with_both_fingerprints(folder: Path) -> None:
    images = load(folder)
    data = node_data(images, str(folder), None, visible=True)
    image = folder / "cat" / "3.png"
    image.write_bytes(image.read_bytes() + b" ")
    host = socket.gethostname()
    with pytest.raises(DataError, match=rf"fingerprint {images.fingerprint}, but {host} has [0-9a-f]{{12}}"):
        here(images, data)
    image.unlink()
    with pytest.raises(DataError, match=rf"but on {host} .*3\.png is missing .*mount the same folder"):
        here(images, data)


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_to_be_removed_to_fetch_anew_is_all_of_a_fetch(
    packed: bool, folder: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"{bucket}/{tmp_path.name}/pets"
    fs = place(uri).fs  # type: ignore[union-attr]
    fs.put(str(folder), f"{uri.removeprefix('s3://')}/pets", recursive=True)  # a folder around all files
    images = load(str(folder) if packed else uri)
    data = node_data(images, str(folder) if packed else uri, str(tmp_path / "shared"), visible=False)
    expected = pixels(images)
    monkeypatch.setenv("OCTNAS_DATA", str(tmp_path / "node"))
    assert pixels(here(images, data)).equal(expected)
    image = next((tmp_path / "node").rglob("3.png"))
    for spoil in (lambda: image.write_bytes(b"other"), image.unlink):
        monkeypatch.setattr(module, "_found", {})
        spoil()
        with pytest.raises(DataError, match=r"remove \S+ there to fetch them anew$") as caught:
            here(images, data)
    remedy = Path(str(caught.value).rpartition("remove ")[2].partition(" ")[0])
    assert remedy.parent == tmp_path / "node" / "fetched"
    shutil.rmtree(remedy)
    assert pixels(here(images, data)).equal(expected)


def test_the_files_are_looked_at_once_a_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load(folder)
    data = node_data(images, str(folder), None, visible=True)
    looked: list[ImageSet] = []

    def counted(found: ImageSet) -> str:
        looked.append(found)
        return files_fingerprint(found)

    monkeypatch.setattr("octnas.data.moved.files_fingerprint", counted)
    assert pixels(here(images, data)).equal(pixels(here(images, data)))
    assert len(looked) == 1
