"""Training on a GPU: its number format and layout, the processor's numbers, and compiled the same."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from octnas.architecture import Architecture
from octnas.data import ImageSet, MemorySplit
from octnas.nn import build
from octnas.train import ProxyTraining, TrainSettings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU"),
]

SMALL = Architecture.uniform("resnet18", alpha="1/2", width=32, stem="small", downsample="pooled")


def quadrants(count: int, seed: int) -> MemorySplit:
    """Grey noise with one bright quadrant, which is the label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    pixels = rng.integers(0, 90, (count, 32, 32, 1), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] += np.uint8(120)
    return MemorySplit(images=pixels, labels=labels.astype(np.int64), size=32, channels=1)


@pytest.fixture(scope="module")
def data() -> ImageSet:
    return ImageSet(
        name="quadrants",
        classes=("a", "b", "c", "d"),
        channels=1,
        size=32,
        train=quadrants(256, 0),
        val=quadrants(64, 1),
        test=None,
        fingerprint="0" * 12,
        licence="none",
        origin="test",
        flip=False,
        mean=(0.25,),
        std=(0.2,),
    )


def test_gradients_are_those_of_the_processor() -> None:
    torch.manual_seed(0)
    net = build(SMALL, num_classes=10).to(memory_format=torch.channels_last)
    x, labels = torch.randn(8, 3, 32, 32).contiguous(memory_format=torch.channels_last), torch.arange(8)
    other = copy.deepcopy(net).cuda()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    F.cross_entropy(net(x), labels).backward()
    F.cross_entropy(other(x.cuda()), labels.cuda()).backward()
    for ours, theirs in zip(other.parameters(), net.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert (ours.grad.cpu() - theirs.grad).norm() <= 2e-3 * theirs.grad.norm() + 1e-6


@pytest.mark.parametrize("compiled", [None, True])
def test_trains_channels_last_in_bfloat16_and_learns(data: ImageSet, compiled: bool | None) -> None:
    settings = TrainSettings(epochs=6, batch_size=32, learning_rate=0.01, compiled=compiled)
    training = ProxyTraining(SMALL, data, settings, seed=0)
    assert training.mode.device.type == "cuda"
    assert training.mode.precision == "bf16"
    assert training.network.get_parameter("layer1.0.conv1.weight").is_contiguous(
        memory_format=torch.channels_last
    )
    while not training.finished:
        score = training.run_epoch()
    assert score.accuracy > 0.9


def test_a_seed_repeats_and_compiling_changes_no_more_than_rounding(data: ImageSet) -> None:
    settings = TrainSettings(epochs=None, steps=4, batch_size=32, precision="fp32")
    losses = []
    for compiled in (False, False, True):
        chosen = dataclasses.replace(settings, compiled=compiled)
        losses.append(ProxyTraining(SMALL, data, chosen, seed=0).run_epoch().train_loss)
    assert losses[0] == losses[1]
    assert losses[2] == pytest.approx(losses[0], rel=1e-2)
