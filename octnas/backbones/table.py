"""The layer table: what a backbone is, without any tensor library.

A table is a list of nodes in the order of execution. Each node reads the maps of earlier nodes by name,
so a chain of blocks with residual sums is a small graph. The network (`octnas.nn`) and the closed-form
cost (`octnas.costs`) are both read off the same table, which is why they cannot disagree.

Maps are (B, C, H, W), or (B, C, T, H, W) where `dims` is 3; a table of 2D layers runs on the T frames of a
clip one by one. An octave is one of space: a low map has all T frames.

A *slot* is one free choice of low channels: every searched convolution owns one, and a shortcut
convolution shares the slot of its block's output, since the two maps are summed. A map consists of
*segments*, one unless it is a concatenation; the low channels of a segment are its last ones, or the last
`low / groups` of each of its groups (`Segment`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from octnas.backbones.nodes import (
    Add,
    Concat,
    Conv,
    Dims,
    Elementwise,
    Excite,
    Gate,
    Head,
    LeftOut,
    Node,
    Norm,
    Plain,
    Pool,
    Squeeze,
)
from octnas.backbones.orders import branch_order

__all__ = [
    "MIN_LOW_SIDE",
    "LayerTable",
    "Segment",
    "Slot",
    "Stem",
]

Stem = Literal["imagenet", "small"]

MIN_LOW_SIDE = 4
"""Smallest side, in px, that a low map may have at the target's input; below it a layer stays plain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One free choice: how many of `channels` live an octave lower."""

    index: int
    name: str
    """Path of the convolution that owns the slot."""
    channels: int
    stage: int
    block: int
    """Index of the block inside its stage, from 0."""
    multiple: int = 1
    """What the number of low channels must be a multiple of: the groups of the map's layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Channels of a map that are split by one slot (None: never), in a layout of `groups` groups."""

    slot: int | None
    channels: int
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """A backbone at one width, stem, class count and number of input channels."""

    backbone: str
    dims: Dims = 2
    width: int
    stem: Stem
    in_channels: int
    num_classes: int
    nodes: tuple[Node, ...]
    own_params: int | None = None
    """Parameters of a user's network, which its nodes do not tell; None: what the nodes have."""
    left_out: tuple[LeftOut, ...] = ()
    """What a user's network does in training alone (auxiliary heads), and is not done here."""
    calls: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What runs at each node of a user's network that is no layer of ours (`octnas.nn.Call`), by its name."""

    def plain_macs(self, input_shape: Sequence[int]) -> Mapping[str, int]:
        """Multiply-adds at batch 1 of every `Plain` node that has any, for (C, H, W) or (C, T, H, W)."""
        return {}

    @cached_property
    def convs(self) -> tuple[Conv, ...]:
        """All convolutions, in the order of execution."""
        return tuple(node for node in self.nodes if isinstance(node, Conv))

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """The free choices, in the order of execution of the convolutions that own them."""
        owners = [conv for conv in self.convs if conv.slot is not None and not conv.shortcut]
        return tuple(
            Slot(
                index=i,
                name=conv.name,
                channels=conv.out_channels,
                stage=conv.stage,
                block=conv.block,
                multiple=conv.layout,
            )
            for i, conv in enumerate(owners)
        )

    @cached_property
    def segments(self) -> Mapping[str, tuple[Segment, ...]]:
        """For each node, and for "input", what its output map consists of; a head's is its vector."""
        segments: dict[str, tuple[Segment, ...]] = {"input": (Segment(slot=None, channels=self.in_channels),)}
        for node in self.nodes:
            match node:
                case Conv():
                    own = Segment(slot=node.slot, channels=node.out_channels, groups=node.layout)
                    segments[node.name] = (own,)
                case Concat():
                    segments[node.name] = tuple(part for name in node.reads for part in segments[name])
                case Add():
                    segments[node.name] = segments[node.reads[0]]
                case Head():
                    segments[node.name] = (Segment(slot=None, channels=node.out_channels),)
                case Squeeze() | Plain():
                    segments[node.name] = (Segment(slot=None, channels=node.channels),)
                case Gate():
                    segments[node.name] = segments[node.reads[0]]
                case _:
                    segments[node.name] = segments[node.reads]
        return segments

    def channels(self, name: str) -> int:
        """Channels of a node's output map."""
        return sum(part.channels for part in self.segments[name])

    def source_slots(self, name: str) -> tuple[int, ...]:
        """The slots that split a node's output map, in the order of its segments."""
        return tuple(part.slot for part in self.segments[name] if part.slot is not None)

    def input_slots(self, conv: Conv) -> tuple[int, ...]:
        """The slots on which a convolution's low input channels depend; its own one where it is depthwise."""
        if conv.depthwise:
            return () if conv.slot is None else (conv.slot,)
        return self.source_slots(conv.reads)

    def lows(self, low_channels: Sequence[int]) -> dict[str, int]:
        """Low channels of every node's output map; `low_channels` has one number a slot."""
        return {
            name: sum(0 if part.slot is None else low_channels[part.slot] for part in parts)
            for name, parts in self.segments.items()
        }

    def low_in(self, conv: Conv, lows: Mapping[str, int]) -> int:
        """Low channels that a convolution reads, of what `lows` gives."""
        return lows[conv.name if conv.depthwise else conv.reads]

    def channel_order(self, name: str, low_channels: Sequence[int]) -> tuple[int, ...] | None:
        """The channels of a node's output map as its two branches have them: high ones first, then low ones.

        None where that is their own order.
        """
        return branch_order(
            (part.channels, 0 if part.slot is None else low_channels[part.slot], part.groups)
            for part in self.segments[name]
        )

    def sizes(self, height: int, width: int) -> dict[str, tuple[int, int]]:
        """Height and width in px of every node's (high-resolution, nominal) output map."""
        sizes = {"input": (height, width)}
        for node in self.nodes:
            match node:
                case Conv() | Pool():
                    here = sizes[node.reads]
                    floor = isinstance(node, Pool) and node.floor
                    sizes[node.name] = (
                        _strided(here[0], node.stride, floor),
                        _strided(here[1], node.stride, floor),
                    )
                case Head() | Squeeze():
                    sizes[node.name] = (1, 1)
                case _:
                    sizes[node.name] = sizes[_first(node)]
        return sizes

    def frames(self, frames: int) -> dict[str, int]:
        """Frames of every node's output map for clips of so many.

        A 2D table's convolutions run on them one by one, and its head reads their mean.
        """
        found = {"input": frames}
        for node in self.nodes:
            match node:
                case Conv() | Pool():
                    found[node.name] = _strided(found[node.reads], node.stride_time)
                case Head() | Squeeze():
                    found[node.name] = 1
                case _:
                    found[node.name] = found[_first(node)]
        return found

    def octave_slots(self, input_size: int) -> tuple[bool, ...]:
        """Whether each slot may be split at a square input of `input_size` px.

        A block is plain where its output's low map would be smaller than `MIN_LOW_SIDE` px a side; the
        output decides for every convolution of the block ("a 3x3 on a 3.5x3.5 map makes no sense").
        """
        sizes = self.sizes(input_size, input_size)
        # the last node of a block is its output
        outputs = {
            (node.stage, node.block): sizes[node.name]
            for node in self.nodes
            if not isinstance(node, Head | Squeeze | Plain)
        }
        return tuple(min(outputs[slot.stage, slot.block]) >= 2 * MIN_LOW_SIDE for slot in self.slots)


def _first(node: Norm | Add | Concat | Excite | Elementwise | Gate | Plain) -> str:
    return node.reads if isinstance(node.reads, str) else node.reads[0]


def _strided(size: int, stride: int, floor: bool = False) -> int:
    return size // stride if floor else -(-size // stride)
