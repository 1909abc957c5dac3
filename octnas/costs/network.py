"""The cost of one network, layer by layer, read off its layer table; no tensor library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octnas.architecture import Architecture
from octnas.backbones import Conv, Excite, Head, LayerTable, Norm, Plain
from octnas.costs.flops import dense_macs, map_elements, node_macs, plain_macs
from octnas.errors import ArchitectureError

__all__ = ["Cost", "LayerCost", "cost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One convolution, excitation, classifier, or plain call of a user's network, at batch 1."""

    name: str
    macs: int
    """Multiply-adds; of all frames of a clip."""
    plain_macs: int
    """Multiply-adds of the same layer with no low channels on either side."""
    activation_elements: int
    """Elements of a convolution's output map, both resolutions and all frames together; else 0."""
    low: int
    """Low channels of the output."""
    channels: int
    """Output channels."""
    stage: int | None
    """Stage of the backbone; 0 for the stem, None for the classifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A network at batch 1: one image, or one clip."""

    gflops: float
    """10^9 multiply-adds of convolutions and fully connected layers."""
    macs: int
    """Multiply-adds, exact."""
    params: int
    """Weights of convolutions, weights and biases of normalisations and of fully connected layers;
    alpha-free."""
    activation_elements: int
    """Elements of every convolution's output map, both resolutions and all frames together."""
    layers: tuple[LayerCost, ...]


def cost(arch: Architecture, input_shape: Sequence[int] | None = None, num_classes: int = 1000) -> Cost:
    """Multiply-adds, parameters and activation memory of an architecture at batch 1.

    Args:
        input_shape: (channels, height, width) or (channels, frames, height, width) in px, odd and non-square
            sizes too; by default what the backbone is published for, or 32 px where the architecture has the
            small-image stem. A 3D backbone takes clips only; a 2D one takes the frames of a clip one by
            one, so that all but its classifier costs `frames` times as much. The size does not change the
            architecture's low channels.

    Raises:
        ArchitectureError: an image for a 3D backbone, a size that is not a whole number of 1 or more, or a
            number of channels that a user's network cannot have.
        ConversionError: a size that a user's network cannot take.
    """
    shape = arch.input_shape(input_shape)
    if not (isinstance(num_classes, int) and num_classes >= 1):
        raise ArchitectureError(f"`num_classes` must be a whole number of 1 or more, but got {num_classes!r}")
    table = arch.table(in_channels=shape[0], num_classes=num_classes)
    if table.in_channels != shape[0]:
        raise ArchitectureError(
            f"{arch.backbone} reads {table.in_channels} channels and its factory takes no `in_channels`, but "
            f"the input has {shape[0]}: give the factory that argument"
        )
    layers = tuple(_layers(table, arch.low_channels, shape))
    macs = sum(layer.macs for layer in layers)
    return Cost(
        gflops=macs / 1e9,
        macs=macs,
        params=_params(table),
        activation_elements=sum(layer.activation_elements for layer in layers),
        layers=layers,
    )


def _layers(table: LayerTable, low_channels: Sequence[int], shape: tuple[int, ...]) -> list[LayerCost]:
    sizes, lows = table.sizes(shape[-2], shape[-1]), table.lows(low_channels)
    clip = shape[1] if len(shape) == 4 else None
    frames, plain = table.frames(clip or 1), plain_macs(table, shape[-2], shape[-1], clip)
    layers: list[LayerCost] = []
    for node in table.nodes:
        match node:
            case Conv():
                low, size, times = lows[node.name], sizes[node.name], frames[node.name]
                layers.append(
                    LayerCost(
                        name=node.name,
                        macs=node_macs(node, table.low_in(node, lows), low, size, times),
                        plain_macs=node_macs(node, 0, 0, size, times),
                        activation_elements=map_elements(node.out_channels, low, size, times),
                        low=low,
                        channels=node.out_channels,
                        stage=node.stage,
                    )
                )
            case Excite() | Head():
                macs = dense_macs(table, node, frames[node.reads])
                layers.append(
                    LayerCost(
                        name=node.name,
                        macs=macs,
                        plain_macs=macs,
                        activation_elements=0,
                        low=lows[node.name],
                        channels=table.channels(node.name),
                        stage=node.stage if isinstance(node, Excite) else None,
                    )
                )
            case Plain() if node.name in plain:
                layers.append(
                    LayerCost(
                        name=node.name,
                        macs=plain[node.name],
                        plain_macs=plain[node.name],
                        activation_elements=0,
                        low=0,
                        channels=node.channels,
                        stage=node.stage,
                    )
                )
            case _:
                pass
    return layers


def _params(table: LayerTable) -> int:
    if table.own_params is not None:
        return table.own_params
    total = 0
    for node in table.nodes:
        match node:
            case Conv():
                taps = node.kernel * node.kernel * node.kernel_time
                total += node.out_channels * (node.in_channels // node.groups) * taps
                total += 0 if node.norm is None else 2 * node.out_channels
            case Norm():
                total += 2 * node.channels
            case Excite():
                total += (node.channels + 1) * node.squeezed + (node.squeezed + 1) * node.channels
            case Head():
                total += (node.in_channels + 1) * node.out_channels
            case _:
                pass
    return total
