"""Residual networks of clips: (B, C, T, H, W).

C2D and I3D are the ResNets of the non-local setting (Wang et al. 2018): eight frames of 224 px, the stem
keeps all of them, a max-pool over time behind the first stage leaves four. C2D has no kernel over time. In
I3D the stem is 5x7x7, and the first convolution of every second block looks at three frames. Names are those
of torchvision's 2D ResNets, so that a 2D state dict is inflated name by name. The `_resnet10` ones are
flavours for small clips, which keep all frames.

`r3d_18`, `mc3_18` and `r2plus1d_18` are torchvision's (Tran et al. 2018), with its names: 16 frames of
112 px, halved over time as they are over space where kernels look over time.

The small stem is that of the 2D ResNets; its kernel over time stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from octnas.backbones.nodes import Conv, Node, Pool
from octnas.backbones.residual import Layer, Place, residual_table
from octnas.backbones.resnet import RESNETS, resnet_body, resnet_stem
from octnas.backbones.table import LayerTable, Stem
from octnas.backbones.widths import scaled

__all__ = ["CLIP_RESNETS", "NON_LOCAL", "clip_resnet_table", "non_local_table"]

_EVERY = ((1,),) * 4
_NEVER = ((0,) * 6,) * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NonLocal:
    """A ResNet in the non-local setting."""

    of: str
    """The 2D ResNet."""
    stem_time: int = 1
    """Frames that the stem's kernel looks at."""
    inflated: Sequence[Sequence[int]] = _NEVER
    """For each block of each stage: whether its first convolution looks at three frames."""
    pools_time: bool = True


NON_LOCAL: dict[str, NonLocal] = {
    "c2d_resnet10": NonLocal(of="resnet10", pools_time=False),
    "c2d_resnet18": NonLocal(of="resnet18"),
    "c2d_resnet50": NonLocal(of="resnet50"),
    "i3d_resnet10": NonLocal(of="resnet10", stem_time=5, inflated=_EVERY, pools_time=False),
    "i3d_resnet18": NonLocal(of="resnet18", stem_time=5, inflated=((1, 0),) * 4),
    "i3d_resnet50": NonLocal(
        of="resnet50", stem_time=5, inflated=((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0))
    ),
}

CLIP_RESNETS = ("r3d_18", "mc3_18", "r2plus1d_18")


def non_local_table(name: str, *, width: int, stem: Stem, in_channels: int, num_classes: int) -> LayerTable:
    """The layer table of a C2D or I3D ResNet."""
    net = NON_LOCAL[name]
    of = RESNETS[net.of]

    def body(place: Place) -> Sequence[Layer]:
        kernel_time = 3 if net.inflated[place.stage - 1][place.block] else 1
        return resnet_body(place, net=of, width=width, kernel_time=kernel_time)

    over_time = Pool(name="pooltime", reads="", how="max", kernel=1, stride=1, kernel_time=2, stride_time=2)
    return residual_table(
        name,
        stem_nodes=resnet_stem(width, stem, in_channels, kernel_time=net.stem_time),
        depths=of.depths,
        body=body,
        width=width,
        stem=stem,
        in_channels=in_channels,
        num_classes=num_classes,
        dims=3,
        after={1: over_time} if net.pools_time else None,
    )


def clip_resnet_table(name: str, *, width: int, stem: Stem, in_channels: int, num_classes: int) -> LayerTable:
    """The layer table of one of torchvision's 3D ResNets."""
    factored = name == "r2plus1d_18"
    return residual_table(
        name,
        stem_nodes=_stem(name, width, stem, in_channels),
        depths=(2, 2, 2, 2),
        body=partial(_factored_body if factored else _body, name=name, width=width),
        width=width,
        stem=stem,
        in_channels=in_channels,
        num_classes=num_classes,
        dims=3,
    )


def _stem(name: str, width: int, stem: Stem, in_channels: int) -> list[Node]:
    """One 3x7x7 convolution, or 1x7x7 and 3x1x1."""
    kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
    first = Conv(
        name="stem.0",
        norm="stem.1",
        reads="input",
        in_channels=in_channels,
        out_channels=width,
        kernel=kernel,
        stride=stride,
        kernel_time=3,
        stage=0,
        block=0,
        slot=None,
    )
    if name != "r2plus1d_18":
        return [first]
    between = scaled(45, width, name=name)
    second = replace(
        first, name="stem.3", norm="stem.4", reads="stem.0", in_channels=between, kernel=1, stride=1
    )
    return [replace(first, out_channels=between, kernel_time=1), second]


def _body(place: Place, *, name: str, width: int) -> Sequence[Layer]:
    """Two 3x3x3 convolutions; those of mc3_18 are 1x3x3 from the second stage on."""
    planes = width * 2 ** (place.stage - 1)
    stride = 2 if place.stage > 1 and place.block == 0 else 1
    flat = name == "mc3_18" and place.stage > 1
    layer = Layer(name="conv2.0", norm="conv2.1", channels=planes, kernel=3, kernel_time=1 if flat else 3)
    first = replace(layer, name="conv1.0", norm="conv1.1", stride=stride, stride_time=1 if flat else stride)
    return first, layer


def _factored_body(place: Place, *, name: str, width: int) -> Sequence[Layer]:
    """Two 3x3x3 convolutions, each as 1x3x3 and 3x1x1 with about as many weights as the whole one."""
    planes = width * 2 ** (place.stage - 1)
    stride = 2 if place.stage > 1 and place.block == 0 else 1
    reads, writes = place.channels * 64 // width, 64 * 2 ** (place.stage - 1)
    # torchvision takes the numbers of the block's first convolution for both.
    between = scaled(reads * writes * 27 // (reads * 9 + 3 * writes), width, name=name)
    layers: list[Layer] = []
    for conv, step in (("conv1", stride), ("conv2", 1)):
        layers += [
            Layer(name=f"{conv}.0.0", norm=f"{conv}.0.1", channels=between, kernel=3, stride=step),
            Layer(
                name=f"{conv}.0.3",
                norm=f"{conv}.1",
                channels=planes,
                kernel=1,
                kernel_time=3,
                stride_time=step,
            ),
        ]
    return layers
