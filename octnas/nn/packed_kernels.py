"""Kernels of packed layers, made of the dense ones, and the constant matrices that move packed channels.

A packed map of h high and l low channels has 4 h + l channels: the high ones at pixel (0, 0) of every 2x2
window, then at (0, 1), (1, 0) and (1, 1), then the low ones. A stride-1 octave layer is one convolution of
such maps with the same kernel size. With p, q the row (or column) of a pixel in its window, a tap a (from the
centre) of a high-to-high kernel leads from pixel p to p + a: to the window floor((p + a) / 2), the pixel
(p + a) mod 2. High to low all four pixels count a quarter, low to high each of the four gets the same, and
low to low the kernel is the dense one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Kernels", "channel_means", "moved_channels"]

Layer = tuple[int, int, int, int, int]
"""Output channels, input channels, kernel size, low input and low output channels."""
Ids = NDArray[np.int64]
_PIXELS = [(0, 0), (0, 1), (1, 0), (1, 1)]


class Kernels:
    """Makes the packed kernels of many layers at once: three operations for a whole network."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        wholes, shapes, quarters = [], [], []
        count = 0
        for layer in layers:
            out_channels, in_channels, size, low_in, low_out = layer
            shape = out_channels, size, size, in_channels
            dense = count + np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
            quarter = np.zeros(dense.shape, bool)
            quarter[out_channels - low_out :, :, :, : in_channels - low_in] = bool(low_out)
            wholes.append(_places(dense, low_in, low_out))
            shapes.append(wholes[-1].shape)
            quarters.append(quarter.ravel())
            count += dense.size
        ids = np.concatenate([whole.ravel() for whole in wholes])
        is_quarter = np.concatenate(quarters)
        # Behind the weights stand their quarters, and a zero.
        source = np.where(ids < 0, 2 * count, ids + count * is_quarter[ids])
        self._shapes, self._sizes = shapes, [int(np.prod(shape)) for shape in shapes]
        self._source = torch.from_numpy(source)
        self._uses = torch.from_numpy(_uses(ids, count))
        self._scale = torch.from_numpy(np.where(is_quarter, np.float32(0.25), np.float32(1)))

    def __call__(self, weights: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """Kernels (4 h_out + l_out, 4 h_in + l_in, k, k), channels last, in a number format."""
        flat = torch.cat([weight.permute(0, 2, 3, 1).reshape(-1) for weight in weights])
        packed = _Gathered.apply(flat, dtype, self._source, self._uses, self._scale)
        parts = torch.split(packed, self._sizes)
        return [part.view(shape).permute(0, 3, 1, 2) for part, shape in zip(parts, self._shapes, strict=True)]


class _Gathered(torch.autograd.Function):
    """Weights at their places; the gradient of each is the sum over its places, always in the same order."""

    @staticmethod
    def forward(
        ctx: Any, flat: Tensor, dtype: torch.dtype, source: Tensor, uses: Tensor, scale: Tensor
    ) -> Tensor:
        ctx.save_for_backward(uses, scale)
        ctx.dtype = flat.dtype
        flat = flat.to(dtype)
        return torch.cat((flat, flat * 0.25, flat.new_zeros(1))).index_select(0, source)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        uses, scale = ctx.saved_tensors
        places = torch.cat((gradient, gradient.new_zeros(1))).index_select(0, uses.view(-1))
        return places.view(uses.shape).sum(0, dtype=ctx.dtype).mul_(scale), None, None, None, None


def _places(dense: Ids, low_in: int, low_out: int) -> Ids:
    """For each place of a packed kernel (outputs, k, k, inputs) the dense weight that stands there, or -1."""
    out_channels, size, _, in_channels = dense.shape
    if not low_in and not low_out:
        return dense
    h_in, h_out, centre = in_channels - low_in, out_channels - low_out, size // 2
    packed = np.full((4 * h_out + low_out, size, size, 4 * h_in + low_in), -1, np.int64)
    for pixel, (p, q) in enumerate(_PIXELS):
        rows, columns = slice(pixel * h_out, (pixel + 1) * h_out), slice(pixel * h_in, (pixel + 1) * h_in)
        for a in range(size):
            for b in range(size):
                (row, p_from), (column, q_from) = divmod(p + a - centre, 2), divmod(q + b - centre, 2)
                first = (2 * p_from + q_from) * h_in
                packed[rows, row + centre, column + centre, first : first + h_in] = dense[:h_out, a, b, :h_in]
        packed[rows, :, :, 4 * h_in :] = dense[:h_out, :, :, h_in:]
        packed[4 * h_out :, :, :, columns] = dense[h_out:, :, :, :h_in]
    packed[4 * h_out :, :, :, 4 * h_in :] = dense[h_out:, :, :, h_in:]
    return packed


def _uses(ids: Ids, count: int) -> Ids:
    """(4, count): the places of each dense weight in ascending order, then the place of a zero."""
    places = np.flatnonzero(ids >= 0)
    places = places[np.argsort(ids[places], kind="stable")]
    owners = ids[places]
    nth = np.arange(len(owners)) - np.searchsorted(owners, owners)
    uses = np.full((4, count), len(ids), np.int64)
    uses[nth, owners] = places
    return uses


@functools.cache
@torch.inference_mode(False)
def channel_means(channels: int, low: int, dtype: torch.dtype) -> Tensor:
    """(C, 4 h + l, 1, 1): the mean of each high channel's four pixels, and the low channels as they are."""
    high = channels - low
    matrix = torch.zeros(channels, 4 * high + low)
    for pixel in range(4):
        matrix[:high, pixel * high : (pixel + 1) * high] = torch.eye(high) / 4
    matrix[high:, 4 * high :] = torch.eye(low)
    return matrix[:, :, None, None].to(dtype)


@functools.cache
@torch.inference_mode(False)
def moved_channels(channels: int, before: int, after: int, dtype: torch.dtype) -> Tensor:
    """Repartition of a packed map from `before` to `after` low channels, as the kernel of a convolution."""
    h_before, h_after = channels - before, channels - after
    matrix = torch.zeros(4 * h_after + after, 4 * h_before + before)
    for channel in range(channels):
        for pixel in range(4):
            to = pixel * h_after + channel if channel < h_after else 4 * h_after + channel - h_after
            of = pixel * h_before + channel if channel < h_before else 4 * h_before + channel - h_before
            matrix[to, of] = 0.25 if channel >= h_after and channel < h_before else 1.0
    return matrix[:, :, None, None].to(dtype)
