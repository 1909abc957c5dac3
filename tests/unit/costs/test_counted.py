"""The closed form equals what thop and PyTorch count on the built network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cost_case import random_architecture
from torch.utils.flop_counter import FlopCounterMode

from octnas.architecture import Architecture
from octnas.backbones import dims_of, names
from octnas.costs import conv_macs, cost
from octnas.costs.counted import count
from octnas.nn import OctConv2d, OctConv3d

DEEP = ("resnet101", "resnet152", "resnet200", "resnext101", "se_resnet101", "se_resnet152", "wide_resnet101")
"""More of the same blocks as their shallow relatives have."""


@pytest.mark.parametrize("downsample", ["strided", "pooled"])
@pytest.mark.parametrize(
    ("backbone", "stem", "width", "shape"),
    [
        ("resnet18", "imagenet", 64, (3, 224, 224)),
        ("resnet26", "small", 24, (1, 33, 47)),
        ("resnet34", "small", 8, (5, 1, 19)),
        ("resnet50", "imagenet", 32, (3, 208, 161)),
        ("resnext50_32x4d", "small", 8, (3, 32, 32)),
        ("densenet121", "small", 8, (1, 30, 21)),
        ("mobilenet_v2", "imagenet", 16, (3, 101, 64)),
        ("i3d_resnet10", "small", 16, (1, 6, 24, 20)),
        ("r2plus1d_18", "imagenet", 64, (3, 7, 58, 41)),
    ],
)
def test_random_architectures(
    backbone: str, stem: str, width: int, shape: tuple[int, ...], downsample: str
) -> None:
    rng = np.random.default_rng(len(backbone) + width)
    for attempt in range(2):
        arch = random_architecture(backbone, rng, downsample=downsample, width=width, stem=stem)
        assert_equal(arch, shape, num_classes=7 + attempt)


@pytest.mark.parametrize("backbone", [name for name in names() if not name.startswith(DEEP)])
def test_every_backbone_at_odd_sizes_and_on_clips(backbone: str) -> None:
    rng = np.random.default_rng(3)
    for shape in ((3, 75, 90), (1, 5, 33, 47))[dims_of(backbone) - 2 :]:
        assert_equal(random_architecture(backbone, rng), shape, num_classes=5)


def assert_equal(arch: Architecture, shape: tuple[int, ...] | None, num_classes: int) -> None:
    closed, counted = cost(arch, shape, num_classes), count(arch, shape, num_classes)
    assert closed.macs == counted.pytorch_macs == counted.thop_macs
    assert closed.params == counted.params


@pytest.mark.parametrize("backbone", ["resnet34", "resnet50", "resnet152"])
@pytest.mark.parametrize("alpha", [0.125, 1])
def test_uniform_architectures_at_their_default_input(backbone: str, alpha: float) -> None:
    arch = Architecture.uniform(backbone, alpha=alpha)
    closed, counted = cost(arch), count(arch)
    assert closed.gflops == counted.thop_gflops == counted.pytorch_gflops
    assert closed.params == counted.params


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
@pytest.mark.parametrize("stride_time", [None, 1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_one_convolution(stride: int, stride_time: int | None, groups: int) -> None:
    """Of 13 x 10 px or, where there is a stride over time, of 5 frames of them."""
    frames = [] if stride_time is None else [5]
    for low_in, low_out in ((0, 0), (8, 16), (8, 0), (0, 16), (16, 32), (0, 32), (16, 0)):
        with torch.device("meta"):
            conv = (OctConv2d if stride_time is None else OctConv3d)(
                16,
                32,
                3,
                low_in=low_in,
                low_out=low_out,
                stride=(stride, stride) if stride_time is None else (stride_time, stride, stride),
                padding=1,
                groups=groups,
                downsample="pooled",
            )
            high = torch.empty(1, 16 - low_in, *frames, 13, 10) if low_in < 16 else None
            low = torch.empty(1, low_in, *frames, 7, 5) if low_in else None
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
            kernel_time=1 if stride_time is None else 3,
            frames=1 if stride_time is None else -(-5 // stride_time),
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
