"""ResNet-50 with octave convolutions the way public ports write them, for comparison.

Four convolutions, pooled and upsampled by modules, and a batch-norm for each branch: a port keeps the four
kernels of the paper apart, normalises high and low by themselves, and leaves the order of operations to the
framework. Nothing is shared with octnas but the layer table.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from octnas.architecture import low_channels
from octnas.backbones import Add, Conv, Head, Pool, layer_table

__all__ = ["PortedResNet50"]

Map = tuple[Tensor | None, Tensor | None]


class FourConvolutions(nn.Module):
    """One octave convolution of a port, for any shares of low channels on either side."""

    def __init__(self, conv: Conv, low_in: int, low_out: int) -> None:
        super().__init__()
        high_in, high_out = conv.in_channels - low_in, conv.out_channels - low_out
        stride = 1 if low_in or low_out else conv.stride
        self.halves = conv.stride == 2 and bool(low_in or low_out)

        def path(inputs: int, outputs: int) -> nn.Conv2d | None:
            if not inputs or not outputs:
                return None
            return nn.Conv2d(inputs, outputs, conv.kernel, stride, conv.padding, bias=False)

        self.h2h, self.h2l = path(high_in, high_out), path(high_in, low_out)
        self.l2h, self.l2l = path(low_in, high_out), path(low_in, low_out)
        self.pool = nn.AvgPool2d(2, 2)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.norm_high = nn.BatchNorm2d(high_out) if high_out else None
        self.norm_low = nn.BatchNorm2d(low_out) if low_out else None

    def forward(self, x: Map) -> Map:
        """(high, low) to (high, low), None where a branch has no channels."""
        high, low = x
        if self.halves and high is not None:
            high = self.pool(high)
        out_high = None if self.h2h is None else self.h2h(high)
        out_low = None if self.h2l is None else self.h2l(self.pool(high))
        if self.l2h is not None:
            across = self.l2h(low) if self.halves else self.up(self.l2h(low))
            out_high = across if out_high is None else out_high + across
        if self.l2l is not None:
            within = self.l2l(self.pool(low) if self.halves else low)
            out_low = within if out_low is None else out_low + within
        return (
            None if self.norm_high is None else self.norm_high(out_high),
            None if self.norm_low is None else self.norm_low(out_low),
        )


class PortedResNet50(nn.Module):
    """ResNet-50 with one alpha in the first three stages and a plain last stage: images to logits."""

    def __init__(self, alpha: float, classes: int = 1000) -> None:
        super().__init__()
        self.table = layer_table("resnet50", width=64, stem="imagenet", in_channels=3, num_classes=classes)
        lows = {"input": 0}
        self.convs = nn.ModuleDict()
        for node in self.table.nodes:
            match node:
                case Conv():
                    octave = 0 < node.stage < 4
                    lows[node.name] = low_channels(alpha, node.out_channels) if octave else 0
                    conv = FourConvolutions(node, lows[node.reads], lows[node.name])
                    self.convs[node.name.replace(".", "_")] = conv
                case Add():
                    lows[node.name] = lows[node.reads[0]]
                case Pool() | Head():
                    lows[node.name] = lows[node.reads]
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.fc = nn.Linear(2048, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, classes); H and W multiples of 32."""
        maps: dict[str, Map] = {"input": (images, None)}
        for node in self.table.nodes:
            match node:
                case Conv():
                    out = self.convs[node.name.replace(".", "_")](maps[node.reads])
                    maps[node.name] = self._activated(out) if node.activation else out
                case Pool():
                    maps[node.name] = (self.pool(maps[node.reads][0]), None)
                case Add():
                    body, shortcut = maps[node.reads[0]], maps[node.reads[1]]
                    summed = tuple(
                        None if one is None or two is None else one + two
                        for one, two in zip(body, shortcut, strict=True)
                    )
                    maps[node.name] = self._activated((summed[0], summed[1]))
                case Head():
                    (high, _) = maps[node.reads]
                    assert high is not None
                    logits: Tensor = self.fc(torch.flatten(high.mean((2, 3)), 1))
                    return logits
        raise AssertionError("a layer table ends in its head")

    def _activated(self, x: Map) -> Map:
        return (
            None if x[0] is None else self.relu(x[0]),
            None if x[1] is None else self.relu(x[1]),
        )
