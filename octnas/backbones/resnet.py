"""ResNets (He et al. 2015), with torchvision's names and its stride on the 3x3 of a bottleneck.

The small-image stem is one 3x3 convolution with stride 1 and no max-pool, so that the maps of a 32 px
image are 32/16/8/4 px where those of a 224 px image behind the ImageNet stem are 56/28/14/7 px.
"""

from __future__ import annotations

from functools import lru_cache

from octnas.backbones.table import Add, Conv, Head, LayerTable, MaxPool, Node, Stem

__all__ = ["RESNETS", "resnet_table"]

RESNETS: dict[str, tuple[str, tuple[int, int, int, int]]] = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet26": ("bottleneck", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
"""Block kind and number of blocks in each of the four stages."""


@lru_cache(maxsize=256)
def resnet_table(
    name: str, *, width: int = 64, stem: Stem = "imagenet", in_channels: int = 3, num_classes: int = 1000
) -> LayerTable:
    """The layer table of a ResNet whose stem and first stage have `width` channels (64 in the paper)."""
    kind, depths = RESNETS[name]
    expansion = 4 if kind == "bottleneck" else 1
    stem_kernel, stem_stride = (7, 2) if stem == "imagenet" else (3, 1)
    nodes: list[Node] = [
        Conv(
            name="conv1",
            norm="bn1",
            reads="input",
            in_channels=in_channels,
            out_channels=width,
            kernel=stem_kernel,
            stride=stem_stride,
            stage=0,
            block=0,
            slot=None,
        )
    ]
    if stem == "imagenet":
        nodes.append(MaxPool(name="maxpool", reads="conv1"))
    channels, slot = width, 0
    for stage, depth in enumerate(depths, start=1):
        planes = width * 2 ** (stage - 1)
        for block in range(depth):
            stride = 2 if stage > 1 and block == 0 else 1
            body = _bodies(kind, channels, planes, stride)
            nodes += _block(nodes[-1].name, body, stage=stage, block=block, first_slot=slot)
            slot += len(body)
            channels = planes * expansion
    nodes.append(Head(name="fc", reads=nodes[-1].name, in_channels=channels, out_channels=num_classes))
    return LayerTable(
        backbone=name,
        width=width,
        stem=stem,
        in_channels=in_channels,
        num_classes=num_classes,
        nodes=tuple(nodes),
    )


def _bodies(kind: str, channels: int, planes: int, stride: int) -> list[tuple[int, int, int, int]]:
    """(in, out, kernel, stride) of each convolution of a block's body."""
    if kind == "basic":
        return [(channels, planes, 3, stride), (planes, planes, 3, 1)]
    return [(channels, planes, 1, 1), (planes, planes, 3, stride), (planes, 4 * planes, 1, 1)]


def _block(
    source: str, body: list[tuple[int, int, int, int]], *, stage: int, block: int, first_slot: int
) -> list[Node]:
    prefix = f"layer{stage}.{block}"
    nodes: list[Node] = []
    reads = source
    for i, (cin, cout, kernel, stride) in enumerate(body):
        conv = Conv(
            name=f"{prefix}.conv{i + 1}",
            norm=f"{prefix}.bn{i + 1}",
            reads=reads,
            in_channels=cin,
            out_channels=cout,
            kernel=kernel,
            stride=stride,
            relu=i + 1 < len(body),
            stage=stage,
            block=block,
            slot=first_slot + i,
        )
        nodes.append(conv)
        reads = conv.name
    channels, planes_out = body[0][0], body[-1][1]
    block_stride = max(stride for *_, stride in body)
    shortcut = source
    if block_stride != 1 or channels != planes_out:
        shortcut = f"{prefix}.downsample.0"
        nodes.append(
            Conv(
                name=shortcut,
                norm=f"{prefix}.downsample.1",
                reads=source,
                in_channels=channels,
                out_channels=planes_out,
                kernel=1,
                stride=block_stride,
                relu=False,
                stage=stage,
                block=block,
                slot=first_slot + len(body) - 1,
                shortcut=True,
            )
        )
    nodes.append(Add(name=f"{prefix}.add", reads=(reads, shortcut), stage=stage, block=block))
    return nodes
