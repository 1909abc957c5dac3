"""Residual networks: four stages of blocks, each a body of convolutions and a shortcut, and their sum.

What is common to ResNets and their relatives in 2D and 3D. A family says what its stem and its bodies are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from octnas.backbones.nodes import Add, Conv, Dims, Excite, Head, Node, Pool
from octnas.backbones.table import LayerTable, Stem

__all__ = ["Layer", "Place", "residual_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution of a body; `name` and `norm` are paths within the block."""

    name: str
    norm: str
    channels: int
    """Of the output."""
    kernel: int
    stride: int = 1
    kernel_time: int = 1
    stride_time: int = 1
    groups: int = 1
    layout: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a block stands: its stage from 1, its index in the stage from 0, and the channels it reads."""

    stage: int
    block: int
    channels: int


def residual_table(
    name: str,
    *,
    stem_nodes: Sequence[Node],
    depths: Sequence[int],
    body: Callable[[Place], Sequence[Layer]],
    width: int,
    stem: Stem,
    in_channels: int,
    num_classes: int,
    dims: Dims = 2,
    excite: Callable[[int], int] | None = None,
    after: Mapping[int, Pool] | None = None,
) -> LayerTable:
    """The layer table of a residual network.

    Args:
        stem_nodes: what comes before the first stage.
        depths: number of blocks in each stage.
        body: the convolutions of a block.
        excite: where blocks end in squeeze and excitation, its inner channels for a number of channels.
        after: a pooling behind a stage; what it reads is filled in.
    """
    nodes = list(stem_nodes)
    channels, slot = width, 0
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            place = Place(stage=stage, block=block, channels=channels)
            layers = body(place)
            nodes += _block(nodes[-1].name, layers, place, first_slot=slot, excite=excite)
            slot += len(layers)
            channels = layers[-1].channels
        if after is not None and stage in after:
            nodes.append(_reading(after[stage], nodes[-1].name, stage=stage, block=depth))
    nodes.append(Head(name="fc", reads=nodes[-1].name, in_channels=channels, out_channels=num_classes))
    return LayerTable(
        backbone=name,
        dims=dims,
        width=width,
        stem=stem,
        in_channels=in_channels,
        num_classes=num_classes,
        nodes=tuple(nodes),
    )


def _block(
    source: str,
    layers: Sequence[Layer],
    place: Place,
    *,
    first_slot: int,
    excite: Callable[[int], int] | None,
) -> list[Node]:
    stage, block, prefix = place.stage, place.block, f"layer{place.stage}.{place.block}"
    nodes: list[Node] = []
    reads, channels = source, place.channels
    for i, layer in enumerate(layers):
        conv = Conv(
            name=f"{prefix}.{layer.name}",
            norm=f"{prefix}.{layer.norm}",
            reads=reads,
            in_channels=channels,
            out_channels=layer.channels,
            kernel=layer.kernel,
            stride=layer.stride,
            kernel_time=layer.kernel_time,
            stride_time=layer.stride_time,
            groups=layer.groups,
            layout=layer.layout,
            activation="relu" if i + 1 < len(layers) else None,
            stage=stage,
            block=block,
            slot=first_slot + i,
        )
        nodes.append(conv)
        reads, channels = conv.name, conv.out_channels
    if excite is not None:
        nodes.append(
            Excite(
                name=f"{prefix}.se",
                reads=reads,
                channels=channels,
                squeezed=excite(channels),
                stage=stage,
                block=block,
            )
        )
        reads = nodes[-1].name
    stride = max(layer.stride for layer in layers)
    stride_time = max(layer.stride_time for layer in layers)
    shortcut = source
    if (stride, stride_time) != (1, 1) or place.channels != channels:
        shortcut = f"{prefix}.downsample.0"
        nodes.append(
            Conv(
                name=shortcut,
                norm=f"{prefix}.downsample.1",
                reads=source,
                in_channels=place.channels,
                out_channels=channels,
                kernel=1,
                stride=stride,
                stride_time=stride_time,
                activation=None,
                stage=stage,
                block=block,
                slot=first_slot + len(layers) - 1,
                shortcut=True,
            )
        )
    nodes.append(Add(name=f"{prefix}.add", reads=(reads, shortcut), stage=stage, block=block))
    return nodes


def _reading(pool: Pool, source: str, *, stage: int, block: int) -> Pool:
    """A pooling at its place; no block of its stage ends in it, so that it decides for none of them."""
    return replace(pool, reads=source, stage=stage, block=block)
