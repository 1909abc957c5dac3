"""Kernels of packed layers, made of the dense ones, and the constant matrices that move packed channels.

A packed map of h high and l low channels has 4 h + l channels: the high ones at pixel (0, 0) of every 2x2
window, then at (0, 1), (1, 0) and (1, 1), then the low ones. A stride-1 octave layer is one convolution of
such maps with the same kernel size. With p, q the row (or column) of a pixel in its window, a tap a (from the
centre) of a high-to-high kernel leads from pixel p to p + a: to the window floor((p + a) / 2), the pixel
(p + a) mod 2. High to low all four pixels count a quarter, low to high each of the four gets the same, and
low to low the kernel is the dense one.

Where a weight stands is linear in p, q, its channels and half its taps, for even and for odd taps by
themselves: row p + 2 m is (window m, pixel p), and p + 2 m - 1 is (m - 1, 1) for p = 0 and (m, 0) for p = 1.
So a packed kernel is seven strided copies of parts of the dense one, and no table of places is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Kernels", "channel_means", "moved_channels"]

Layer = tuple[int, int, int, int, int]
"""Output channels, input channels, kernel size, low input and low output channels."""


class _Part(NamedTuple):
    """A part of a dense kernel (outputs, k, k, inputs) as a strided view, and where it stands packed."""

    shape: tuple[int, ...]
    """Two numbers of pixels, then any others."""
    places: tuple[int, ...]
    """Strides in the packed kernel (outputs, k, k, inputs)."""
    first_place: int
    weights: tuple[int, ...]
    """Strides in the dense kernel: 0 for the pixels, of which each has the same weight."""
    first_weight: int
    quarter: bool
    """Whether a quarter of the weight stands there."""


class Kernels:
    """Makes the packed kernels of many layers, and the gradients of the dense ones."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._layers = tuple(layers)

    def __call__(self, weights: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """Kernels (4 h_out + l_out, 4 h_in + l_in, k, k), channels last, in a number format."""
        return list(_Packed.apply(self._layers, dtype, *weights))


class _Packed(torch.autograd.Function):
    """Weights at their places; the gradient of each is the sum over its places, always in the same order."""

    @staticmethod
    def forward(
        ctx: Any, layers: Sequence[Layer], dtype: torch.dtype, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.layers, ctx.dtype = layers, weights[0].dtype
        flat = torch.cat([weight.permute(0, 2, 3, 1).reshape(-1) for weight in weights]).to(dtype)
        quarters = flat * 0.25
        kernels, start = [], 0
        for layer in layers:
            kernel = torch.empty(_shape(layer), dtype=dtype, memory_format=torch.channels_last)
            parts, whole = _parts(layer)
            if not whole:
                kernel.zero_()
            for part in parts:
                source = quarters if part.quarter else flat
                kernel.as_strided(part.shape, part.places, part.first_place).copy_(
                    source.as_strided(part.shape, part.weights, start + part.first_weight)
                )
            kernels.append(kernel)
            start += _count(layer)
        return tuple(kernels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        count = sum(_count(layer) for layer in ctx.layers)
        # In four rows, one a place of each weight, so that one sum serves all of them.
        rows = gradients[0].new_zeros(4, count)
        start = 0
        for layer, gradient in zip(ctx.layers, gradients, strict=True):
            gradient = gradient.contiguous(memory_format=torch.channels_last)
            for part in _parts(layer)[0]:
                by_row = (2 * count, count, *part.weights[2:])
                rows.as_strided(part.shape, by_row, start + part.first_weight).copy_(
                    gradient.as_strided(part.shape, part.places, gradient.storage_offset() + part.first_place)
                )
            start += _count(layer)
        sums = rows.sum(0, dtype=ctx.dtype)
        found, start = [], 0
        for layer in ctx.layers:
            for part in _parts(layer)[0]:
                if part.quarter:
                    here = part.shape[2:], part.weights[2:], start + part.first_weight
                    sums.as_strided(*here).mul_(0.25)
            out_channels, in_channels, size, _, _ = layer
            strides = size * size * in_channels, 1, size * in_channels, in_channels
            found.append(sums.as_strided((out_channels, in_channels, size, size), strides, start))
            start += _count(layer)
        return None, None, *found


def _count(layer: Layer) -> int:
    return layer[0] * layer[1] * layer[2] ** 2


def _shape(layer: Layer) -> tuple[int, int, int, int]:
    out_channels, in_channels, size, low_in, low_out = layer
    if not low_in and not low_out:
        return out_channels, in_channels, size, size
    return 4 * out_channels - 3 * low_out, 4 * in_channels - 3 * low_in, size, size


@functools.cache
def _parts(layer: Layer) -> tuple[tuple[_Part, ...], bool]:
    """The parts of a layer's kernel, and whether they fill the packed one."""
    out_channels, in_channels, size, low_in, low_out = layer
    if not low_in and not low_out:
        whole = _Part((1, 1, _count(layer)), (0, 0, 1), 0, (0, 0, 1), 0, quarter=False)
        return (whole,), True
    h_in, h_out = in_channels - low_in, out_channels - low_out
    wide = _shape(layer)[1]
    # Strides of an output channel, a row and a column of the kernel; an input channel's is 1.
    out, row, column = size * size * in_channels, size * in_channels, in_channels
    to_out, to_row, to_column = size * size * wide, size * wide, wide
    parts = []
    for first_a, (a_count, p_step, a_place) in _taps(size, to_row, 2 * h_in).items():
        for first_b, (b_count, q_step, b_place) in _taps(size, to_column, h_in).items():
            parts.append(
                _Part(
                    (2, 2, h_out, a_count, b_count, h_in),
                    (2 * h_out * to_out + p_step, h_out * to_out + q_step, to_out, to_row, to_column, 1),
                    a_place + b_place,
                    (0, 0, out, 2 * row, 2 * column, 1),
                    first_a * row + first_b * column,
                    quarter=False,
                )
            )
    low_first, place = h_out * out, 4 * h_out * to_out
    dense, packed = (out, row, column, 1), (to_out, to_row, to_column, 1)
    parts += [
        # Low to high, high to low, low to low.
        _Part(
            (2, 2, h_out, size, size, low_in),
            (2 * h_out * to_out, h_out * to_out, *packed),
            4 * h_in,
            (0, 0, *dense),
            h_in,
            quarter=False,
        ),
        _Part(
            (2, 2, low_out, size, size, h_in),
            (2 * h_in, h_in, *packed),
            place,
            (0, 0, *dense),
            low_first,
            quarter=True,
        ),
        _Part(
            (1, 1, low_out, size, size, low_in),
            (0, 0, *packed),
            place + 4 * h_in,
            (0, 0, *dense),
            low_first + h_in,
            quarter=False,
        ),
    ]
    return tuple(part for part in parts if 0 not in part.shape), False


def _taps(size: int, step: int, pixel: int) -> dict[int, tuple[int, int, int]]:
    """The even and the odd taps of one direction: first tap (from the edge) to their number, what a pixel
    further adds to the place, and the place of the first.

    Args:
        step: from a window to the next, in the packed kernel.
        pixel: from a pixel of a window to the next.
    """
    centre = size // 2
    found = {}
    for first in range(min(size, 2)):
        window, odd = divmod(first - centre, 2)
        further = step - pixel if odd else pixel
        found[first] = len(range(first, size, 2)), further, (window + centre) * step + odd * pixel
    return found


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
    channel, pixel = torch.arange(channels)[:, None], torch.arange(4)
    to = torch.where(channel < h_after, pixel * h_after + channel, 3 * h_after + channel)
    of = torch.where(channel < h_before, pixel * h_before + channel, 3 * h_before + channel)
    falls = (channel >= h_after) & (channel < h_before)
    matrix = torch.zeros(4 * h_after + after, 4 * h_before + before)
    matrix[to, of] = torch.where(falls, 0.25, 1.0).expand(to.shape)
    return matrix[:, :, None, None].to(dtype)
