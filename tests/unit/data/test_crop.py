"""Random crops of image files: their distribution, their pixels, and what the split reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from octnas.data.crop import decode_crop, draw_box
from octnas.data.decode import DAMAGED
from octnas.data.streamed import StreamedSplit


def picture(width: int, height: int) -> Image.Image:
    """Smooth in both directions: red rises to the right, green downwards."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([255 * x / (width - 1), 255 * y / (height - 1), np.full_like(x, 90.0)], -1)
    return Image.fromarray(pixels.round().astype(np.uint8))


def test_boxes_are_inside_and_as_large_and_long_as_they_should_be() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([draw_box(500, 375, rng) for _ in range(4000)])
    left, top, wide, tall = boxes.T
    assert left.min() >= 0
    assert top.min() >= 0
    assert (left + wide).max() <= 500
    assert (top + tall).max() <= 375
    share, ratio = wide * tall / (500 * 375), wide / tall
    assert share.min() > 0.075
    assert 0.74 < ratio.min() < ratio.max() < 1.36
    # Areas are uniform, but for those that do not fit: checked where all fit.
    small = share[share < 0.5]
    assert np.quantile((small - 0.08) / 0.42, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.03)
    assert np.log(ratio[share < 0.5]).mean() == pytest.approx(0, abs=0.02)


def test_a_narrow_image_gives_its_middle() -> None:
    assert draw_box(1000, 10, np.random.default_rng(0)) == (493, 0, 13, 10)
    assert draw_box(10, 1000, np.random.default_rng(0)) == (0, 493, 10, 13)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_of_the_box(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"a{suffix}"
    image = picture(500, 375)
    image.save(path, **({"quality": 98, "subsampling": 0} if suffix == ".jpg" else {}))
    found = decode_crop(str(path), size=64, channels=channels, rng=np.random.default_rng(5))
    left, top, wide, tall = draw_box(500, 375, np.random.default_rng(5))
    box = (left, top, left + wide, top + tall)
    wanted = image.convert("L" if channels == 1 else "RGB").resize(
        (64, 64), Image.Resampling.BILINEAR, box=box
    )
    assert found.shape == (64, 64, channels)
    assert found.dtype == np.uint8
    difference = np.abs(found.astype(int) - np.asarray(wanted, np.int64).reshape(64, 64, channels))
    assert difference.max() <= 6  # the JPEG's own loss, and rounding
    assert difference.mean() < 1.2


def test_a_turned_photograph_is_cropped_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    for name in ("a.jpg", "a.png"):
        picture(400, 300).save(tmp_path / name, exif=exif)
        found = decode_crop(str(tmp_path / name), size=32, channels=3, rng=np.random.default_rng(1))
        # Upright, red (to the right before) rises downwards, and green falls to the right.
        assert found[-1, :, 0].mean() > found[0, :, 0].mean() + 30
        assert found[:, 0, 1].mean() > found[:, -1, 1].mean() + 30


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_damaged_file_raises_what_is_counted_as_damage(tmp_path: Path, name: str) -> None:
    picture(200, 150).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"nothing"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DAMAGED):
            decode_crop(str(tmp_path / name), size=32, channels=3, rng=np.random.default_rng(1))


def test_a_png_that_is_called_a_jpeg_is_read_all_the_same(tmp_path: Path) -> None:
    picture(200, 150).save(tmp_path / "a.jpg", format="PNG")
    assert decode_crop(str(tmp_path / "a.jpg"), size=32, channels=3, rng=np.random.default_rng(1)).any()


@pytest.mark.parametrize("workers", [0, 2])
def test_crops_follow_from_the_seed_and_the_image_alone(tmp_path: Path, workers: int) -> None:
    for i in range(6):
        picture(100 + 10 * i, 90).save(tmp_path / f"{i}.png")
    split = StreamedSplit(
        root=str(tmp_path),
        paths=np.array([f"{i}.png".encode() for i in range(6)]),
        labels=np.arange(6),
        size=32,
        channels=3,
        workers=workers,
    )
    first = {int(y): x for xs, ys in split.cropped(7).batches(4) for x, y in zip(xs, ys, strict=True)}
    order = np.array([5, 2, 0])
    images, labels = next(split.cropped(7).batches(3, order=order))
    assert labels.tolist() == [5, 2, 0]
    assert all((image == first[int(label)]).all() for image, label in zip(images, labels, strict=True))
    other = next(split.cropped(8).batches(6))[0]
    assert not all((other[i] == first[i]).all() for i in range(6))
    centre = next(split.batches(6))[0]
    assert not (centre[0] == first[0]).all()
    assert split.cropped(7).damaged is split.damaged
