"""Batch normalisation of packed maps, in channels-last layout.

PyTorch's kernels for channels-last maps take a vector of channels at a time, and are up to eight times slower
on maps of fewer channels than a vector holds. Here neighbouring pixels of a row lie side by side as channels
too, as the pixels of a window do in a packed map, so that the vectors are full; sums over pixels and windows
are finished on vectors of a few hundred numbers, in float32.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from octnas.nn.norm import OctBatchNorm2d

__all__ = ["Channels", "normalise"]

_VECTOR = 32
"""Channels of a full vector, in bfloat16 with 512 bits."""
_aten = torch.ops.aten


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """How the sums of a wide view become those of the dense channels."""

    side: int
    """Pixels of a row that lie side by side as channels."""
    of: Tensor
    """The dense channel of each wide one."""
    sums: Tensor
    """(wide, C): adds up."""
    means: Tensor
    """(wide, C): averages."""
    inverse: Tensor
    """One over the numbers behind each dense channel's statistics."""
    unbiased: Tensor
    """n / (n - 1) of these numbers."""


class Channels:
    """The channels of a packed map, and which dense channel each one is of."""

    def __init__(self, channels: int, low: int) -> None:
        high = channels - low
        self._of = torch.cat([*[torch.arange(high)] * 4, torch.arange(high, channels)])
        self._pixels = torch.cat((torch.full((high,), 4.0), torch.ones(low)))
        self._known: dict[tuple[int, int], _Sums] = {}
        self._matrices: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    @staticmethod
    @functools.cache
    @torch.inference_mode(False)  # what is made here is used in trainings too
    def of(channels: int, low: int) -> Channels:
        """The channels of every such map, made once."""
        return Channels(channels, low)

    def summed(self, width: int, count: int) -> _Sums:
        """For rows of `width` px, and `count` numbers in a packed channel."""
        key = width, count
        if key not in self._known:
            with torch.inference_mode(False):
                self._known[key] = self._made(width, count)
        return self._known[key]

    def _made(self, width: int, count: int) -> _Sums:
        side = 1
        while len(self._of) * side % _VECTOR and width % (2 * side) == 0:
            side *= 2
        if side not in self._matrices:
            of = self._of.repeat(side)
            sums = torch.zeros(len(of), len(self._pixels))
            sums[torch.arange(len(of)), of] = 1.0
            self._matrices[side] = of, sums, sums / (self._pixels * side)
        of, sums, means = self._matrices[side]
        counts = self._pixels * count
        return _Sums(
            side=side, of=of, sums=sums, means=means, inverse=1 / counts, unbiased=counts / (counts - 1)
        )


def normalise(
    x: Tensor, norm: OctBatchNorm2d, channels: Channels, *, shortcut: Tensor | None = None, relu: bool = False
) -> Tensor:
    """The packed map normalised with the parameters of `norm`, whose statistics are kept up.

    Args:
        x: (B, packed channels, H, W), channels last.
        shortcut: of the same shape, added afterwards.
        relu: whether a ReLU comes last.
    """
    images, _, height, width = x.shape
    sums = channels.summed(width, images * height * width)
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    assert norm.momentum is not None
    if norm.training:
        settings = sums, norm.momentum, norm.eps, relu
        out = _Normalised.apply(x, shortcut, norm.weight, norm.bias, mean, var, settings)
        return cast(Tensor, out)
    vectors = torch.stack((norm.weight, norm.bias, mean, var)).index_select(1, sums.of)
    wide = _affine(_wide(x, sums.side), vectors, norm.eps)
    return _narrow(_ended(wide, shortcut, sums.side, relu), sums.side)


def _wide(x: Tensor, side: int) -> Tensor:
    """A view with `side` neighbouring pixels of a row as channels: (B, side * C, H, W / side)."""
    if side == 1:
        return x
    images, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).view(images, height, width // side, side * channels)
    return rows.permute(0, 3, 1, 2)


def _narrow(x: Tensor, side: int) -> Tensor:
    """The inverse of `_wide`."""
    if side == 1:
        return x
    images, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).view(images, height, width * side, channels // side)
    return rows.permute(0, 3, 1, 2)


def _affine(x: Tensor, vectors: Tensor, eps: float) -> Tensor:
    """weight * (x - mean) / sqrt(var + eps) + bias, the four of them rows of `vectors`."""
    weight, bias, mean, var = vectors.unbind()
    return torch.native_batch_norm(x, weight, bias, mean, var, False, 0.0, eps)[0]


def _ended(x: Tensor, shortcut: Tensor | None, side: int, relu: bool) -> Tensor:
    if shortcut is not None:
        x.add_(_wide(shortcut.contiguous(memory_format=torch.channels_last), side))
    return x.relu_() if relu else x


class _Normalised(torch.autograd.Function):
    """Batch-norm with the sum and the ReLU that follow it."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shortcut: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        settings: tuple[_Sums, float, float, bool],
    ) -> Tensor:
        sums, momentum, eps, relu = settings
        wide = _wide(x, sums.side)
        # Statistics come in the number format of the running ones, which are not wanted here.
        unused = weight.new_zeros(wide.shape[1])
        wide_mean, wide_var = _aten.batch_norm_update_stats(wide, unused, unused, 0.0)
        mean = wide_mean @ sums.means
        apart = wide_mean - mean.index_select(0, sums.of)
        var = torch.addcmul(wide_var, apart, apart) @ sums.means
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * sums.unbiased, momentum)
        vectors = torch.stack((weight, bias, mean, var)).index_select(1, sums.of)
        out = _narrow(_ended(_affine(wide, vectors, eps), shortcut, sums.side, relu), sums.side)
        ctx.save_for_backward(x, vectors, *([out] if relu else []))
        ctx.sums, ctx.eps, ctx.adds = sums, eps, shortcut is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, vectors, *out = ctx.saved_tensors
        sums: _Sums = ctx.sums
        weight, _, mean, var = vectors.unbind()
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if out:
            gradient = _aten.threshold_backward(gradient, out[0], 0)
        wide, of_wide = _wide(x, sums.side), _wide(gradient, sums.side)
        # As if the statistics were constants; then what they add, which is linear in x.
        of_x, *wide_totals = _aten.native_batch_norm_backward(
            of_wide, wide, weight, mean, var, None, None, False, ctx.eps, (True, True, True)
        )
        totals = torch.stack(wide_totals) @ sums.sums
        slopes = (
            (totals * sums.inverse).index_select(1, sums.of).mul_(weight).mul_(torch.rsqrt(var + ctx.eps))
        )
        of_x.sub_(_affine(wide, torch.cat((slopes, vectors[2:])), ctx.eps))
        of_shortcut = gradient if ctx.adds else None
        return _narrow(of_x, sums.side), of_shortcut, totals[0], totals[1], None, None, None
