"""The drawn clip tasks: what a set of frames can know, and that a clip is the same wherever it is drawn."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from octnas.data import CLIP_SETS, DrawnClips, ImageSet, load_clips, load_images
from octnas.data.clip_sets import GARMENTS, MOTIONS, motion_paths
from octnas.data.drawn_clips import _noise, frame_times, placements

PAIRS = (("left", "right"), ("up", "down"), ("clockwise", "counterclockwise"), ("grow", "shrink"))


@pytest.fixture(scope="module")
def motion() -> ImageSet:
    return load_clips("clips-motion", frames=6, size=20)


@pytest.fixture(scope="module")
def appearance() -> ImageSet:
    return load_clips("clips-appearance", frames=4, size=20)


def clean(split: DrawnClips, count: int = 16) -> DrawnClips:
    """The first clips without noise."""
    part = split.take(np.arange(count))
    return replace(part, shades=part.shades * np.array([1, 1, 0], np.float32))


def moved(split: DrawnClips, name: str, frames: int, seed: int = 3) -> DrawnClips:
    """The same garments and shades, all of the class `name`, with poses and speeds of `seed`."""
    labels = np.full(len(split), MOTIONS.index(name))
    paths = motion_paths(labels, np.random.default_rng(seed))
    return replace(split, labels=labels, placed=placements(paths, frames))


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("frames", [1, 3, 4, 6, 8])
def test_each_pair_is_one_motion_and_its_reversal_bit_for_bit(
    motion: ImageSet, one: str, other: str, frames: int
) -> None:
    still = clean(motion.train)
    forwards, backwards = (moved(still, name, frames).draw(np.arange(16)) for name in (one, other))
    assert np.array_equal(forwards[:, ::-1], backwards)
    if frames > 1:
        assert all((a != b).any() for a, b in zip(forwards, backwards, strict=True))


def centroids(clips: np.ndarray) -> np.ndarray:
    """(B, T, 2): the centre of mass (x, y) of what is brighter than the background, in px from the middle."""
    light = clips[..., 0].astype(float)
    light -= light.min(axis=(1, 2, 3), keepdims=True)
    place = np.arange(light.shape[-1]) - (light.shape[-1] - 1) / 2
    total = light.sum(axis=(2, 3))
    x, y = (light.sum(axis=axis) @ place / total for axis in (2, 3))
    return np.stack([x, y], axis=-1)


@pytest.mark.parametrize(
    ("name", "axis", "sign"), [("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)]
)
def test_shifts_go_where_their_class_says(motion: ImageSet, name: str, axis: int, sign: int) -> None:
    where = centroids(moved(clean(motion.train), name, 8).draw(np.arange(16)))
    way = where[:, -1] - where[:, 0]
    # 7/8 of the way over the clip, which is 0.26 to 0.40 of 20 px, less what leaves the frame
    assert (sign * way[:, axis]).min() > 3.5
    assert (sign * way[:, axis]).max() < 7.1
    assert np.abs(way[:, 1 - axis]).max() < 0.5


def test_turns_and_growth_go_where_their_class_says(motion: ImageSet) -> None:
    split = clean(motion.train)
    bar = np.zeros_like(split.pictures)
    middle = bar.shape[-1] // 2
    bar[:, middle - 1 : middle + 2, middle:] = 255  # a hand that points to the right
    split = replace(split, pictures=bar)
    for name, sign in (("clockwise", 1), ("counterclockwise", -1)):
        still = split.take(np.arange(16))
        paths = motion_paths(np.full(16, MOTIONS.index(name)), np.random.default_rng(0))
        centred = replace(paths, x=0 * paths.x, y=0 * paths.y)
        where = centroids(replace(still, placed=placements(centred, 8)).draw(np.arange(16)))
        angle = np.arctan2(where[..., 1], where[..., 0])  # y is down: rising is clockwise
        turned = np.degrees(sign * (angle[:, -1] - angle[:, 0]))
        assert 0.875 * 55 - 6 < turned.min() < turned.max() < 0.875 * 90 + 6
    for name, sign in (("grow", 1), ("shrink", -1)):
        clips = moved(clean(motion.train), name, 8).draw(np.arange(16))[..., 0].astype(float)
        light = clips.sum(axis=(2, 3)) - clips.min(axis=(1, 2, 3))[:, None] * 400
        ratio = (light[:, -1] / light[:, 0]) ** sign
        assert 1.6 ** (2 * 0.875) * 0.8 < ratio.min() < ratio.max() < 2.1 ** (2 * 0.875) * 1.2


def test_noise_and_middle_pose_have_no_bearing_on_the_class(motion: ImageSet) -> None:
    # a property of how the figures are drawn: they follow the seed, never the label
    labels = np.arange(800) % 8
    one = motion_paths(labels, np.random.default_rng(5))
    other = motion_paths(labels[::-1].copy(), np.random.default_rng(5))
    for field in ("x", "y", "angle", "scale"):
        assert np.array_equal(getattr(one, field), getattr(other, field))
    for field in ("travel_x", "travel_y", "turn", "growth"):
        for sign in (1, -1):
            speeds = sign * getattr(one, field)
            assert (speeds > 0).sum() == 100


@pytest.mark.parametrize("name", sorted(CLIP_SETS))
def test_a_clip_is_the_same_in_whatever_batch(name: str) -> None:
    data = load_clips(name, frames=4, size=20)
    split = data.val
    assert isinstance(split, DrawnClips)
    whole = split.draw(np.arange(300))
    for batch in (1, 7, 32, 129):
        parts = [clips for clips, _ in split.take(np.arange(300)).batches(batch)]
        assert np.array_equal(torch.cat(parts).permute(0, 2, 3, 4, 1).numpy(), whole)
    order = np.array([299, 3, 3, 150])
    (clips, labels), *rest = split.batches(4, order=order)
    assert rest == []
    assert np.array_equal(clips.permute(0, 2, 3, 4, 1).numpy(), whole[order])
    assert labels.tolist() == split.labels[order].tolist()
    assert [len(labels) for _, labels in split.batches(3, order=order, drop_last=True)] == [3]
    subset = split.subset(60, 1)
    assert set(np.bincount(subset.labels)) <= {60 // len(data.classes), 60 // len(data.classes) + 1}
    again = load_clips(name, frames=4, size=20).val
    assert isinstance(again, DrawnClips)
    assert np.array_equal(again.draw(np.arange(300)), whole)
    other = load_clips(name, frames=4, size=20, seed=1)
    assert isinstance(other.val, DrawnClips)
    assert not np.array_equal(other.val.draw(np.arange(300)), whole)
    assert other.fingerprint != data.fingerprint == load_clips(name, frames=4, size=20).fingerprint


def test_batches_have_channels_last_3d_strides(motion: ImageSet) -> None:
    clips, labels = next(motion.train.batches(5))
    assert clips.shape == (5, 1, 6, 20, 20)
    assert clips.dtype is torch.uint8
    assert clips.permute(0, 2, 3, 4, 1).is_contiguous()
    assert labels.dtype is torch.int64


def test_counts_classes_and_defaults(motion: ImageSet, appearance: ImageSet) -> None:
    assert (motion.classes, appearance.classes) == (MOTIONS, GARMENTS)
    for data, counts in ((motion, (10_000, 4_000, 4_000)), (appearance, (6_000, 4_000, 3_600))):
        assert data.test is not None
        splits = (data.train, data.val, data.test)
        assert tuple(len(split) for split in splits) == counts
        for split in splits:
            per_class = np.bincount(split.labels, minlength=len(data.classes))
            assert per_class.max() - per_class.min() <= 1
    assert (motion.flip, appearance.flip) == (False, True)
    assert (motion.mean, motion.std) == (
        pytest.approx((0.1923,), abs=5e-3),
        pytest.approx((0.1655,), abs=5e-3),
    )
    plain = load_clips("clips-motion", frames=8)
    assert (plain.size, plain.channels, plain.frames, plain.shape) == (24, 1, 8, (1, 8, 24, 24))


def test_no_garment_is_in_two_splits() -> None:
    # at 44 px a picture is kept at its own 28 px, so it can be found again
    data = load_clips("clips-appearance", frames=1, size=44)
    images = load_images("fashion-sample", size=28)
    for mine, theirs in ((data.train, images.train), (data.val, images.val), (data.test, images.test)):
        assert isinstance(mine, DrawnClips)
        label_of = {image.tobytes(): label for image, label in zip(theirs.images, theirs.labels, strict=True)}
        named = [images.classes[label_of[picture.tobytes()]] for picture in mine.pictures]
        assert named == [data.classes[label] for label in mine.labels]
        assert len({picture.tobytes() for picture in mine.pictures}) == len(mine)


def test_statistics_are_those_of_the_training_pixels(motion: ImageSet) -> None:
    assert isinstance(motion.train, DrawnClips)
    pixels = motion.train.draw(np.arange(3000)) / 255
    assert motion.mean == pytest.approx((pixels.mean(),), abs=0.005)
    assert motion.std == pytest.approx((pixels.std(),), abs=0.005)


def test_more_frames_sample_the_same_path(motion: ImageSet) -> None:
    assert frame_times(2).tolist() == [-0.25, 0.25]
    assert frame_times(6)[1::3].tolist() == frame_times(2).tolist()
    dense = load_clips("clips-motion", frames=18, size=20).train
    assert isinstance(motion.train, DrawnClips)
    assert isinstance(dense, DrawnClips)
    few, many = clean(motion.train).draw(np.arange(16)), clean(dense).draw(np.arange(16))
    assert np.array_equal(many[:, 1::3], few)


def test_rgb_repeats_grey(motion: ImageSet) -> None:
    colour = load_clips("clips-motion", frames=6, size=20, channels=3)
    assert (colour.channels, len(colour.mean)) == (3, 3)
    assert isinstance(colour.train, DrawnClips)
    assert isinstance(motion.train, DrawnClips)
    clips, grey = colour.train.draw(np.arange(4)), motion.train.draw(np.arange(4))
    assert np.array_equal(clips, np.repeat(grey, 3, axis=-1))


def test_noise_is_nearly_gaussian_and_differs_by_key_and_place() -> None:
    noise = _noise(np.arange(50, dtype=np.uint32), 4000).astype(np.float64)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert (np.abs(noise) < 1).mean() == pytest.approx(0.66, abs=0.03)
    assert np.abs(np.corrcoef(noise))[~np.eye(50, dtype=bool)].max() < 0.1
    assert np.abs([np.corrcoef(row[:-1], row[1:])[0, 1] for row in noise]).max() < 0.1


def test_pickling_leaves_the_arrays_out_of_band(motion: ImageSet) -> None:
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(motion.train, protocol=5, buffer_callback=buffers.append)
    assert len(stream) < 2000
    again = pickle.loads(stream, buffers=buffers)
    assert np.array_equal(again.draw(np.arange(3)), motion.train.draw(np.arange(3)))  # type: ignore[attr-defined]
