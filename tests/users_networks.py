"""Networks as a user may have written them, each by a factory: "users_networks:residual"."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["fixed", "functional", "named", "odd", "own", "plain_parts", "residual", "rounded", "volume"]


class Residual(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, channels: int, out: int, stride: int, conv: Callable[..., nn.Module]) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if conv is nn.Conv2d else nn.BatchNorm3d
        self.conv1 = conv(channels, out, 3, stride, 1, bias=False)
        self.bn1 = norm(out)
        self.conv2 = conv(out, out, 3, padding=1, bias=False)
        self.bn2 = norm(out)
        self.short = conv(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.short(x))


class Network(nn.Module):
    """A stem and two stages, with one halving between them."""

    def __init__(self, classes: int, channels: int, wide: int, conv: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.stem = conv(channels, wide, 3, padding=1, bias=False)
        self.stage1 = Residual(wide, wide, 1, conv)
        self.stage2 = Residual(wide, 2 * wide, 2, conv)
        self.head = nn.Linear(2 * wide, classes)
        self.over = (2, 3) if conv is nn.Conv2d else (2, 3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage2(self.stage1(torch.relu(self.stem(x))))
        return self.head(x.mean(self.over))


class Odd(nn.Module):
    """Slots in orders that no network of octnas has: a convolution that shares the slot of an earlier one
    than it reads, a concatenation in the order of execution backwards, and one of a map with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 12, 3, padding=1)
        self.left = nn.Conv2d(8, 4, 1)
        self.right = nn.Conv2d(8, 8, 1)
        self.short = nn.Conv2d(12, 12, 1)
        self.twice = nn.Conv2d(24, 4, 1)
        self.last = nn.Conv2d(4, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        body = self.body(torch.relu(self.first(x)))
        left, right = self.left(x), self.right(x)
        x = torch.relu(body + self.short(torch.cat((right, left), 1)))
        x = self.last(self.twice(torch.cat((x, x), 1)))
        return self.head(x.mean((2, 3)))


class Shuffled(nn.Module):
    """With something between convolutions that octaves do not pass."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.shuffle = nn.ChannelShuffle(2)
        self.even = nn.Conv2d(8, 8, 2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.even(self.shuffle(self.conv(self.stem(x))))
        return self.head(x.mean((2, 3)))


class Functional(nn.Module):
    """With a convolution that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.weight = nn.Parameter(torch.zeros(8, 8, 3, 3))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.conv2d(self.conv(self.stem(x)), self.weight, padding=1)
        return self.head(x.mean((2, 3)))


class Flat(nn.Module):
    """For images of 32 px alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 32 * 32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.conv(self.stem(x)), 1))


def residual(num_classes: int = 10, in_channels: int = 3, width: int = 32) -> nn.Module:
    """Takes all there is to take."""
    return Network(num_classes, in_channels, width, nn.Conv2d)


def named(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Has one width."""
    return Network(num_classes, in_channels, 16, nn.Conv2d)


def own() -> nn.Module:
    """Has ten classes and three channels, whatever is asked for."""
    return Network(10, 3, 16, nn.Conv2d)


def rounded(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> nn.Module:
    """Has a whole number of eights of channels at every width, at least eight."""
    return Network(num_classes, in_channels, max(8, round(24 * width / 8) * 8), nn.Conv2d)


def volume(num_classes: int = 10, in_channels: int = 1, width: int = 8) -> nn.Module:
    """Reads clips."""
    return Network(num_classes, in_channels, width, nn.Conv3d)


def odd() -> nn.Module:
    """See `Odd`."""
    return Odd()


def plain_parts() -> nn.Module:
    """See `Shuffled`."""
    return Shuffled()


def functional() -> nn.Module:
    """See `Functional`."""
    return Functional()


def fixed() -> nn.Module:
    """See `Flat`."""
    return Flat()
