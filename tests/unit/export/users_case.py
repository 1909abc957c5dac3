"""Networks as users write them, with what deployed networks have to get right."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from export_case import lived_in
from torch import Tensor, nn

from octnas import plain
from octnas.architecture import Architecture
from octnas.nn import ConvertedNetwork
from octnas.trace import convert

__all__ = ["Aliased", "Dilated", "Excited", "Segmenter", "Volume", "converted"]


class Dilated(nn.Module):
    """Concatenations (one of a map with itself), dilated layers, poolings that keep the size, a flat head."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.near = nn.Conv2d(width, width, 3, padding=1)
        self.far = nn.Conv2d(width, 2 * width, 3, padding=2, dilation=2, bias=False)
        self.norm = nn.BatchNorm2d(2 * width)
        self.mix = nn.Conv2d(3 * width, 2 * width, 1)
        self.grouped = nn.Conv2d(2 * width, 2 * width, 3, padding=3, dilation=3, groups=4)
        self.scale = nn.Parameter(torch.rand(1, 2 * width, 1, 1))
        self.down = nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=2, dilation=2)
        self.head = nn.Linear(8 * width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = torch.cat([self.near(x).relu_(), F.relu(self.norm(self.far(x)), inplace=True)], 1)
        y = F.gelu(self.mix(y))
        y = F.relu(y + self.grouped(y)) * self.scale
        z = self.down(F.dropout(y, 0.2, self.training))
        z = torch.cat([z, F.avg_pool2d(z, 3, 1, 1), z, F.max_pool2d(z, 3, 1, 1, ceil_mode=True)], 1)
        return self.head(F.adaptive_avg_pool2d(z, 1).view(z.size(0), -1))


class _Inverted(nn.Module):
    def __init__(self, channels: int, out: int, stride: int, act: type[nn.Module]) -> None:
        super().__init__()
        wide = 4 * channels
        self.expand = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide, eps=1e-3), act()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 5, stride, 2, groups=wide, bias=False), nn.BatchNorm2d(wide), act()
        )
        self.squeeze, self.excite = nn.Linear(wide, 4), nn.Linear(4, wide)
        self.project = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.drop = nn.Dropout(0.2)
        self.adds = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        factors = torch.sigmoid(self.excite(F.silu(self.squeeze(y.mean((2, 3))))))
        y = self.project(y * factors[:, :, None, None])
        return x + self.drop(y) if self.adds else y


class Excited(nn.Module):
    """Depthwise layers, squeeze-and-excite, SiLU and hard swish, a normalisation by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, 2, 1)
        self.blocks = nn.Sequential(
            _Inverted(12, 12, 1, nn.SiLU), _Inverted(12, 20, 2, nn.Hardswish), _Inverted(20, 20, 1, nn.SiLU)
        )
        self.norm = nn.BatchNorm2d(20)
        self.head = nn.Conv2d(20, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.norm(self.blocks(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(x, (1, 1))).flatten(1)


class Volume(nn.Module):
    """3D: dilated over time and over space, a concatenation, a pooling that pads time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 16, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False)
        self.norm = nn.BatchNorm3d(16)
        self.act = nn.LeakyReLU(0.1, inplace=True)
        self.space = nn.Conv3d(16, 16, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(16, 16, (3, 1, 1), padding=(2, 0, 0), dilation=(2, 1, 1), bias=False)
        self.after = nn.BatchNorm3d(16)
        self.pool = nn.MaxPool3d(3, 2, 1)
        self.both = nn.Conv3d(32, 24, 3, stride=2, padding=1)
        self.each = nn.Conv3d(24, 24, (1, 3, 3), padding=(0, 2, 2), dilation=(1, 2, 2), groups=24)
        self.mix = nn.Conv3d(24, 24, 1)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(x)))
        y = F.silu(self.after(self.time(self.space(x))))
        x = self.both(self.pool(torch.cat((x, y), dim=1))).relu()
        x = x + self.mix(F.relu6(self.each(x)))
        return self.head(x.mean(dim=[2, 3, 4]))


class Aliased(nn.Module):
    """Maps whose memory, or a part of it, is another value's as well, and is added to in between."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second, self.third, self.fourth = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.drop, self.same = nn.Dropout(0.1), nn.Identity()
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x))
        left, right = x.chunk(2, 1)
        y = self.second(F.relu(x)) + x  # the halves are read after
        dropped = self.drop(y)
        scaled = y.contiguous()
        z = self.third(y) + y
        z = self.fourth(z) + scaled
        out = self.same(z) * 1.0 + dropped + scaled + torch.cat((right, left), 1)
        out = out + out
        return self.head(out.mean([2, 3]))


class _InPlace(nn.Module):
    """Writes to what it reads, and looks at the batch as it runs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(self.scale)
        if x.shape[0] > 100:
            return x
        return x.flatten(1).view_as(x)


class Segmenter(nn.Module):
    """Returns maps by name, one of them of a module that is kept whole."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, 2, 1)
        self.second = nn.Conv2d(width, width, 3, 2, 1)
        self.third = nn.Conv2d(width, width, 3, padding=1)
        self.whole = plain(_InPlace(width))
        self.head = nn.Conv2d(2 * width, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = F.relu(self.first(x))
        z = self.whole(F.relu(self.third(F.relu(self.second(y)))))
        z = F.interpolate(z, size=y.shape[-2:], mode="bilinear", align_corners=False)
        return {"out": self.head(torch.cat((y, z), 1)), "aux": z}


def converted(
    model: nn.Module, shape: tuple[int, ...], seed: int | None = None, **options: bool
) -> ConvertedNetwork:
    """The conversion of a network as after some training, its low channels by chance; None: without any."""
    model = lived_in(model)
    net = convert(model, input_shape=shape, **options)  # type: ignore[arg-type]
    if seed is None:
        return net.eval()
    rng, lows = random.Random(seed), []
    for slot in net.table.slots:
        steps = slot.channels // slot.multiple
        lows.append(slot.multiple * rng.choice([0, steps // 4, steps // 2, steps // 2, steps]))
    arch = Architecture(backbone=net.architecture.backbone, low_channels=tuple(lows))
    return convert(model, architecture=arch, input_shape=shape, **options).eval()  # type: ignore[arg-type]
