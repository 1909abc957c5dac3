"""DenseNet-121 (Huang et al. 2017), with torchvision's names.

Every dense layer is a block of its stage: a normalisation of all that came before, a 1x1 and a 3x3
convolution, and the concatenation, whose segments are the stage's input and the outputs of its layers, each
with its own low channels. The transition is the last block of its stage. Its average pool drops what hangs
over an odd border, as torchvision's does.

The small-image stem is that of the ResNets.
"""

from __future__ import annotations

from octnas.backbones.nodes import Concat, Conv, Head, Node, Norm, Pool
from octnas.backbones.table import LayerTable, Stem
from octnas.backbones.widths import scaled

__all__ = ["DENSENETS", "densenet_table"]

DENSENETS: dict[str, tuple[int, int, int, int]] = {"densenet121": (6, 12, 24, 16)}
"""Dense layers in each stage."""
GROWTH = 32
"""Channels that a dense layer adds, at width 64; its 1x1 has four times as many."""


def densenet_table(name: str, *, width: int, stem: Stem, in_channels: int, num_classes: int) -> LayerTable:
    """The layer table of a DenseNet whose stem has `width` channels (64 in the paper)."""
    growth = scaled(GROWTH, width, name=name)
    depths = DENSENETS[name]
    nodes = _stem(width, stem, in_channels)
    channels, slot = width, 0
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            nodes += _dense_layer(nodes[-1].name, channels, growth, stage=stage, block=block, slot=slot)
            channels, slot = channels + growth, slot + 2
        if stage < len(depths):
            nodes += _transition(nodes[-1].name, channels, stage=stage, block=depth, slot=slot)
            channels, slot = channels // 2, slot + 1
    nodes.append(
        Norm(
            name="features.norm5",
            reads=nodes[-1].name,
            channels=channels,
            stage=len(depths),
            block=depths[-1],
        )
    )
    nodes.append(
        Head(name="classifier", reads="features.norm5", in_channels=channels, out_channels=num_classes)
    )
    return LayerTable(
        backbone=name,
        width=width,
        stem=stem,
        in_channels=in_channels,
        num_classes=num_classes,
        nodes=tuple(nodes),
    )


def _stem(width: int, stem: Stem, in_channels: int) -> list[Node]:
    kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
    conv = Conv(
        name="features.conv0",
        norm="features.norm0",
        reads="input",
        in_channels=in_channels,
        out_channels=width,
        kernel=kernel,
        stride=stride,
        stage=0,
        block=0,
        slot=None,
    )
    pool = Pool(name="features.pool0", reads=conv.name, how="max", kernel=3, stride=2, padding=1)
    return [conv, pool] if stem == "imagenet" else [conv]


def _dense_layer(source: str, channels: int, growth: int, *, stage: int, block: int, slot: int) -> list[Node]:
    prefix = f"features.denseblock{stage}.denselayer{block + 1}"
    return [
        Norm(name=f"{prefix}.norm1", reads=source, channels=channels, stage=stage, block=block),
        Conv(
            name=f"{prefix}.conv1",
            norm=f"{prefix}.norm2",
            reads=f"{prefix}.norm1",
            in_channels=channels,
            out_channels=4 * growth,
            kernel=1,
            stage=stage,
            block=block,
            slot=slot,
        ),
        Conv(
            name=f"{prefix}.conv2",
            norm=None,
            reads=f"{prefix}.conv1",
            in_channels=4 * growth,
            out_channels=growth,
            kernel=3,
            activation=None,
            stage=stage,
            block=block,
            slot=slot + 1,
        ),
        Concat(name=f"{prefix}.concat", reads=(source, f"{prefix}.conv2"), stage=stage, block=block),
    ]


def _transition(source: str, channels: int, *, stage: int, block: int, slot: int) -> list[Node]:
    prefix = f"features.transition{stage}"
    return [
        Norm(name=f"{prefix}.norm", reads=source, channels=channels, stage=stage, block=block),
        Conv(
            name=f"{prefix}.conv",
            norm=None,
            reads=f"{prefix}.norm",
            in_channels=channels,
            out_channels=channels // 2,
            kernel=1,
            activation=None,
            stage=stage,
            block=block,
            slot=slot,
        ),
        Pool(
            name=f"{prefix}.pool",
            reads=f"{prefix}.conv",
            how="average",
            kernel=2,
            stride=2,
            floor=True,
            stage=stage,
            block=block,
        ),
    ]
