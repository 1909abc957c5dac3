"""Multiply-adds in closed form, of one convolution and of every member of a backbone at once; exact integers.

Unit: 1 GFLOP is 10^9 multiply-adds of convolutions and fully connected layers, as in "Drop an Octave"
(arXiv 1904.05049) and in thop. Bias, normalisation, activation, pooling and upsampling count nothing, and
neither does repartitioning.

A convolution with C_in = hi + li input and C_out = ho + lo output channels (high + low) runs its four
paths at the sizes of the paper: at stride 1 high->high at the output's high size H and every other path
at its low size L = ceil(h/2) * ceil(w/2); at stride 2 both paths into high at H and both into low at L.
So, with k^2 the kernel's area,

    stride 1:  k^2 * (L * C_in * C_out + (H - L) * hi * ho)
    stride 2:  k^2 * C_in * (H * ho + L * lo)

Of g groups each has 1/g of it. A depthwise convolution has no cross paths: k^2 * (H * ho + L * lo). Over time
there is no octave, so a kernel over t frames that gives T frames multiplies all of this by t * T; the
convolutions of a 2D backbone on a clip of T frames run T times.

The cost of a network is a polynomial of degree two in its low channels: a constant, a linear term a
slot and a product for each convolution whose input and output are both searched (`CostTable`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from octnas.backbones import Conv, Excite, Head, LayerTable
from octnas.errors import ArchitectureError

__all__ = ["CostTable", "Joint", "Pair", "conv_macs", "dense_macs", "map_elements", "node_macs", "plain_macs"]

Int64 = NDArray[np.int64]


class Pair(NamedTuple):
    """A product of two slots' low channels: `coefficient * low[first] * low[second] // groups`.

    The product is always a multiple of `groups`: a grouped layer's low channels are multiples of it.
    """

    first: int
    second: int
    coefficient: int
    groups: int


class Joint(NamedTuple):
    """A convolution that reads a concatenation: `coefficient * (low[sources[0]] + ...) * low[slot]`."""

    sources: tuple[int, ...]
    """Two slots or more, in the order of the concatenation."""
    slot: int
    coefficient: int


def conv_macs(
    *,
    in_channels: int,
    out_channels: int,
    kernel: int,
    low_in: int = 0,
    low_out: int = 0,
    out_size: tuple[int, int],
    stride: int = 1,
    groups: int = 1,
    kernel_time: int = 1,
    frames: int = 1,
) -> int:
    """Multiply-adds of one octave convolution at batch 1.

    Args:
        low_in: how many of `in_channels` come an octave lower; likewise `low_out`.
        out_size: height and width in px of the high-resolution (nominal) output map. The low output map
            has half of each, rounded up.
        stride: over height and width: any where nothing is low, else 1 or 2.
        groups: grouped paths need low channels that are multiples of it; a depthwise convolution
            (groups = in_channels) has no cross paths and needs the same share of low channels on both sides.
        kernel_time: frames that the kernel covers.
        frames: of the output, or those that a 2D convolution runs on one by one.

    Raises:
        ArchitectureError: the low channels do not fit the groups, or the stride is above 2.
    """
    high_map, low_map = out_size[0] * out_size[1], _low_elements(out_size)
    taps = kernel * kernel * kernel_time * frames
    if 1 < groups == in_channels:
        if low_in * out_channels != low_out * in_channels:
            raise ArchitectureError(
                f"`alpha_in == alpha_out` must hold in a depthwise convolution, but got {low_in} of "
                f"{in_channels} and {low_out} of {out_channels} low channels"
            )
        return taps * ((out_channels - low_out) * high_map + low_out * low_map)
    if low_in % groups or low_out % groups:
        raise ArchitectureError(
            f"low channels must be multiples of groups={groups}, but got {low_in=} and {low_out=}"
        )
    high_in, high_out = in_channels - low_in, out_channels - low_out
    if stride == 1:
        everywhere, besides = low_map * in_channels * out_channels, (high_map - low_map) * high_in * high_out
        return taps * (everywhere + besides) // groups
    if stride > 2 and (low_in or low_out):
        raise ArchitectureError(f"an octave convolution must have stride 1 or 2, but got stride={stride}")
    return taps * in_channels * (high_map * high_out + low_map * low_out) // groups


def dense_macs(table: LayerTable, node: Excite | Head, frames: int) -> int:
    """Multiply-adds of the fully connected layers of a node, which no low channel changes.

    Args:
        frames: of the map that the node reads. A 2D backbone excites each frame of a clip by itself.
    """
    if isinstance(node, Head):
        return node.in_channels * node.out_channels
    return 2 * node.channels * node.squeezed * (frames if table.dims == 2 else 1)


def plain_macs(table: LayerTable, height: int, width: int, frames: int | None = None) -> dict[str, int]:
    """Multiply-adds of the `Plain` nodes that have any, which no low channel changes.

    Args:
        frames: of a clip, which a 2D backbone takes one by one; None for images.
    """
    time = () if frames is None else (frames,)
    found = table.plain_macs((table.in_channels, *time, height, width))
    runs = frames or 1 if table.dims == 2 else 1
    return {name: runs * macs for name, macs in found.items()}


def map_elements(channels: int, low: int, size: tuple[int, int], frames: int = 1) -> int:
    """Elements of both branches of a map, of which `low` channels have half the `size` (H, W), rounded up."""
    return frames * ((channels - low) * size[0] * size[1] + low * _low_elements(size))


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """The cost of every architecture of one backbone at one input size, as polynomials of the low channels.

    macs(low) = constant + sum_i linear[i] * low[i]
        + sum_pairs coefficient * low[first] * low[second] // groups
        + sum_joint coefficient * (sum of low over sources) * low[slot].
    Convolutions that share a pair of slots are merged, and products that vanish are left out.
    """

    slots: int
    """Number of slots S."""
    constant: int
    """Multiply-adds of the plain network."""
    linear: Int64
    """Multiply-adds a low channel, (S,); negative."""
    pairs: tuple[Pair, ...]
    plain_activations: int
    activation_linear: Int64
    """Activation elements a low channel, (S,); negative."""
    joint: tuple[Joint, ...] = ()

    @classmethod
    def of(cls, table: LayerTable, height: int, width: int, frames: int | None = None) -> CostTable:
        """The polynomials of a layer table for inputs of `height` x `width` px.

        Args:
            frames: of a clip, which a 2D backbone takes frame by frame; None for images.
        """
        assert frames is not None or table.dims == 2
        slots, sizes, times = len(table.slots), table.sizes(height, width), table.frames(frames or 1)
        linear = np.zeros(slots, dtype=np.int64)
        activation_linear = np.zeros(slots, dtype=np.int64)
        products: dict[tuple[int, int, int], int] = {}
        joint: dict[tuple[tuple[int, ...], int], int] = {}
        constant = plain_activations = 0
        for conv in table.convs:
            size, here = sizes[conv.name], times[conv.name]
            saved = here * (size[0] * size[1] - _low_elements(size))
            slope = saved * conv.kernel * conv.kernel * conv.kernel_time
            sources, slot = table.source_slots(conv.reads), conv.slot
            constant += node_macs(conv, 0, 0, size, here)
            plain_activations += map_elements(conv.out_channels, 0, size, here)
            if slot is not None:
                activation_linear[slot] -= saved
                linear[slot] -= slope * (conv.in_channels // conv.groups)
            if conv.depthwise or conv.stride != 1:
                continue
            for source in sources:
                linear[source] -= slope * (conv.out_channels // conv.groups)
            if slot is None or not sources:
                continue
            if len(sources) == 1:
                key = (min(sources[0], slot), max(sources[0], slot), conv.groups)
                products[key] = products.get(key, 0) + slope
            else:
                assert conv.groups == 1
                joint[sources, slot] = joint.get((sources, slot), 0) + slope
        for node in table.nodes:
            if isinstance(node, Excite | Head):
                constant += dense_macs(table, node, times[node.reads])
        constant += sum(plain_macs(table, height, width, frames).values())
        return cls(
            slots=slots,
            constant=constant,
            linear=linear,
            pairs=tuple(
                Pair(i, j, value, groups) for (i, j, groups), value in sorted(products.items()) if value
            ),
            plain_activations=plain_activations,
            activation_linear=activation_linear,
            joint=tuple(
                Joint(sources, slot, value) for (sources, slot), value in sorted(joint.items()) if value
            ),
        )

    def macs(self, lows: Int64) -> Int64:
        """Multiply-adds (N,) of N architectures, exact; `lows` (N, S) holds their low channels."""
        columns = self._columns(lows)
        total = np.full(columns.shape[1], self.constant, dtype=np.int64)
        for slope, column in zip(self.linear.tolist(), columns, strict=True):
            total += slope * column
        for first, second, coefficient, groups in self.pairs:
            product = coefficient * columns[first] * columns[second]
            total += product if groups == 1 else product // groups
        known: tuple[int, ...] = ()
        read = np.zeros_like(total)
        for sources, slot, coefficient in self.joint:
            if sources[: len(known)] != known:
                known, read = (), np.zeros_like(total)
            # in this order each layer of a dense block reads what the last one read, and one map more
            for source in sources[len(known) :]:
                read += columns[source]
            known = sources
            total += coefficient * read * columns[slot]
        return total

    def activations(self, lows: Int64) -> Int64:
        """Elements (N,) of all convolutions' output maps at batch 1; `lows` (N, S)."""
        columns = self._columns(lows)
        return np.asarray(self.plain_activations + self.activation_linear @ columns, dtype=np.int64)

    def _columns(self, lows: Int64) -> Int64:
        rows = np.asarray(lows, dtype=np.int64)
        if rows.ndim != 2 or rows.shape[1] != self.slots:
            raise ArchitectureError(f"`lows` must have shape (N, {self.slots}), but got {rows.shape}")
        return np.ascontiguousarray(rows.T)


def node_macs(conv: Conv, low_in: int, low_out: int, size: tuple[int, int], frames: int) -> int:
    """`conv_macs` of a layer table's convolution."""
    return conv_macs(
        in_channels=conv.in_channels,
        out_channels=conv.out_channels,
        kernel=conv.kernel,
        low_in=low_in,
        low_out=low_out,
        out_size=size,
        stride=conv.stride,
        groups=conv.groups,
        kernel_time=conv.kernel_time,
        frames=frames,
    )


def _low_elements(size: tuple[int, int]) -> int:
    return -(-size[0] // 2) * -(-size[1] // 2)
