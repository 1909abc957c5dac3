"""The closed form equals what thop and PyTorch count on the built network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from octnas.architecture import Architecture
from octnas.backbones import layer_table
from octnas.costs import conv_macs, cost
from octnas.costs.counted import count
from octnas.nn import OctConv2d


@pytest.mark.parametrize("downsample", ["strided", "pooled"])
@pytest.mark.parametrize(
    ("backbone", "stem", "width", "shape"),
    [
        ("resnet18", "imagenet", 64, (3, 224, 224)),
        ("resnet18", "small", 16, (1, 32, 32)),
        ("resnet26", "imagenet", 16, (3, 75, 90)),
        ("resnet26", "small", 24, (1, 33, 47)),
        ("resnet34", "small", 8, (5, 1, 19)),
        ("resnet50", "imagenet", 32, (3, 208, 161)),
        ("resnet50", "small", 12, (3, 29, 32)),
    ],
)
def test_random_architectures(
    backbone: str, stem: str, width: int, shape: tuple[int, int, int], downsample: str
) -> None:
    rng = np.random.default_rng(len(backbone) + width)
    slots = layer_table(backbone, width=width, stem=stem).slots  # type: ignore[arg-type]
    for attempt in range(2):
        # All of a map low, none of it low, and everything between.
        lows = [int(rng.choice([0, slot.channels, rng.integers(slot.channels + 1)])) for slot in slots]
        arch = Architecture(
            backbone=backbone,
            low_channels=tuple(lows),
            downsample=downsample,  # type: ignore[arg-type]
            width=width,
            stem=stem,  # type: ignore[arg-type]
        )
        closed, counted = (
            cost(arch, shape, num_classes=7 + attempt),
            count(arch, shape, num_classes=7 + attempt),
        )
        assert closed.macs == counted.pytorch_macs == counted.thop_macs
        assert closed.params == counted.params


@pytest.mark.parametrize("backbone", ["resnet34", "resnet50", "resnet152"])
@pytest.mark.parametrize("alpha", [0.125, 1])
def test_uniform_architectures_at_their_default_input(backbone: str, alpha: float) -> None:
    arch = Architecture.uniform(backbone, alpha=alpha)
    closed, counted = cost(arch), count(arch)
    assert closed.gflops == counted.thop_gflops == counted.pytorch_gflops
    assert closed.params == counted.params


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_one_convolution_with_groups(groups: int, stride: int) -> None:
    for low_in, low_out in ((0, 0), (8, 16), (8, 0), (0, 16), (16, 32), (0, 32), (16, 0)):
        with torch.device("meta"):
            conv = OctConv2d(
                16,
                32,
                3,
                low_in=low_in,
                low_out=low_out,
                stride=stride,
                padding=1,
                groups=groups,
                downsample="pooled",
            )
            high = torch.empty(1, 16 - low_in, 13, 10) if low_in < 16 else None
            low = torch.empty(1, low_in, 7, 5) if low_in else None
        with FlopCounterMode(display=False) as counter:
            conv((high, low), size=(13, 10))
        closed = conv_macs(
            in_channels=16,
            out_channels=32,
            kernel=3,
            low_in=low_in,
            low_out=low_out,
            out_size=(-(-13 // stride), -(-10 // stride)),
            stride=stride,
            groups=groups,
        )
        assert closed * 2 == counter.get_total_flops()


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise(stride: int) -> None:
    with torch.device("meta"):
        conv = OctConv2d(16, 16, 3, low_in=5, low_out=5, stride=stride, padding=1, groups=16)
        high, low = torch.empty(1, 11, 13, 10), torch.empty(1, 5, 7, 5)
    with FlopCounterMode(display=False) as counter:
        conv((high, low))
    size = (-(-13 // stride), -(-10 // stride))
    closed = conv_macs(
        in_channels=16,
        out_channels=16,
        kernel=3,
        low_in=5,
        low_out=5,
        out_size=size,
        stride=stride,
        groups=16,
    )
    assert closed * 2 == counter.get_total_flops()
