"""Cost in closed form, read off the layer table; exact integers, no tensor library.

Unit: 1 GFLOP is 10^9 multiply-adds of convolutions and fully connected layers, as in "Drop an Octave"
(arXiv 1904.05049) and in thop. Bias, normalisation, activation, pooling and upsampling count nothing.

A convolution with C_in = hi + li input and C_out = ho + lo output channels (high + low) runs its four
paths at the sizes of the paper: at stride 1 high->high at the output's high size H and every other path
at its low size L = ceil(h/2) * ceil(w/2); at stride 2 both paths into high at H and both into low at L.
So, with k^2 the kernel's area,

    stride 1:  k^2 * (L * C_in * C_out + (H - L) * hi * ho)
    stride 2:  k^2 * C_in * (H * ho + L * lo)

and the cost of a network is a polynomial of degree two in its low channels: a constant, a linear term a
slot and a product for each convolution whose input and output are both searched (`CostTable`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from octnas.architecture import Architecture
from octnas.backbones import Conv, Head, LayerTable
from octnas.errors import ArchitectureError

__all__ = ["Cost", "CostTable", "LayerCost", "Pair", "conv_macs", "cost"]

Int64 = NDArray[np.int64]
_DEFAULT_SIDE = {"imagenet": 224, "small": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One convolution or fully connected layer at batch 1."""

    name: str
    macs: int
    """Multiply-adds."""
    plain_macs: int
    """Multiply-adds of the same layer with no low channels on either side."""
    activation_elements: int
    """Elements of a convolution's output map, both resolutions together; 0 for a fully connected layer."""
    low: int
    """Low channels of the output."""
    channels: int
    """Output channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A network at batch 1."""

    gflops: float
    """10^9 multiply-adds of convolutions and fully connected layers."""
    macs: int
    """Multiply-adds, exact."""
    params: int
    """Weights of convolutions, weights and biases of batch-norm and of the classifier; alpha-free."""
    activation_elements: int
    """Elements of every convolution's output map, both resolutions together."""
    layers: tuple[LayerCost, ...]


class Pair(NamedTuple):
    """A product of two slots' low channels: `coefficient * low[first] * low[second] // groups`.

    The product is always a multiple of `groups`: a grouped layer's low channels are multiples of it.
    """

    first: int
    second: int
    coefficient: int
    groups: int


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
) -> int:
    """Multiply-adds of one 2D octave convolution at batch 1.

    Args:
        low_in: how many of `in_channels` come an octave lower; likewise `low_out`.
        out_size: height and width in px of the high-resolution (nominal) output map. The low output map
            has half of each, rounded up.
        stride: any where nothing is low, else 1 or 2.
        groups: grouped paths need low channels that are multiples of it; a depthwise convolution
            (groups = in_channels) has no cross paths and needs the same share of low channels on both sides.

    Raises:
        ArchitectureError: the low channels do not fit the groups, or the stride is above 2.
    """
    area, high_map, low_map = kernel * kernel, out_size[0] * out_size[1], _low_elements(out_size)
    if 1 < groups == in_channels:
        if low_in * out_channels != low_out * in_channels:
            raise ArchitectureError(
                f"`alpha_in == alpha_out` must hold in a depthwise convolution, but got {low_in} of "
                f"{in_channels} and {low_out} of {out_channels} low channels"
            )
        return area * ((out_channels - low_out) * high_map + low_out * low_map)
    if low_in % groups or low_out % groups:
        raise ArchitectureError(
            f"low channels must be multiples of groups={groups}, but got {low_in=} and {low_out=}"
        )
    high_in, high_out = in_channels - low_in, out_channels - low_out
    if stride == 1:
        everywhere, besides = low_map * in_channels * out_channels, (high_map - low_map) * high_in * high_out
        return area * (everywhere + besides) // groups
    if stride > 2 and (low_in or low_out):
        raise ArchitectureError(f"an octave convolution must have stride 1 or 2, but got stride={stride}")
    return area * in_channels * (high_map * high_out + low_map * low_out) // groups


def cost(
    arch: Architecture, input_shape: tuple[int, int, int] | None = None, num_classes: int = 1000
) -> Cost:
    """Multiply-adds, parameters and activation memory of an architecture at batch 1.

    Args:
        input_shape: (channels, height, width) in px, odd and non-square sizes too; by default 3x224x224,
            or 3x32x32 where the architecture has the small-image stem. The size does not change the
            architecture's low channels.

    Raises:
        ArchitectureError: a size that is not a whole number of 1 or more.
    """
    side = _DEFAULT_SIDE[arch.stem]
    shape = (3, side, side) if input_shape is None else tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(n, int) and n >= 1 for n in (*shape, num_classes)):
        raise ArchitectureError(
            "`input_shape` must be three whole numbers of 1 or more (channels, height, width) and "
            f"`num_classes` one, but got {shape} and {num_classes}"
        )
    table = arch.table(in_channels=shape[0], num_classes=num_classes)
    sizes, sources = table.sizes(shape[1], shape[2]), table.source_slots
    layers: list[LayerCost] = []
    for node in table.nodes:
        match node:
            case Conv():
                source = sources[node.reads]
                low_in = 0 if source is None else arch.low_channels[source]
                low = 0 if node.slot is None else arch.low_channels[node.slot]
                layers.append(_conv_cost(node, low_in, low, sizes[node.name]))
            case Head():
                macs = node.in_channels * node.out_channels
                layers.append(
                    LayerCost(
                        name=node.name,
                        macs=macs,
                        plain_macs=macs,
                        activation_elements=0,
                        low=0,
                        channels=node.out_channels,
                    )
                )
            case _:
                pass
    macs = sum(layer.macs for layer in layers)
    return Cost(
        gflops=macs / 1e9,
        macs=macs,
        params=_params(table),
        activation_elements=sum(layer.activation_elements for layer in layers),
        layers=tuple(layers),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """The cost of every architecture of one backbone at one input size, as polynomials of the low channels.

    macs(low) = constant + sum_i linear[i] * low[i] + sum_p coefficient * low[first] * low[second] // groups.
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

    @classmethod
    def of(cls, table: LayerTable, height: int, width: int) -> CostTable:
        """The polynomials of a layer table for inputs of `height` x `width` px."""
        slots = len(table.slots)
        sizes, sources = table.sizes(height, width), table.source_slots
        linear = np.zeros(slots, dtype=np.int64)
        activation_linear = np.zeros(slots, dtype=np.int64)
        products: dict[tuple[int, int, int], int] = {}
        constant = plain_activations = 0
        for conv in table.convs:
            size = sizes[conv.name]
            high_map, low_map = size[0] * size[1], _low_elements(size)
            saved, area = high_map - low_map, conv.kernel * conv.kernel
            source, slot = sources[conv.reads], conv.slot
            plain = _conv_cost(conv, 0, 0, size)
            constant += plain.macs
            plain_activations += plain.activation_elements
            if slot is not None:
                activation_linear[slot] -= saved
            depthwise = 1 < conv.groups == conv.in_channels
            if slot is not None:
                linear[slot] -= area * saved * (1 if depthwise else conv.in_channels // conv.groups)
            if depthwise or conv.stride != 1 or source is None:
                continue
            linear[source] -= area * saved * (conv.out_channels // conv.groups)
            if slot is not None:
                key = (min(source, slot), max(source, slot), conv.groups)
                products[key] = products.get(key, 0) + area * saved
        for node in table.nodes:
            if isinstance(node, Head):
                constant += node.in_channels * node.out_channels
        return cls(
            slots=slots,
            constant=constant,
            linear=linear,
            pairs=tuple(
                Pair(i, j, value, groups) for (i, j, groups), value in sorted(products.items()) if value
            ),
            plain_activations=plain_activations,
            activation_linear=activation_linear,
        )

    def macs(self, lows: Int64) -> Int64:
        """Multiply-adds (N,) of N architectures, exact; `lows` (N, S) holds their low channels."""
        columns = self._columns(lows)
        total = np.full(columns.shape[1], self.constant, dtype=np.int64)
        for slope, column in zip(self.linear.tolist(), columns, strict=True):
            total += slope * column
        for first, second, coefficient, groups in self.pairs:
            total += coefficient * columns[first] * columns[second] // groups
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


def _conv_cost(conv: Conv, low_in: int, low: int, size: tuple[int, int]) -> LayerCost:
    def macs(low_in: int, low: int) -> int:
        return conv_macs(
            in_channels=conv.in_channels,
            out_channels=conv.out_channels,
            kernel=conv.kernel,
            low_in=low_in,
            low_out=low,
            out_size=size,
            stride=conv.stride,
            groups=conv.groups,
        )

    return LayerCost(
        name=conv.name,
        macs=macs(low_in, low),
        plain_macs=macs(0, 0),
        activation_elements=(conv.out_channels - low) * size[0] * size[1] + low * _low_elements(size),
        low=low,
        channels=conv.out_channels,
    )


def _params(table: LayerTable) -> int:
    total = 0
    for node in table.nodes:
        match node:
            case Conv():
                total += node.out_channels * (node.in_channels // node.groups) * node.kernel**2
                total += 2 * node.out_channels
            case Head():
                total += (node.in_channels + 1) * node.out_channels
            case _:
                pass
    return total


def _low_elements(size: tuple[int, int]) -> int:
    return -(-size[0] // 2) * -(-size[1] // 2)
