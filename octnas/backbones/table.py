"""The layer table: what a backbone is, without any tensor library.

A table is a list of nodes in the order of execution. Each node reads the maps of earlier nodes by name,
so a chain of blocks with residual sums is a small graph. The network (`octnas.nn`) and the closed-form
cost (`octnas.costs`) are both read off the same table, which is why they cannot disagree.

A *slot* is one free choice of low channels: every searched convolution owns one, and a shortcut
convolution shares the slot of its block's output, since the two maps are summed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

__all__ = ["MIN_LOW_SIDE", "Add", "Conv", "Head", "LayerTable", "MaxPool", "Node", "Slot", "Stem"]

Stem = Literal["imagenet", "small"]

MIN_LOW_SIDE = 4
"""Smallest side, in px, that a low map may have at the target's input; below it a layer stays plain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """A convolution with its normalisation and activation.

    `name` and `norm` are the module paths of torchvision's state dict. Maps are (B, C, H, W); `stage` is 0
    for the stem. `slot` is None where the output is never split.
    """

    name: str
    norm: str
    reads: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    relu: bool = True
    stage: int
    block: int
    slot: int | None
    shortcut: bool = False

    @property
    def padding(self) -> int:
        """The padding that keeps the size at stride 1 and gives ceil(size / 2) at stride 2."""
        return self.kernel // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool:
    """A 3x3 max-pool with stride 2 and padding 1, used by the ImageNet stem only."""

    name: str
    reads: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """The residual sum of a block, followed by ReLU. `reads[0]` is the body, `reads[1]` the shortcut."""

    name: str
    reads: tuple[str, str]
    stage: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Global average pooling and one fully connected layer."""

    name: str
    reads: str
    in_channels: int
    out_channels: int


Node = Conv | MaxPool | Add | Head


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


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """A backbone at one width, stem, class count and number of input channels."""

    backbone: str
    width: int
    stem: Stem
    in_channels: int
    num_classes: int
    nodes: tuple[Node, ...]

    @cached_property
    def convs(self) -> tuple[Conv, ...]:
        """All convolutions, in the order of execution."""
        return tuple(node for node in self.nodes if isinstance(node, Conv))

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """The free choices, in the order of execution of the convolutions that own them."""
        owners = [conv for conv in self.convs if conv.slot is not None and not conv.shortcut]
        return tuple(
            Slot(index=i, name=conv.name, channels=conv.out_channels, stage=conv.stage, block=conv.block)
            for i, conv in enumerate(owners)
        )

    @cached_property
    def source_slots(self) -> Mapping[str, int | None]:
        """For each node, the slot that splits its output map (None: never split)."""
        slots: dict[str, int | None] = {"input": None}
        for node in self.nodes:
            match node:
                case Conv():
                    slots[node.name] = node.slot
                case MaxPool():
                    slots[node.name] = slots[node.reads]
                case Add():
                    slots[node.name] = slots[node.reads[0]]
                case Head():
                    slots[node.name] = None
        return slots

    def sizes(self, height: int, width: int) -> dict[str, tuple[int, int]]:
        """Height and width in px of every node's (high-resolution, nominal) output map."""
        sizes = {"input": (height, width)}
        for node in self.nodes:
            match node:
                case Conv():
                    sizes[node.name] = _strided(sizes[node.reads], node.stride)
                case MaxPool():
                    sizes[node.name] = _strided(sizes[node.reads], 2)
                case Add():
                    sizes[node.name] = sizes[node.reads[0]]
                case Head():
                    sizes[node.name] = (1, 1)
        return sizes

    def octave_slots(self, input_size: int) -> tuple[bool, ...]:
        """Whether each slot may be split at a square input of `input_size` px.

        A block is plain where its output's low map would be smaller than `MIN_LOW_SIDE` px a side; the
        output decides for every convolution of the block ("a 3x3 on a 3.5x3.5 map makes no sense").
        """
        sizes = self.sizes(input_size, input_size)
        outputs = {(node.stage, node.block): sizes[node.name] for node in self.nodes if isinstance(node, Add)}
        return tuple(min(outputs[slot.stage, slot.block]) >= 2 * MIN_LOW_SIDE for slot in self.slots)


def _strided(size: tuple[int, int], stride: int) -> tuple[int, int]:
    return -(-size[0] // stride), -(-size[1] // stride)
