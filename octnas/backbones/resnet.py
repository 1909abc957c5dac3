"""ResNets (He et al. 2015) and their wide, grouped and excited relatives, with torchvision's names.

The stride is on the 3x3 of a bottleneck, as in torchvision. Wide ResNets (Zagoruyko & Komodakis 2016) and
ResNeXt (Xie et al. 2017) change the 3x3 alone: the latter has it grouped, and at other widths the channels
of a group stay and the number of groups is scaled, so that the same alphas are allowed. SE-ResNets (Hu et
al. 2018) excite the body before the sum.

The small-image stem is one 3x3 convolution with stride 1 and no max-pool, so that the maps of a 32 px
image are 32/16/8/4 px where those of a 224 px image behind the ImageNet stem are 56/28/14/7 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from octnas.backbones.nodes import Conv, Node, Pool
from octnas.backbones.residual import Layer, Place, residual_table
from octnas.backbones.table import LayerTable, Stem
from octnas.backbones.widths import scaled

__all__ = ["RESNETS", "ResNet", "resnet_body", "resnet_stem", "resnet_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet:
    """What tells a member from the others."""

    kind: Literal["basic", "bottleneck"] = "bottleneck"
    depths: tuple[int, int, int, int]
    """Blocks in each of the four stages."""
    groups: int = 1
    """Of the 3x3 of a bottleneck, at width 64."""
    inner: int = 1
    """Channels of the 3x3 of a bottleneck, as a multiple of a ResNet's."""
    excited: bool = False


RESNETS: dict[str, ResNet] = {
    "resnet10": ResNet(kind="basic", depths=(1, 1, 1, 1)),
    "resnet18": ResNet(kind="basic", depths=(2, 2, 2, 2)),
    "resnet26": ResNet(depths=(2, 2, 2, 2)),
    "resnet34": ResNet(kind="basic", depths=(3, 4, 6, 3)),
    "resnet50": ResNet(depths=(3, 4, 6, 3)),
    "resnet101": ResNet(depths=(3, 4, 23, 3)),
    "resnet152": ResNet(depths=(3, 8, 36, 3)),
    "resnet200": ResNet(depths=(3, 24, 36, 3)),
    "resnext50_32x4d": ResNet(depths=(3, 4, 6, 3), groups=32, inner=2),
    "resnext101_32x4d": ResNet(depths=(3, 4, 23, 3), groups=32, inner=2),
    "se_resnet50": ResNet(depths=(3, 4, 6, 3), excited=True),
    "se_resnet101": ResNet(depths=(3, 4, 23, 3), excited=True),
    "se_resnet152": ResNet(depths=(3, 8, 36, 3), excited=True),
    "wide_resnet50_2": ResNet(depths=(3, 4, 6, 3), inner=2),
    "wide_resnet101_2": ResNet(depths=(3, 4, 23, 3), inner=2),
}

REDUCTION = 16
"""Channels of a block for each inner channel of its squeeze and excitation."""


def resnet_table(name: str, *, width: int, stem: Stem, in_channels: int, num_classes: int) -> LayerTable:
    """The layer table of a ResNet whose stem and first stage have `width` channels (64 in the paper)."""
    net = RESNETS[name]
    groups = scaled(net.groups, width, name=name) if net.groups > 1 else 1

    def squeezed(channels: int) -> int:
        return scaled(channels * 64 // (width * REDUCTION), width, name=name)

    return residual_table(
        name,
        stem_nodes=resnet_stem(width, stem, in_channels),
        depths=net.depths,
        body=partial(resnet_body, net=net, width=width, groups=groups),
        width=width,
        stem=stem,
        in_channels=in_channels,
        num_classes=num_classes,
        excite=squeezed if net.excited else None,
    )


def resnet_stem(width: int, stem: Stem, in_channels: int, *, kernel_time: int = 1) -> list[Node]:
    """The first convolution, and the max-pool behind it."""
    kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
    conv = Conv(
        name="conv1",
        norm="bn1",
        reads="input",
        in_channels=in_channels,
        out_channels=width,
        kernel=kernel,
        stride=stride,
        kernel_time=kernel_time,
        stage=0,
        block=0,
        slot=None,
    )
    pool = Pool(name="maxpool", reads="conv1", how="max", kernel=3, stride=2, padding=1)
    return [conv, pool] if stem == "imagenet" else [conv]


def resnet_body(
    place: Place, *, net: ResNet, width: int, groups: int = 1, kernel_time: int = 1
) -> Sequence[Layer]:
    """The convolutions of a block; `kernel_time` is the first one's."""
    planes = width * 2 ** (place.stage - 1)
    stride = 2 if place.stage > 1 and place.block == 0 else 1
    inner = net.inner * planes
    if net.kind == "basic":
        return (
            Layer(
                name="conv1", norm="bn1", channels=planes, kernel=3, stride=stride, kernel_time=kernel_time
            ),
            Layer(name="conv2", norm="bn2", channels=planes, kernel=3),
        )
    return (
        Layer(name="conv1", norm="bn1", channels=inner, kernel=1, kernel_time=kernel_time, layout=groups),
        Layer(
            name="conv2", norm="bn2", channels=inner, kernel=3, stride=stride, groups=groups, layout=groups
        ),
        Layer(name="conv3", norm="bn3", channels=4 * planes, kernel=1),
    )
