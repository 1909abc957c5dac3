"""What the tests of all families share: random architectures, and weights that are not those of birth."""

from __future__ import annotations

import random
from typing import Any

import torch
import torchvision
from torch import nn

from octnas.architecture import Architecture
from octnas.backbones import layer_table

FAMILIES = [
    "resnet10",
    "resnet26",
    "resnext50_32x4d",
    "se_resnet50",
    "wide_resnet50_2",
    "densenet121",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v2_x1_4",
    "c2d_resnet18",
    "i3d_resnet10",
    "i3d_resnet50",
    "r3d_18",
    "mc3_18",
]
"""One or two of each family that is there at width 8."""


def randomized(net: nn.Module, seed: int = 1) -> nn.Module:
    """Batch-norm parameters and statistics that are not 0 and 1, and biases that are not 0."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_mean") or (value.ndim == 1 and name.endswith("bias")):
                value.normal_(0, 0.1, generator=rng)
            elif name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
                value.uniform_(0.5, 1.5, generator=rng)
    return net


def mixed(backbone: str, seed: int, **options: Any) -> Architecture:
    """Every slot with low channels of its own: none, some or all of them."""
    options = {"width": 8, "stem": "small", "downsample": "pooled", **options}
    rng = random.Random(seed)
    table = layer_table(backbone, width=options["width"], stem=options["stem"])
    lows = []
    for slot in table.slots:
        steps = slot.channels // slot.multiple
        lows.append(slot.multiple * rng.choice([0, steps, *[rng.randint(0, steps) for _ in range(3)]]))
    return Architecture(backbone=backbone, low_channels=tuple(lows), **options)


def torchvisions(name: str, num_classes: int = 10) -> nn.Module:
    """torchvision's network of that name, without dropout, which is no part of an architecture."""
    if name in ("r3d_18", "mc3_18", "r2plus1d_18"):
        net: nn.Module = getattr(torchvision.models.video, name)(num_classes=num_classes)
    elif name.startswith("mobilenet_v2"):
        multiplier = float(name.partition("_x")[2].replace("_", ".") or 1)
        net = torchvision.models.mobilenet_v2(num_classes=num_classes, width_mult=multiplier)
    else:
        net = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net


TORCHVISION = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v2_x0_5",
    "mobilenet_v2_x0_75",
    "mobilenet_v2_x1_4",
    "r3d_18",
    "mc3_18",
    "r2plus1d_18",
]
"""Backbones that torchvision has too."""
