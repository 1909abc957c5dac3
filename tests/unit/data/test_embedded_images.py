"""The embedded sets: their bytes, their balance, and what keeps validation and test apart from training."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from octnas.data import ImageSet, MemorySplit, load_images
from octnas.data.embedded_sets import FOLDER, record, spoil, unpack

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def fashion() -> ImageSet:
    return load_images("fashion-sample")


@pytest.fixture(scope="module")
def glyphs() -> ImageSet:
    return load_images("glyphs")


def rows(split: MemorySplit) -> set[bytes]:
    return {image.tobytes() for image in split.images}


@pytest.mark.parametrize("name", ["fashion", "glyphs"])
def test_arrays_are_those_recorded(name: str) -> None:
    expected = record(name)["sha256"]
    with np.load(FOLDER / f"{name}.npz") as arrays:
        found = {key: hashlib.sha256(arrays[key].tobytes()).hexdigest() for key in arrays.files}
    assert found == expected


def test_files_are_small_enough_for_the_wheel() -> None:
    assert (FOLDER / "glyphs.npz").stat().st_size <= 10_000_000
    assert (FOLDER / "fashion.npz").stat().st_size <= 13_500_000


def test_fashion_counts_and_golden_statistics(fashion: ImageSet) -> None:
    assert [len(split) for split in (fashion.train, fashion.val, fashion.test)] == [10_000, 14_000, 6_000]
    assert (fashion.size, fashion.channels, len(fashion.classes)) == (32, 1, 10)
    assert fashion.mean == pytest.approx((0.219245,), abs=1e-6)
    assert fashion.std == pytest.approx((0.332039,), abs=1e-6)
    assert fashion.flip
    assert fashion.licence == "MIT"
    assert "Copyright (c) 2017 Zalando SE" in (FOLDER / "fashion.LICENSE").read_text(encoding="utf-8")


def test_fashion_is_balanced(fashion: ImageSet) -> None:
    for split in (fashion.train, fashion.val, fashion.test):
        assert set(np.bincount(split.labels)) == {len(split) // 10}


def test_fashion_has_no_image_twice(fashion: ImageSet) -> None:
    train, val, test = (rows(split) for split in (fashion.train, fashion.val, fashion.test))
    assert len(train | val | test) == 30_000


def test_fashion_is_padded_with_black_to_32_px(fashion: ImageSet) -> None:
    native = load_images("fashion-sample", size=28)
    assert native.size == 28
    assert np.array_equal(fashion.val.images[:, 2:30, 2:30], native.val.images)
    ring = fashion.val.images.astype(np.int64).sum() - native.val.images.astype(np.int64).sum()
    assert ring == 0
    assert load_images("fashion-sample", size=32).fingerprint == fashion.fingerprint != native.fingerprint


def test_fashion_does_not_depend_on_the_seed(fashion: ImageSet) -> None:
    assert load_images("fashion-sample", seed=7).fingerprint == fashion.fingerprint


def test_glyph_counts_and_balance(glyphs: ImageSet) -> None:
    assert glyphs.classes == tuple(record("glyphs")["characters"])
    assert len(set(glyphs.classes)) == len(glyphs.classes) == 160
    for split, each in ((glyphs.train, 75), (glyphs.val, 50), (glyphs.test, 50)):
        assert set(np.bincount(split.labels)) == {each}
        assert len(split) == 160 * each
    assert (glyphs.size, glyphs.channels, glyphs.flip) == (32, 1, False)


def test_glyph_fonts_are_disjoint_between_splits() -> None:
    facts = record("glyphs")
    designs = {split: {f["design"] for f in facts["fonts"] if f["split"] == split} for split in SPLITS}
    files = {split: {f["file"] for f in facts["fonts"] if f["split"] == split} for split in SPLITS}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not designs[one] & designs[other]
        assert not files[one] & files[other]
    with np.load(FOLDER / "glyphs.npz") as arrays:
        for split in SPLITS:
            used = np.unique(arrays[f"{split}_fonts"])
            listed = [i for i, font in enumerate(facts["fonts"]) if font["split"] == split]
            assert used.tolist() == listed


def test_each_glyph_font_has_a_licence_and_a_version() -> None:
    for font in record("glyphs")["fonts"]:
        assert font["licence"]
        assert font["package"].startswith("fonts-")
        assert font["version"][0].isdigit()


def test_each_glyph_class_has_every_font_of_its_split() -> None:
    with np.load(FOLDER / "glyphs.npz") as arrays:
        for split in SPLITS:
            labels, fonts = arrays[f"{split}_labels"], arrays[f"{split}_fonts"]
            table = np.zeros((160, 64), np.int64)
            np.add.at(table, (labels, fonts), 1)
            used = table[:, np.unique(fonts)]
            assert used.min() >= 1
            assert (used.max(axis=1) - used.min(axis=1)).max() <= 1


def test_glyph_golden_statistics(glyphs: ImageSet) -> None:
    assert glyphs.mean == pytest.approx((0.214634,), abs=5e-4)
    assert glyphs.std == pytest.approx((0.237556,), abs=5e-4)


def test_glyph_noise_repeats_by_seed(glyphs: ImageSet) -> None:
    again, other = load_images("glyphs"), load_images("glyphs", seed=1)
    assert again.fingerprint == glyphs.fingerprint
    assert np.array_equal(again.train.images, glyphs.train.images)
    assert other.fingerprint != glyphs.fingerprint
    assert np.array_equal(other.train.labels, glyphs.train.labels)
    assert not np.array_equal(other.train.images, glyphs.train.images)


def test_clean_glyphs_have_ink_in_the_middle_and_little_at_the_rim() -> None:
    with np.load(FOLDER / "glyphs.npz") as arrays:
        levels = unpack(arrays["val_images"]).astype(np.float64) / 15
    assert levels.max() == 1.0
    assert 0.08 < levels.mean() < 0.4
    assert levels.mean(axis=(1, 2)).min() > 0.01
    assert levels[:, [0, -1]].mean() < 0.02


def test_unpack_takes_the_high_half_first() -> None:
    assert unpack(np.array([[[0x1F, 0xA0]]], np.uint8)).tolist() == [[[1, 15, 10, 0]]]


def test_spoil_keeps_ink_brighter_than_background_and_adds_noise() -> None:
    levels = np.zeros((40, 32, 32), np.uint8)
    levels[:, :, 16:] = 15
    images = spoil(levels, np.random.default_rng(0)).astype(np.float64)
    dark, bright = images[:, :, :16], images[:, :, 16:]
    assert (bright.mean(axis=(1, 2)) - dark.mean(axis=(1, 2))).min() > 50
    assert 5 < np.median(bright.std(axis=(1, 2))) < 14  # the noise is uniform in 3..16 grey levels
    assert bright.std(axis=(1, 2)).max() < 17
    assert len(np.unique(dark.mean(axis=(1, 2)).round())) > 15
