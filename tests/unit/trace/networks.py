"""Networks as users write them, small ones, and what the tests of conversions share."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.nn import ConvertedNetwork
from octnas.trace import convert


class Branches(nn.Module):
    """A concatenation of a 1x1, a dilated 3x3 and a pooled branch."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.point = nn.Conv2d(channels, out, 1, bias=False)
        self.wide = nn.Conv2d(channels, out, 3, padding=2, dilation=2, bias=False)
        self.pooled = nn.Conv2d(channels, out, 1)
        self.norm = nn.BatchNorm2d(3 * out)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(F.avg_pool2d(x, 3, stride=1, padding=1))
        return F.gelu(self.norm(torch.cat([self.point(x), self.wide(x), pooled], dim=1)))


class Excited(nn.Module):
    """An inverted residual: expansion, depthwise, squeeze-and-excite by 1x1 convolutions, projection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.SiLU())
        self.depthwise = nn.Conv2d(wide, wide, 5, padding=2, groups=wide, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        self.squeeze = nn.Conv2d(wide, 4, 1)
        self.excite = nn.Conv2d(4, wide, 1)
        self.project = nn.Conv2d(wide, channels, 1, bias=False)
        self.last = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = F.hardswish(self.norm(self.depthwise(self.expand(x))))
        factors = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(out, 1)))))
        return x + self.last(self.project(out * factors))


class Strided(nn.Module):
    """A residual block that halves, with a grouped convolution and a projection that comes first."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Conv2d(channels, out, 1, stride=2, bias=False), nn.BatchNorm2d(out))
        self.a = nn.Sequential(nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True))
        self.b = nn.Sequential(
            nn.Conv2d(out, out, 3, stride=2, padding=1, groups=4, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(True),
        )
        self.c = nn.Sequential(nn.Conv2d(out, out, 1, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.proj(x) + self.c(self.b(self.a(x))), 0.1)


class Mixed(nn.Module):
    """All of them in a row; three stages of 1/1, 1/2 and 1/4 of the input."""

    def __init__(self, num_classes: int = 10, in_channels: int = 3, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.branches = Branches(width, width)
        self.excited = Excited(3 * width)
        self.halved = Strided(3 * width, 4 * width)
        self.pool = nn.MaxPool2d(2)
        self.last = Strided(4 * width, 4 * width)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.excited(self.branches(self.stem(x)))
        x = self.last(self.pool(self.halved(x)) * 0.5)
        return self.classifier(self.dropout(x.mean([2, 3])))


class Clips(nn.Module):
    """3D: kernels over time, strides over time, a pooling that pads time, a dilated kernel."""

    def __init__(self, num_classes: int = 4, in_channels: int = 3, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv3d(in_channels, width, (3, 5, 5), padding=(1, 2, 2), bias=False)
        self.bn = nn.BatchNorm3d(width)
        self.pool = nn.MaxPool3d(3, stride=(1, 2, 2), padding=1)
        self.space = nn.Conv3d(width, width, (1, 3, 3), padding=(0, 2, 2), dilation=(1, 2, 2), bias=False)
        self.time = nn.Conv3d(width, 2 * width, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))
        self.norm = nn.BatchNorm3d(2 * width)
        self.both = nn.Conv3d(2 * width, 2 * width, 3, stride=2, padding=1)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.bn(self.stem(x))))
        x = torch.relu(self.norm(self.time(self.space(x))))
        x = F.silu(self.both(x))
        return self.head(torch.flatten(F.adaptive_avg_pool3d(x, 1), 1))


def mixed_lows(network: ConvertedNetwork, seed: int) -> Architecture:
    """Every slot with low channels of its own: none, some or all of them."""
    rng = random.Random(seed)
    lows = []
    for slot in network.table.slots:
        steps = slot.channels // slot.multiple
        lows.append(slot.multiple * rng.choice([0, steps, rng.randint(0, steps), rng.randint(0, steps)]))
    return Architecture(backbone=network.architecture.backbone, low_channels=tuple(lows))


def relative(first: Tensor, second: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float(((first - second).abs().max() / second.abs().max()).detach())


def plain_of(model: nn.Module, shape: tuple[int, ...]) -> ConvertedNetwork:
    """The conversion with no low channels, read at (C, H, W) or (C, T, H, W)."""
    return convert(model, input_shape=shape)
