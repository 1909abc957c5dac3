"""What the page draws of architectures: for each backbone its convolutions, and for each trial what they are.

A convolution's GFLOPs (10^9 multiply-adds at batch 1) follow from its low channels and those that it reads
(`octnas.costs`), and in one search few such pairs occur. So a layer has a short list of them, and a trial one
index into it a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from octnas.architecture import Architecture
from octnas.backbones import Conv
from octnas.costs.flops import node_macs
from octnas.record import SearchHeader

__all__ = ["Backbone", "Layer", "drawn_backbones"]


@dataclass(kw_only=True, slots=True)
class Layer:
    """A convolution, and the pairs of low channels (read, made) that it has in one trial or another."""

    conv: Conv
    size: tuple[int, int]
    frames: int
    reads: tuple[int, ...]
    """The slots whose low channels it reads."""
    places: dict[tuple[int, int], int] = field(default_factory=dict)

    def lows(self, architecture: Architecture) -> tuple[int, int]:
        """The low channels that it reads and makes."""
        low, slot = architecture.low_channels, self.conv.slot
        return sum([low[each] for each in self.reads]), 0 if slot is None else low[slot]

    def choice(self, architecture: Architecture) -> int:
        """Where the architecture's pair stands in `values`, from now on."""
        return self.places.setdefault(self.lows(architecture), len(self.places))

    def gflops(self, low_in: int, low: int) -> float:
        """10^9 multiply-adds at batch 1."""
        return node_macs(self.conv, low_in, low, self.size, self.frames) / 1e9

    def to_dict(self) -> dict[str, Any]:
        """JSON values: `values` holds the low channels and the GFLOPs of each pair."""
        return {
            "name": self.conv.name,
            "stage": self.conv.stage,
            "channels": self.conv.out_channels,
            "searched": self.conv.slot is not None,
            "plain": _short(self.gflops(0, 0)),
            "values": [[low, _short(self.gflops(low_in, low))] for low_in, low in self.places],
        }


class Backbone:
    """The convolutions of one backbone at the target's input."""

    def __init__(self, architecture: Architecture, header: SearchHeader) -> None:
        told = header.options.get("target_input_shape")
        shape = architecture.input_shape(tuple(told) if told else None)
        table = architecture.table(in_channels=shape[0])
        self.name = architecture.backbone
        self.dims = int(architecture.dims)
        self.input = "x".join(map(str, shape))
        sizes = table.sizes(shape[-2], shape[-1])
        frames = table.frames(shape[1] if len(shape) == 4 else 1)
        self.layers = tuple(
            Layer(conv=conv, size=sizes[conv.name], frames=frames[conv.name], reads=table.input_slots(conv))
            for conv in table.convs
        )

    def choices(self, architecture: Architecture) -> list[int]:
        """For each layer which of its values an architecture has."""
        return [layer.choice(architecture) for layer in self.layers]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, once `choices` was asked of every trial."""
        return {
            "name": self.name,
            "dims": self.dims,
            "input": self.input,
            "layers": [layer.to_dict() for layer in self.layers],
        }


def drawn_backbones(
    architectures: Sequence[Architecture], header: SearchHeader
) -> tuple[list[Backbone], list[int], list[list[int]]]:
    """The backbones, and for each architecture the index of its own and what its layers are."""
    found: dict[str, Backbone] = {}
    for each in architectures:
        if each.backbone not in found:
            found[each.backbone] = Backbone(each, header)
    indices = {name: index for index, name in enumerate(found)}
    return (
        list(found.values()),
        [indices[each.backbone] for each in architectures],
        [found[each.backbone].choices(each) for each in architectures],
    )


def _short(gflops: float) -> float:
    return float(f"{gflops:.5g}")
