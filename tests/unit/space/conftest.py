"""Tiny spaces, and every member of one by plain enumeration."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from octnas.architecture import Architecture
from octnas.backbones import families, layer_table
from octnas.backbones.densenet import DENSENETS
from octnas.costs import cost
from octnas.space import SearchSpace, parse_space

TEMPLATE = """
name: tiny
description: for tests
granularity: {granularity}
alphas: {alphas}
backbones: {backbones}
downsample: {downsample}
target: {{input_size: {size}, frames: {frames}, channels: 1, classes: 4, width: 8, stem: small}}
proxy: {{data: fashion, width: 8, stem: small, input_size: {size}, frames: {frames}, epochs: 2}}
"""

TINY_DENSENETS = {"densenet_3": (3, 1, 1, 1), "densenet_2_2": (2, 2, 1, 1)}
"""Dense layers a stage, few enough to enumerate; no published network has concatenations of so few maps."""


@dataclass(frozen=True)
class Tiny:
    """A tiny space and its members, each with its cost in multiply-adds and its alpha indices."""

    space: SearchSpace
    costs: dict[Architecture, int]
    indices: dict[Architecture, tuple[int, ...]]


def make(
    granularity: str,
    alphas: str,
    backbones: str,
    downsample: str = "[pooled]",
    size: int = 16,
    frames: str = "null",
) -> Tiny:
    text = TEMPLATE.format(
        granularity=granularity,
        alphas=alphas,
        backbones=backbones,
        downsample=downsample,
        size=size,
        frames=frames,
    )
    space = parse_space(text)
    costs, indices = {}, {}
    for backbone in space.backbones:
        table = layer_table(backbone, width=8, stem="small", in_channels=1, num_classes=4)
        octave = table.octave_slots(size)
        lows = [[int(alpha * slot.channels) for alpha in space.alphas] for slot in table.slots]
        for vector in sorted(enumerate_indices(space, backbone, size)):
            free = iter(vector)
            low = tuple(lows[i][next(free)] if octave[i] else 0 for i in range(len(table.slots)))
            macs = -1
            for way in space.downsample:
                arch = Architecture(
                    backbone=backbone, low_channels=low, downsample=way, width=8, stem="small"
                )
                macs = cost(arch, space.target.input_shape, num_classes=4).macs if macs < 0 else macs
                costs[arch], indices[arch] = macs, vector
    return Tiny(space, costs, indices)


def enumerate_indices(space: SearchSpace, backbone: str, size: int) -> set[tuple[int, ...]]:
    """All vectors of alpha indices over the slots that may be split, straight from the definition."""
    table = layer_table(backbone, width=8, stem="small")
    slots = [slot for slot, free in zip(table.slots, table.octave_slots(size), strict=True) if free]
    top = len(space.alphas) - 1
    keys = [
        {"stage": slot.stage, "block": (slot.stage, slot.block), "layer": slot.index}.get(
            space.granularity, slot.stage
        )
        for slot in slots
    ]
    names = sorted(set(keys))
    found = set()
    if space.granularity != "stage+layer":
        for values in itertools.product(range(top + 1), repeat=len(names)):
            chosen = dict(zip(names, values, strict=True))
            found.add(tuple(chosen[key] for key in keys))
        return found
    stages = []
    for name in names:
        members = set()
        for center in range(top + 1):
            for steps in itertools.product((-1, 0, 1), repeat=keys.count(name)):
                members.add(tuple(min(max(center + step, 0), top) for step in steps))
        stages.append(members)
    return {sum(parts, ()) for parts in itertools.product(*stages)}


CASES: dict[str, Callable[[], Tiny]] = {
    "stage": lambda: make("stage", "[0, 0.25, 0.5, 0.75]", "[resnet18, resnet26]", "[strided, pooled]"),
    "block": lambda: make("block", "[0, 0.5, 1]", "[resnet26, resnet18]"),
    "layer": lambda: make("layer", "[0, 0.25, 0.75]", "[resnet18]"),
    "stage+layer": lambda: make("stage+layer", "[0, 0.25, 0.5, 0.75]", "[resnet18]", size=8),
    "stage+layer, odd map": lambda: make("stage+layer", "[0, 0.25, 0.5, 1]", "[resnet26, resnet18]", size=9),
    "stage+layer, two alphas": lambda: make("stage+layer", "[0, 0.5]", "[resnet18]", "[pooled, strided]"),
    "stage, concatenated": lambda: make("stage", "[0, 0.25, 0.5, 1]", "[densenet_2_2, resnext50_32x4d]"),
    "block, concatenated": lambda: make("block", "[0.25, 0.5, 1]", "[densenet_2_2, densenet_3]"),
    "layer, concatenated": lambda: make("layer", "[0, 0.5]", "[densenet_2_2, resnet18]"),
    "stage+layer, concatenated": lambda: make(
        "stage+layer", "[0, 0.25, 0.5, 0.75]", "[densenet_3]", "[pooled, strided]", size=9
    ),
    "layer, grouped": lambda: make("layer", "[0, 0.75]", "[resnext50_32x4d]", size=8),
    "layer, depthwise": lambda: make("layer", "[0, 0.5]", "[mobilenet_v2, mobilenet_v1]", size=8),
    "block, clips": lambda: make("block", "[0, 0.5, 0.75]", "[resnet18, i3d_resnet18]", frames="4"),
}


@pytest.fixture(scope="session", autouse=True)
def tiny_densenets() -> Iterator[None]:
    """The tiny networks, under names of their own, as members of their family."""
    with pytest.MonkeyPatch.context() as patch:
        for name, depths in TINY_DENSENETS.items():
            patch.setitem(DENSENETS, name, depths)
            patch.setitem(families._BY_NAME, name, families.family_of("densenet121"))
        yield


@pytest.fixture(params=CASES, scope="session")
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return CASES[request.param]()
