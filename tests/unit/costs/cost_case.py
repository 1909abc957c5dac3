"""Random members of any backbone, and a count of their multiply-adds path by path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from octnas.architecture import Architecture
from octnas.backbones import Add, Concat, Conv, Excite, Head, LayerTable, Norm, Pool, layer_table


def random_architecture(backbone: str, rng: np.random.Generator, **keywords: Any) -> Architecture:
    """Each slot all low, not at all, or anything between that its groups allow."""
    slots = layer_table(backbone, **{k: v for k, v in keywords.items() if k != "downsample"}).slots
    lows = []
    for slot in slots:
        steps = slot.channels // slot.multiple
        lows.append(slot.multiple * int(rng.choice([0, steps, rng.integers(steps + 1)])))
    return Architecture(backbone=backbone, low_channels=tuple(lows), **keywords)


@dataclass(frozen=True, slots=True)
class _Map:
    """A map of `channels`, `low` of them at half of `height` x `width`, of `frames` frames."""

    channels: int
    low: int
    height: int
    width: int
    frames: int

    @property
    def high_size(self) -> int:
        return self.height * self.width * self.frames

    @property
    def low_size(self) -> int:
        return ((self.height + 1) // 2) * ((self.width + 1) // 2) * self.frames


def naive_count(
    table: LayerTable, lows: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[dict[str, int], int]:
    """Multiply-adds by layer, and the elements of all convolutions' output maps, of one image or clip."""
    channels, *time, height, width = shape
    maps = {"input": _Map(channels, 0, height, width, *(time or [1]))}
    macs: dict[str, int] = {}
    elements = 0
    for node in table.nodes:
        if isinstance(node, Conv):
            x = maps[node.reads]
            out = _Map(
                node.out_channels,
                0 if node.slot is None else lows[node.slot],
                (x.height + node.stride - 1) // node.stride,
                (x.width + node.stride - 1) // node.stride,
                (x.frames + node.stride_time - 1) // node.stride_time,
            )
            maps[node.name] = out
            macs[node.name] = _paths(node, x, out)
            elements += (out.channels - out.low) * out.high_size + out.low * out.low_size
        elif isinstance(node, Pool):
            x = maps[node.reads]
            up = 0 if node.floor else node.stride - 1
            maps[node.name] = replace(
                x,
                height=(x.height + up) // node.stride,
                width=(x.width + up) // node.stride,
                frames=(x.frames + node.stride_time - 1) // node.stride_time,
            )
        elif isinstance(node, Excite):
            maps[node.name] = x = maps[node.reads]
            vectors = x.frames if table.dims == 2 else 1
            macs[node.name] = vectors * (node.channels * node.squeezed + node.squeezed * node.channels)
        elif isinstance(node, Head):
            macs[node.name] = node.in_channels * node.out_channels
        elif isinstance(node, Concat):
            parts = [maps[name] for name in node.reads]
            maps[node.name] = replace(
                parts[0], channels=sum(x.channels for x in parts), low=sum(x.low for x in parts)
            )
        else:
            assert isinstance(node, Norm | Add)
            maps[node.name] = maps[node.reads if isinstance(node, Norm) else node.reads[0]]
    return macs, elements


def _paths(conv: Conv, x: _Map, out: _Map) -> int:
    taps = conv.kernel * conv.kernel * conv.kernel_time
    if conv.groups == x.channels > 1:
        return taps * ((out.channels - out.low) * out.high_size + out.low * out.low_size)
    # low to high runs on the low map as it is: it has half the input's size, whatever the stride
    low_to_high = ((x.height + 1) // 2) * ((x.width + 1) // 2) * out.frames
    paths = (
        (x.channels - x.low, out.channels - out.low, out.high_size),
        (x.channels - x.low, out.low, out.low_size),
        (x.low, out.low, out.low_size),
        (x.low, out.channels - out.low, low_to_high),
    )
    # each output channel reads the inputs of its group alone
    return sum(taps * (reads // conv.groups) * writes * size for reads, writes, size in paths)
