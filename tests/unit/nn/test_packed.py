"""Packed networks against the same networks in branches."""

from __future__ import annotations

import copy
import random
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from octnas.architecture import Architecture, Downsample
from octnas.backbones import layer_table
from octnas.nn import OctaveNetwork, build
from octnas.nn.packed import PackedForward, packs
from octnas.nn.packed_kernels import Kernels, moved_channels


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


def places(layer: tuple[int, int, int, int, int]) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """For each dense weight (output, input, row, column) where it stands when packed, pixel by pixel."""
    outputs, inputs, size, low_in, low_out = layer
    high_in, high_out, centre = inputs - low_in, outputs - low_out, size // 2
    found: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for o, i, a, b in product(range(outputs), range(inputs), range(size), range(size)):
        here = found.setdefault((o, i, a, b), [])
        if o >= high_out and i >= high_in:
            here.append((o + 3 * high_out, i + 3 * high_in, a, b))
            continue
        for p, q in product(range(2), repeat=2):
            to = (2 * p + q) * high_out + o
            if o >= high_out:
                here.append((o + 3 * high_out, (2 * p + q) * high_in + i, a, b))
            elif i >= high_in:
                here.append((to, i + 3 * high_in, a, b))
            else:
                y, x = p + a - centre, q + b - centre
                place = (2 * (y % 2) + x % 2) * high_in + i
                here.append((to, place, y // 2 + centre, x // 2 + centre))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_hold_each_weight_at_its_places_and_sum_its_gradients_in_their_order(
    dtype: torch.dtype,
) -> None:
    layers = [
        (6, 4, 3, 1, 2),
        (4, 6, 1, 3, 1),
        (5, 3, 3, 0, 2),
        (3, 5, 5, 2, 0),
        (4, 4, 3, 4, 0),
        (4, 4, 3, 0, 4),
    ]
    rng = torch.Generator().manual_seed(0)
    weights = [torch.randn(o, i, k, k, generator=rng) for o, i, k, _, _ in layers]
    weights = [each.contiguous(memory_format=torch.channels_last).requires_grad_() for each in weights]
    kernels = Kernels(layers)(weights, dtype)
    gradients = [torch.randn(each.shape, generator=rng).to(dtype) for each in kernels]
    torch.autograd.backward(kernels, gradients)
    for layer, weight, kernel, gradient in zip(layers, weights, kernels, gradients, strict=True):
        want, sums = torch.zeros(kernel.shape, dtype=dtype), torch.zeros(weight.shape)
        for dense, several in places(layer).items():
            falls = dense[0] >= layer[0] - layer[4] and dense[1] < layer[1] - layer[3]
            share = 0.25 if falls else 1.0
            for place in several:
                want[place] = weight[dense].detach().to(dtype) * share
                sums[dense] += gradient[place].float()
            sums[dense] *= share
        assert kernel.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(kernel, want)
        assert weight.grad is not None
        assert torch.equal(weight.grad, sums)


def test_a_plain_layers_kernel_is_its_weight() -> None:
    weight = torch.randn(4, 3, 7, 7)
    (kernel,) = Kernels([(4, 3, 7, 0, 0)])([weight], torch.float32)
    assert torch.equal(kernel, weight)


def test_what_moves_between_branches_is_averaged_or_repeated() -> None:
    """3 channels: from 1 low channel to 2 the middle one is averaged, and from 2 to 1 it is repeated."""
    packed = torch.tensor([1.0, 10, 2, 20, 3, 30, 4, 40, 5])[:, None]
    falls = moved_channels(3, 1, 2, torch.float32)[:, :, 0, 0]
    assert (falls @ packed).flatten().tolist() == [1, 2, 3, 4, 25, 5]
    rises = moved_channels(3, 2, 1, torch.float32)[:, :, 0, 0]
    assert (rises @ falls @ packed).flatten().tolist() == [1, 25, 2, 25, 3, 25, 4, 25, 5]


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
