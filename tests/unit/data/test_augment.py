"""Augmentation against a naive loop over images, and its seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from octnas.data import augment, normalise


def random_batch(count: int, channels: int, side: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(1, 256, (count, side, side, channels), np.uint8))
    return images.permute(0, 3, 1, 2)


def placements(image: torch.Tensor, reach: int, flip: bool) -> dict[tuple[int, int, bool], torch.Tensor]:
    """Every shift and mirror of one (C, H, W), naively."""
    side = image.shape[-1]
    result = {}
    canvas = torch.nn.functional.pad(image, (reach,) * 4)
    for mirrored in (False, True) if flip else (False,):
        for dy in range(2 * reach + 1):
            for dx in range(2 * reach + 1):
                window = canvas[:, dy : dy + side, dx : dx + side]
                result[dy, dx, mirrored] = torch.flip(window, (2,)) if mirrored else window
    return result


@pytest.mark.parametrize(
    ("channels", "side", "flip"), [(1, 32, False), (3, 32, True), (3, 16, True), (1, 7, True)]
)
def test_every_image_is_one_of_its_naive_placements(channels: int, side: int, flip: bool) -> None:
    batch = random_batch(48, channels, side)
    result = augment(batch, torch.Generator().manual_seed(1), flip=flip)
    assert result.shape == batch.shape
    assert result.dtype is torch.uint8
    assert result.is_contiguous(memory_format=torch.channels_last)
    seen = set()
    for image, changed in zip(batch, result, strict=True):
        matches = [
            key for key, value in placements(image, side // 8, flip).items() if torch.equal(value, changed)
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > (25 if side == 32 else 1)
    assert {key[2] for key in seen} == ({False, True} if flip else {False})


def test_shift_reaches_an_eighth_both_ways_and_no_further() -> None:
    batch = torch.zeros(2000, 1, 32, 32, dtype=torch.uint8)
    batch[:, :, 16, 16] = 255
    result = augment(batch, torch.Generator().manual_seed(0), flip=False)
    _, _, rows, columns = torch.nonzero(result, as_tuple=True)
    for where in (rows, columns):
        counts = torch.bincount(where, minlength=32)
        assert where.min() == 12
        assert where.max() == 20
        assert counts[12:21].min() > 2000 / 9 * 0.7  # nine shifts, equally likely


def test_half_of_the_images_are_mirrored() -> None:
    batch = torch.zeros(2000, 1, 4, 4, dtype=torch.uint8)  # too small to shift
    batch[:, :, :, 0] = 1
    result = augment(batch, torch.Generator().manual_seed(0), flip=True)
    mirrored = result[:, 0, 0, 3].float().mean().item()
    assert 0.45 < mirrored < 0.55


def test_generator_seeds_repeat_and_the_batch_is_left_alone() -> None:
    batch = random_batch(16, 1, 32)
    before = batch.clone()
    first, again, other = (
        augment(batch, torch.Generator().manual_seed(seed), flip=True) for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(batch, before)


def test_the_global_generator_is_not_touched() -> None:
    state = torch.get_rng_state()
    augment(random_batch(4, 1, 32), torch.Generator().manual_seed(0), flip=True)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_by_value(channels: int) -> None:
    batch = random_batch(8, channels, 16)
    mean, std = [0.2, 0.4, 0.6][:channels], [0.5, 0.25, 0.125][:channels]
    result = normalise(batch, mean, std)
    shape = (1, channels, 1, 1)
    expected = (batch.double() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    assert result.dtype is torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)
    half = normalise(batch, mean, std, torch.bfloat16)
    assert half.dtype is torch.bfloat16
    assert torch.equal(half, result.to(torch.bfloat16))


@pytest.mark.parametrize(("channels", "flip"), [(1, True), (3, False)])
def test_a_clip_moves_as_its_frames_would_alone(channels: int, flip: bool) -> None:
    rng = np.random.default_rng(0)
    clips = torch.from_numpy(rng.integers(0, 256, (9, 5, 16, 16, channels), np.uint8)).permute(0, 4, 1, 2, 3)
    result = augment(clips, torch.Generator().manual_seed(3), flip=flip)
    assert result.shape == clips.shape
    assert result.permute(0, 2, 3, 4, 1).is_contiguous()
    for time in range(5):
        # the same seed draws the same shift for each image as for each clip
        alone = augment(clips[:, :, time], torch.Generator().manual_seed(3), flip=flip)
        assert torch.equal(result[:, :, time], alone)


def test_normalise_clips_by_value() -> None:
    clips = torch.arange(4 * 3 * 2 * 5 * 5).remainder(256).to(torch.uint8).view(4, 2, 5, 5, 3)
    clips = clips.permute(0, 4, 1, 2, 3)
    result = normalise(clips, [0.2, 0.4, 0.6], [0.5, 0.25, 0.125])
    for time in range(2):
        assert torch.equal(
            result[:, :, time], normalise(clips[:, :, time], [0.2, 0.4, 0.6], [0.5, 0.25, 0.125])
        )
    assert result.permute(0, 2, 3, 4, 1).is_contiguous()
