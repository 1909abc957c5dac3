"""Splits in memory, subsets, statistics, conversion, and names."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from octnas.data import IMAGE_SETS, MemorySplit, load_images
from octnas.data.convert import convert, luma, pad, resize
from octnas.data.sets import balanced_indices, content_fingerprint, statistics
from octnas.errors import DataError, UnknownNameError


def random_split(count: int = 23, size: int = 8, channels: int = 3, seed: int = 0) -> MemorySplit:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, size, size, channels), np.uint8)
    return MemorySplit(images=images, labels=np.arange(count) % 4, size=size, channels=channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_the_images_in_order_and_channels_last(channels: int) -> None:
    split = random_split(channels=channels)
    batches = list(split.batches(5))
    assert [len(labels) for _, labels in batches] == [5, 5, 5, 5, 3]
    images = torch.cat([images for images, _ in batches])
    assert images.dtype is torch.uint8
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), split.images)
    assert torch.cat([labels for _, labels in batches]).tolist() == split.labels.tolist()
    for part, labels in batches:
        assert part.is_contiguous(memory_format=torch.channels_last)
        assert part.stride(1) == 1
        assert labels.dtype is torch.int64


def test_batches_follow_a_given_order_and_drop_the_short_one() -> None:
    split = random_split()
    order = np.random.default_rng(1).permutation(23)[:13]
    batches = list(split.batches(4, order=order, drop_last=True))
    assert len(batches) == 3
    images = torch.cat([images for images, _ in batches]).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(images, split.images[order[:12]])


def test_read_only_arrays_are_never_handed_to_torch() -> None:
    split = random_split()
    split.images.flags.writeable = False
    split.labels.flags.writeable = False
    before = split.images.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for order in (None, np.arange(23)):
            for images, labels in split.batches(7, order=order):
                images.add_(1)
                labels.zero_()
    assert np.array_equal(split.images, before)


def test_pickling_leaves_the_arrays_out_of_band() -> None:
    split = random_split(count=400)
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(split, protocol=5, buffer_callback=buffers.append)
    assert len(stream) < 1000
    again = pickle.loads(stream, buffers=[buffer.raw().toreadonly() for buffer in buffers])
    assert np.array_equal(again.images, split.images)
    assert not again.images.flags.writeable
    assert not again.images.flags.owndata


def test_a_whole_set_pickles() -> None:
    data = load_images("fashion-sample")
    again = pickle.loads(pickle.dumps(data))
    assert again.fingerprint == content_fingerprint(data.classes, (again.train, again.val, again.test))
    assert again.classes == data.classes


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    count=st.integers(0, 150),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_balanced_indices_fill_evenly(sizes: list[int], count: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    chosen = balanced_indices(labels, count, seed)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, sum(sizes))
    got = np.bincount(labels[chosen], minlength=len(sizes))
    for here, available in zip(got, sizes, strict=True):
        # a class is behind another by more than one only where it has no more
        assert here == available or here >= got.max() - 1
    assert np.array_equal(chosen, balanced_indices(labels, count, seed))


def test_subset_is_seeded_and_balanced() -> None:
    data = load_images("fashion-sample")
    first, again, other = (data.train.subset(500, seed) for seed in (3, 3, 4))
    assert set(np.bincount(first.labels)) == {50}
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)
    known = {image.tobytes() for image in data.train.images}
    assert all(image.tobytes() in known for image in first.images)


def test_statistics_equal_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 200, (5000, 4, 4, 3), np.uint8)
    mean, std = statistics(images)
    assert mean == pytest.approx((images / 255).mean(axis=(0, 1, 2)))
    assert std == pytest.approx((images / 255).std(axis=(0, 1, 2)))
    assert statistics(np.zeros((3, 2, 2, 1), np.uint8)) == ((0.0,), (1 / 255,))


def test_luma_equals_pillow() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 40, 40, 3), np.uint8)
    assert np.array_equal(luma(images)[0, ..., 0], np.asarray(Image.fromarray(images[0]).convert("L")))


@pytest.mark.parametrize("size", [8, 13, 40])
def test_resize_is_close_to_pillow(size: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), np.uint8)
    ours = resize(images, size)
    for image, wanted in zip(ours, images, strict=True):
        theirs = np.asarray(Image.fromarray(wanted).resize((size, size), Image.Resampling.BILINEAR))
        assert np.abs(image.astype(int) - theirs.astype(int)).max() <= 1


def test_pad_and_convert() -> None:
    image = np.full((1, 3, 3, 1), 9, np.uint8)
    assert pad(image, 6)[0, :, :, 0].tolist() == [
        [0] * 6, [0, 9, 9, 9, 0, 0], [0, 9, 9, 9, 0, 0], [0, 9, 9, 9, 0, 0], [0] * 6, [0] * 6,
    ]  # fmt: skip
    assert convert(image, size=3, channels=3).tolist() == np.full((1, 3, 3, 3), 9).tolist()
    assert convert(image, size=3, channels=1) is image


def test_channels_and_size_are_converted_at_load() -> None:
    grey = load_images("glyphs")
    wide = load_images("glyphs", size=16, channels=3)
    images, _ = next(wide.val.batches(4))
    assert images.shape == (4, 3, 16, 16)
    assert (wide.size, wide.channels, len(wide.mean)) == (16, 3, 3)
    assert np.array_equal(wide.val.images[:4, ..., 2:], resize(grey.val.images[:4], 16))


def test_beyond_the_memory_limit_images_are_resized_batch_by_batch() -> None:
    eager = load_images("fashion-sample", size=40, channels=3)
    lazy = load_images("fashion-sample", size=40, channels=3, memory_limit=10**6)
    assert eager.val.images.shape[1:] == (40, 40, 3)
    assert lazy.val.images.shape[1:] == (32, 32, 1)
    order = np.array([5, 13_999, 2])
    (one, labels), (other, same) = (next(data.val.batches(3, order=order)) for data in (eager, lazy))
    assert torch.equal(one, other)
    assert torch.equal(labels, same)
    taken, _ = next(lazy.val.take(order).batches(3))
    assert torch.equal(taken, one)


def test_unknown_names_and_bad_figures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'glyphs'.*cifar10, cifar100"):
        load_images("glyfs")
    with pytest.raises(DataError, match=r"no-such does not exist"):
        load_images(str(tmp_path / "no-such"))
    with pytest.raises(DataError, match=r"channels must be 1 .* but is 2"):
        load_images("glyphs", channels=2)
    with pytest.raises(DataError, match=r"size must be 1 px or more, but is 0"):
        load_images("glyphs", size=0)
    assert list(IMAGE_SETS) == sorted(IMAGE_SETS)
