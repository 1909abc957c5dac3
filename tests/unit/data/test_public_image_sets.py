"""Public sets through torchvision's loaders, on small files of the same layout made here."""

from __future__ import annotations

import gzip
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from octnas.data import load_images, public_sets
from octnas.errors import DataError

RNG = np.random.default_rng(0)


def write_pickle(path: Path, content: dict[str, object]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def fake_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Two training batches of 50 and a test batch of 20, with checksums set to match."""
    names = [f"class {i}" for i in range(10)]
    data: dict[str, np.ndarray] = {}
    sums: dict[str, str] = {}
    for file, count in (("data_batch_1", 50), ("data_batch_2", 50), ("test_batch", 20)):
        rows = RNG.integers(0, 256, (count, 3072), np.uint8)
        data[file] = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        content = {"data": rows, "labels": [i % 10 for i in range(count)]}
        sums[file] = write_pickle(tmp_path / "cifar-10-batches-py" / file, content)
    meta = write_pickle(tmp_path / "cifar-10-batches-py" / "batches.meta", {"label_names": names})
    source = datasets.CIFAR10
    monkeypatch.setattr(source, "train_list", [[f, sums[f]] for f in ("data_batch_1", "data_batch_2")])
    monkeypatch.setattr(source, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": meta})
    return data


def test_cifar10_takes_validation_out_of_training(
    tmp_path: Path, fake_cifar10: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    data = load_images("cifar10", root=tmp_path, seed=4)
    assert (len(data.train), len(data.val), len(data.test)) == (80, 20, 20)
    assert data.classes == tuple(f"class {i}" for i in range(10))
    assert (data.size, data.channels, data.flip) == (32, 3, True)
    assert set(np.bincount(data.val.labels)) == {2}
    official = np.concatenate([fake_cifar10["data_batch_1"], fake_cifar10["data_batch_2"]])
    parts = [image.tobytes() for split in (data.train, data.val) for image in split.images]
    assert sorted(parts) == sorted(image.tobytes() for image in official)
    assert np.array_equal(data.test.images, fake_cifar10["test_batch"])
    position = {image.tobytes(): i % 10 for i, image in enumerate(official[:50])}
    position |= {image.tobytes(): i % 10 for i, image in enumerate(official[50:])}
    assert [position[image.tobytes()] for image in data.val.images] == data.val.labels.tolist()
    assert "20 of the official training images are validation (seed 4)" in data.origin
    assert load_images("cifar10", root=tmp_path, seed=5).fingerprint != data.fingerprint
    assert capsys.readouterr().out == ""


def test_cifar10_in_grey(tmp_path: Path, fake_cifar10: dict[str, np.ndarray]) -> None:
    data = load_images("cifar10", root=tmp_path, channels=1)
    weights = np.array([0.299, 0.587, 0.114])
    expected = fake_cifar10["test_batch"] @ weights
    assert data.test.images.shape == (20, 32, 32, 1)
    assert np.abs(data.test.images[..., 0] - expected).max() <= 0.51


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist"])
def test_a_failed_download_says_where_the_files_belong(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ["https://example.org/fashion/"])
    monkeypatch.setattr(public_sets, "DEBIAN_FASHION", tmp_path / "absent")
    with pytest.raises(DataError, match=f"{name} is not under .*place the files of https?://.* in ") as error:
        load_images(name, root=tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def idx(values: np.ndarray) -> bytes:
    """The IDX format: two zeros, the type (8: unsigned byte), the rank, big-endian sizes, the values."""
    sizes = b"".join(int(side).to_bytes(4, "big") for side in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def test_fashion_mnist_from_torchvision_and_from_debian_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian, root = tmp_path / "debian", tmp_path / "root"
    raw = root / "FashionMNIST" / "raw"
    debian.mkdir()
    raw.mkdir(parents=True)
    for prefix, count in (("train", 100), ("t10k", 30)):
        files = {
            f"{prefix}-images-idx3-ubyte": idx(RNG.integers(0, 256, (count, 28, 28), np.uint8)),
            f"{prefix}-labels-idx1-ubyte": idx(np.arange(count, dtype=np.uint8) % 10),
        }
        for file, content in files.items():
            (raw / file).write_bytes(content)
            (debian / f"{file}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(public_sets, "DEBIAN_FASHION", tmp_path / "absent")
    theirs = load_images("fashion-mnist", root=root)
    monkeypatch.setattr(public_sets, "DEBIAN_FASHION", debian)
    packaged = load_images("fashion-mnist", root=tmp_path / "nothing here")
    assert theirs.fingerprint == packaged.fingerprint
    assert theirs.classes == packaged.classes
    assert theirs.classes[9] == "Ankle boot"
    assert (len(theirs.train), len(theirs.val), len(theirs.test), theirs.size) == (80, 20, 30, 32)


def test_the_root_comes_from_the_environment(
    tmp_path: Path, fake_cifar10: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTNAS_DATA", str(tmp_path))
    assert len(load_images("cifar10").test) == 20
