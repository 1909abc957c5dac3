"""Packed networks against the same networks in branches."""

from __future__ import annotations

import copy
import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from octnas.architecture import Architecture, Downsample
from octnas.backbones import layer_table
from octnas.nn import OctaveNetwork, build
from octnas.nn.packed import PackedForward, packs


def network(backbone: str, seed: int, downsample: Downsample) -> OctaveNetwork:
    """Low channels at random, so that sums are between maps of different alpha; 0 and 1 among them."""
    rng = random.Random(seed)
    slots = layer_table(backbone, width=8, stem="small").slots
    lows = tuple(int(rng.choice([0, 0.25, 0.375, 0.5, 0.75, 1]) * slot.channels) for slot in slots)
    torch.manual_seed(seed)
    arch = Architecture(backbone=backbone, low_channels=lows, width=8, stem="small", downsample=downsample)
    return build(arch, num_classes=5).to(memory_format=torch.channels_last)


def images(count: int = 4, height: int = 32, width: int = 32) -> Tensor:
    x = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(7))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("backbone", "seed"), [("resnet18", 0), ("resnet18", 1), ("resnet26", 2)])
@pytest.mark.parametrize("downsample", ["strided", "pooled"])
def test_logits_gradients_and_statistics_are_the_networks(
    backbone: str, seed: int, downsample: Downsample
) -> None:
    branches = network(backbone, seed, downsample)
    twin = copy.deepcopy(branches)
    packed = PackedForward(twin)
    x, labels = images(height=32, width=64), torch.tensor([0, 1, 2, 3])
    for _ in range(2):
        losses = [F.cross_entropy(call(x), labels) for call in (branches, packed)]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)
    for (name, ours), theirs in zip(twin.named_parameters(), branches.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert (ours.grad - theirs.grad).norm() <= 1e-3 * theirs.grad.norm() + 1e-6, name
    for name, value in branches.named_buffers():
        torch.testing.assert_close(twin.get_buffer(name), value, rtol=1e-4, atol=1e-5)
    branches.eval(), twin.eval()
    with torch.no_grad():
        want = branches(x)
        assert (packed(x) - want).norm() <= 1e-4 * want.norm()


def test_a_step_repeats_bit_for_bit_in_bfloat16() -> None:
    gradients = []
    for _ in range(2):
        net = network("resnet18", 3, "pooled")
        with torch.autocast("cpu", torch.bfloat16):
            logits = PackedForward(net)(images())
        assert logits.dtype == torch.bfloat16
        F.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 3])).backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert {p.dtype for p in gradients[0]} == {torch.float32}


def test_constants_made_in_inference_serve_a_training() -> None:
    net = network("resnet18", 4, "pooled")
    packed = PackedForward(net)
    with torch.inference_mode():
        packed(images())
    packed(images()).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_packs_where_it_pays_and_every_window_is_whole() -> None:
    def asked(
        alpha: float, size: tuple[int, int], *, width: int = 8, dtype: torch.dtype = torch.bfloat16
    ) -> bool:
        arch = Architecture.uniform("resnet18", alpha=alpha, width=width, stem="small", input_size=224)
        return packs(build(arch, num_classes=5), size, device="cpu", dtype=dtype)

    assert asked(0.5, (32, 32))
    assert not asked(0, (32, 32))
    assert not asked(0.5, (28, 28))  # 7 px in the third stage
    assert not asked(0.5, (32, 32), width=64)
    assert not asked(0.5, (32, 32), dtype=torch.float32)
    assert not packs(torch.nn.Linear(1, 1), (32, 32), device="cpu", dtype=torch.bfloat16)


@pytest.mark.parametrize(
    "backbone",
    ["resnext50_32x4d", "se_resnet50", "densenet121", "mobilenet_v1", "mobilenet_v2", "i3d_resnet10"],
)
def test_refuses_the_layers_that_it_does_not_know(backbone: str) -> None:
    arch = Architecture.uniform(backbone, alpha=0.5, width=8, stem="small", input_size=64)
    assert any(arch.low_channels)
    assert not packs(build(arch, num_classes=5), (64, 64), device="cpu", dtype=torch.bfloat16)
