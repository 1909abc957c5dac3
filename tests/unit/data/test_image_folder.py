"""Folders of images by class: layouts, splits, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from octnas.data import load_images
from octnas.data.decode import decode
from octnas.errors import DataError


def write(path: Path, seed: int = 0, size: tuple[int, int] = (24, 24), mode: str = "RGB") -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) + ((3,) if mode == "RGB" else ())
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def make_classes(root: Path, counts: dict[str, int], start: int = 0) -> None:
    seed = start
    for name, count in counts.items():
        for i in range(count):
            write(root / name / f"{i:03d}.png", seed)
            seed += 1


def test_one_folder_of_classes_is_split_by_seed(tmp_path: Path) -> None:
    make_classes(tmp_path, {"cat": 20, "dog": 30})
    data = load_images(str(tmp_path), size=24, seed=1)
    assert data.classes == ("cat", "dog")
    assert [np.bincount(split.labels).tolist() for split in (data.train, data.val, data.test)] == [
        [14, 21], [4, 6], [2, 3],
    ]  # fmt: skip
    found = [image.tobytes() for split in (data.train, data.val, data.test) for image in split.images]
    written = {
        np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8).tobytes(): int(seed >= 20)
        for seed in range(50)
    }
    assert sorted(found) == sorted(written)
    for split in (data.train, data.val, data.test):
        assert [written[image.tobytes()] for image in split.images] == split.labels.tolist()
    again, other = (load_images(str(tmp_path), size=24, seed=seed) for seed in (1, 2))
    assert again.fingerprint == data.fingerprint != other.fingerprint
    assert "20% of each class is validation, 10% test (seed 1)" in data.origin
    assert data.flip


def test_imagenet_layout_with_train_and_val(tmp_path: Path) -> None:
    make_classes(tmp_path / "train", {"a": 3, "b": 4})
    make_classes(tmp_path / "val", {"a": 1, "b": 2}, start=100)
    data = load_images(str(tmp_path), size=24, channels=3)
    assert (len(data.train), len(data.val), data.test) == (7, 3, None)
    first = np.random.default_rng(100).integers(0, 256, (24, 24, 3), np.uint8)
    assert np.array_equal(data.val.images[0], first)
    assert data.val.labels.tolist() == [0, 1, 1]


def test_train_without_val_gives_a_share_and_keeps_its_test(tmp_path: Path) -> None:
    make_classes(tmp_path / "train", {"a": 10, "b": 5})
    make_classes(tmp_path / "test", {"a": 1, "b": 1}, start=100)
    data = load_images(str(tmp_path), size=24)
    assert np.bincount(data.train.labels).tolist() == [8, 4]
    assert np.bincount(data.val.labels).tolist() == [2, 1]
    assert data.test is not None
    assert len(data.test) == 2


def test_unlabelled_test_images_are_ignored(tmp_path: Path) -> None:
    make_classes(tmp_path / "train", {"a": 2, "b": 2})
    make_classes(tmp_path / "val", {"a": 1, "b": 1})
    write(tmp_path / "test" / "loose.png")
    assert load_images(str(tmp_path), size=8).test is None


def test_defaults_are_those_of_imagenet(tmp_path: Path) -> None:
    make_classes(tmp_path, {"a": 3, "b": 3})
    data = load_images(str(tmp_path))
    images, _ = next(data.train.batches(2))
    assert images.shape == (2, 3, 224, 224)


def test_other_files_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    make_classes(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / ".hidden.png").write_text("no image")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README.md").write_text("no class")
    write(tmp_path / "b" / "deeper" / "x.jpg")
    data = load_images(str(tmp_path), size=8)
    assert data.classes == ("a", "b")
    assert len(data.train) + len(data.val) + len(data.test) == 7


def test_short_side_and_centre_crop(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    pixels = write(path, size=(40, 20))
    image = decode(str(path), size=20, channels=3)
    assert np.array_equal(image, pixels[:, 10:30])
    assert decode(str(path), size=10, channels=1).shape == (10, 10, 1)
    assert decode(str(path), size=30, channels=3).shape == (30, 30, 3)


def test_exif_orientation_and_sixteen_bits(tmp_path: Path) -> None:
    pixels = write(tmp_path / "plain.png", size=(12, 12), mode="L")
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(
        decode(str(tmp_path / "turned.png"), size=12, channels=1)[..., 0], pixels[::-1, ::-1]
    )
    Image.fromarray(pixels.astype(np.uint16) * 256 + 7).save(tmp_path / "deep.png")
    assert np.array_equal(decode(str(tmp_path / "deep.png"), size=12, channels=1)[..., 0], pixels)


def test_large_jpeg_is_close_to_the_undrafted_picture(tmp_path: Path) -> None:
    y, x = np.mgrid[0:256, 0:256]
    smooth = np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "big.jpg", quality=95)
    image = decode(str(tmp_path / "big.jpg"), size=16, channels=3).astype(int)
    expected = smooth.reshape(16, 16, 16, 16, 3).mean(axis=(1, 3))
    assert np.abs(image - expected)[1:-1, 1:-1].max() < 6


@pytest.mark.parametrize("broken", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_an_unreadable_image_is_named(tmp_path: Path, broken: bytes) -> None:
    make_classes(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "b" / "002.png").write_bytes(broken)
    with pytest.raises(DataError, match=r"every image must be readable, but .*b.002\.png is not") as error:
        load_images(str(tmp_path), size=8)
    assert "\n" not in str(error.value)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    make_classes(tmp_path, {"a": 5, "b": 5})
    whole = (tmp_path / "a" / "000.png").read_bytes()
    (tmp_path / "a" / "000.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a.000\.png"):
        load_images(str(tmp_path), size=8)


def test_layouts_that_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"empty must hold a folder of images for each class"):
        load_images(str(empty))
    make_classes(tmp_path / "single", {"only": 4})
    with pytest.raises(DataError, match=r"two classes or more, but .*single has only only"):
        load_images(str(tmp_path / "single"))
    make_classes(tmp_path / "hollow", {"a": 4})
    (tmp_path / "hollow" / "b").mkdir()
    with pytest.raises(DataError, match=r"every class needs images, but .*hollow.b has none"):
        load_images(str(tmp_path / "hollow"))
    make_classes(tmp_path / "tiny", {"a": 4, "b": 2})
    with pytest.raises(DataError, match=r"3 images or more to be split, but b has 2"):
        load_images(str(tmp_path / "tiny"))
    make_classes(tmp_path / "odd" / "train", {"a": 4, "b": 2})
    make_classes(tmp_path / "odd" / "val", {"a": 1, "b": 1, "z": 1})
    with pytest.raises(DataError, match=r"has the class z, which .*train lacks"):
        load_images(str(tmp_path / "odd"))
    make_classes(tmp_path / "gap" / "train", {"a": 4, "b": 2})
    make_classes(tmp_path / "gap" / "val", {"a": 1})
    with pytest.raises(DataError, match=r"every class needs images, but .*val.b has none"):
        load_images(str(tmp_path / "gap"))
