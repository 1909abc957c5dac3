"""MobileNets V1 (Howard et al. 2017) and V2 (Sandler et al. 2018), with torchvision's names for V2.

The width multiplier is part of the name (`_x0_5` has half the channels, rounded to multiples of 8 as their
authors do). V1 is in torchvision's manner, with a stage for each number of channels; the stages of V2 are the
rows of its table, and its last convolution is a stage by itself.

The small-image stem has stride 1, and so has the first block that would halve.
"""

from __future__ import annotations

from dataclasses import dataclass

from octnas.backbones.nodes import Activation, Add, Conv, Head, Node
from octnas.backbones.table import LayerTable, Stem
from octnas.backbones.widths import scaled

__all__ = ["MOBILENETS_V1", "MOBILENETS_V2", "mobilenet_v1_table", "mobilenet_v2_table"]

MOBILENETS_V1: dict[str, float] = {
    "mobilenet_v1": 1.0,
    "mobilenet_v1_x0_5": 0.5,
    "mobilenet_v1_x0_75": 0.75,
}
"""Width multipliers."""
MOBILENETS_V2: dict[str, float] = {
    "mobilenet_v2": 1.0,
    "mobilenet_v2_x0_5": 0.5,
    "mobilenet_v2_x0_75": 0.75,
    "mobilenet_v2_x1_4": 1.4,
}
"""Width multipliers."""

_V1 = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))
"""Channels, blocks and first stride of each stage."""
_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and first stride of each stage."""
_STEM, _LAST = 32, 1280


@dataclass(slots=True, kw_only=True)
class _Chain:
    """Nodes as they are appended, each convolution reading the one before."""

    nodes: list[Node]
    channels: int
    activation: Activation
    slots: int = 0

    @property
    def end(self) -> str:
        return self.nodes[-1].name if self.nodes else "input"

    def conv(
        self,
        name: str,
        norm: str,
        channels: int,
        *,
        stage: int,
        block: int,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        activates: bool = True,
    ) -> None:
        searched = stage > 0
        self.nodes.append(
            Conv(
                name=name,
                norm=norm,
                reads=self.end,
                in_channels=self.channels,
                out_channels=channels,
                kernel=kernel,
                stride=stride,
                groups=channels if depthwise else 1,
                activation=self.activation if activates else None,
                stage=stage,
                block=block,
                slot=self.slots if searched else None,
            )
        )
        self.channels = channels
        self.slots += searched


def mobilenet_v1_table(
    name: str, *, width: int, stem: Stem, in_channels: int, num_classes: int
) -> LayerTable:
    """The layer table of a MobileNetV1: 13 depthwise separable blocks."""
    multiplier = MOBILENETS_V1[name]

    def channels(number: int) -> int:
        return scaled(_divisible(number * multiplier), width, name=name)

    chain = _Chain(nodes=[], channels=in_channels, activation="relu")
    _begin(chain, channels(_STEM), stem)
    place, keeps = 0, stem == "small"
    for stage, (number, blocks, first) in enumerate(_V1, start=1):
        for block in range(blocks):
            stride = first if block == 0 else 1
            if stride == 2 and keeps:
                stride, keeps = 1, False
            place += 1
            prefix = f"features.{place}.conv"
            chain.conv(
                f"{prefix}.0.0",
                f"{prefix}.0.1",
                chain.channels,
                kernel=3,
                stride=stride,
                depthwise=True,
                stage=stage,
                block=block,
            )
            chain.conv(f"{prefix}.1.0", f"{prefix}.1.1", channels(number), stage=stage, block=block)
    return _ended(chain, name, "classifier", width, stem, in_channels, num_classes)


def mobilenet_v2_table(
    name: str, *, width: int, stem: Stem, in_channels: int, num_classes: int
) -> LayerTable:
    """The layer table of a MobileNetV2: 17 inverted residual blocks."""
    multiplier = MOBILENETS_V2[name]

    def channels(number: float) -> int:
        return scaled(_divisible(number * multiplier), width, name=name)

    chain = _Chain(nodes=[], channels=in_channels, activation="relu6")
    _begin(chain, channels(_STEM), stem)
    place, keeps = 0, stem == "small"
    for stage, (expansion, number, blocks, first) in enumerate(_V2, start=1):
        for block in range(blocks):
            stride = first if block == 0 else 1
            if stride == 2 and keeps:
                stride, keeps = 1, False
            place += 1
            _inverted(
                chain,
                f"features.{place}",
                channels(number),
                expansion,
                # What the published block has: the first of a stage adds nothing, whatever its stride.
                residual=block > 0,
                stride=stride,
                stage=stage,
                block=block,
            )
    # The last convolution is never narrower than at multiplier 1.
    last = scaled(_divisible(_LAST * max(1.0, multiplier)), width, name=name)
    stage = len(_V2) + 1
    chain.conv(f"features.{place + 1}.0", f"features.{place + 1}.1", last, stage=stage, block=0)
    return _ended(chain, name, "classifier.1", width, stem, in_channels, num_classes)


def _begin(chain: _Chain, channels: int, stem: Stem) -> None:
    stride = 2 if stem == "imagenet" else 1
    chain.conv("features.0.0", "features.0.1", channels, kernel=3, stride=stride, stage=0, block=0)


def _inverted(
    chain: _Chain,
    prefix: str,
    channels: int,
    expansion: int,
    *,
    residual: bool,
    stride: int,
    stage: int,
    block: int,
) -> None:
    source, part = chain.end, 0
    inner = chain.channels * expansion
    if expansion > 1:
        chain.conv(f"{prefix}.conv.0.0", f"{prefix}.conv.0.1", inner, stage=stage, block=block)
        part = 1
    chain.conv(
        f"{prefix}.conv.{part}.0",
        f"{prefix}.conv.{part}.1",
        inner,
        kernel=3,
        stride=stride,
        depthwise=True,
        stage=stage,
        block=block,
    )
    chain.conv(
        f"{prefix}.conv.{part + 1}",
        f"{prefix}.conv.{part + 2}",
        channels,
        activates=False,
        stage=stage,
        block=block,
    )
    if residual:
        add = Add(name=f"{prefix}.add", reads=(chain.end, source), activation=None, stage=stage, block=block)
        chain.nodes.append(add)


def _ended(
    chain: _Chain, name: str, head: str, width: int, stem: Stem, in_channels: int, num_classes: int
) -> LayerTable:
    chain.nodes.append(Head(name=head, reads=chain.end, in_channels=chain.channels, out_channels=num_classes))
    return LayerTable(
        backbone=name,
        width=width,
        stem=stem,
        in_channels=in_channels,
        num_classes=num_classes,
        nodes=tuple(chain.nodes),
    )


def _divisible(number: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth below."""
    nearest = max(8, int(number + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * number else nearest
