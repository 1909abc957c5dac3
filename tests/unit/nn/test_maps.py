"""Repartition: what it keeps, what it pools and what it repeats."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from octnas.errors import ArchitectureError
from octnas.nn import repartition
from octnas.nn.maps import half, pool, upsample


def make(n_high: int, n_low: int, size: tuple[int, int]) -> tuple[Tensor | None, Tensor | None]:
    rng = torch.Generator().manual_seed(n_high * 7 + n_low)
    high = torch.randn(2, n_high, *size, generator=rng) if n_high else None
    low = torch.randn(2, n_low, *half(size), generator=rng) if n_low else None
    return high, low


def channels(x: Tensor | None) -> int:
    return 0 if x is None else x.shape[1]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6), st.data(), st.sampled_from([1, 2, 3]), st.tuples(st.integers(1, 9), st.integers(1, 9))
)
def test_there_and_back_moves_only_the_boundary(
    per_group: int, data: st.DataObject, groups: int, size: tuple[int, int]
) -> None:
    total = per_group * groups
    before = data.draw(st.integers(0, per_group)) * groups
    after = data.draw(st.integers(0, per_group)) * groups
    high, low = make(total - before, before, size)
    moved = repartition((high, low), after, size, groups=groups)
    assert (channels(moved[0]), channels(moved[1])) == (total - after, after)
    for branch, expected in zip(moved, (size, half(size)), strict=True):
        assert branch is None or branch.shape[-2:] == expected
    # Each channel is found in the branch where it belongs, at the resolution of that branch.
    for group in range(groups):
        for channel in range(per_group):
            old = pick((high, low), group, channel, groups, before, total)
            new = pick(moved, group, channel, groups, after, total)
            if old.shape == new.shape and (channel < per_group - before // groups) == (
                channel < per_group - after // groups
            ):
                assert torch.equal(old, new)
            elif channel < per_group - before // groups:
                assert torch.allclose(pool(old[:, None])[:, 0], new)
            else:
                assert torch.equal(upsample(old[:, None], size)[:, 0], new)
    back = repartition(moved, before, size, groups=groups)
    if after <= before:
        # Upsampling and pooling again is the identity.
        for ours, theirs in zip(back, (high, low), strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None and theirs is not None:
                torch.testing.assert_close(ours, theirs)


def pick(
    x: tuple[Tensor | None, Tensor | None], group: int, channel: int, groups: int, low: int, total: int
) -> Tensor:
    """Channel `channel` of group `group`, wherever it lives: (B, H, W) of its own resolution."""
    cut = (total - low) // groups
    branch, index = (
        (x[0], group * cut + channel) if channel < cut else (x[1], group * (low // groups) + channel - cut)
    )
    assert branch is not None
    return branch[:, index]


def test_upsampling_repeats_every_pixel_and_crops_at_every_size() -> None:
    for height in range(1, 70):
        low = torch.arange(half((height, 1))[0], dtype=torch.float32).view(1, 1, -1, 1)
        want = torch.arange(height) // 2
        assert upsample(low, (height, 1)).flatten().tolist() == want.tolist()


@pytest.mark.parametrize("size", [(8, 6), (7, 6), (7, 5)])
def test_pooling_and_its_gradient_weigh_the_pixels_that_exist(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    y = pool(x)
    assert y.shape[-2:] == half(size)
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            window = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            torch.testing.assert_close(y[:, :, i, j], window.mean((2, 3)))
    assert torch.autograd.gradcheck(pool, (x,))


def test_same_low_channels_is_the_same_map() -> None:
    x = make(3, 2, (4, 4))
    assert repartition(x, 2) is x


def test_refuses_what_the_map_does_not_have() -> None:
    with pytest.raises(ArchitectureError, match="0 <= low_channels <= 5"):
        repartition(make(3, 2, (4, 4)), 6)
    with pytest.raises(ArchitectureError, match="multiple of groups=2"):
        repartition(make(4, 2, (4, 4)), 3, groups=2)
    with pytest.raises(ArchitectureError, match="nominal size"):
        repartition(make(0, 4, (7, 7)), 2, (6, 6))
