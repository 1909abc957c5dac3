"""Networks on the very parameters of another, against networks that were built and given the same weights."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from octnas.architecture import Architecture, Downsample
from octnas.backbones import layer_table
from octnas.nn import OctaveNetwork, build
from octnas.nn.octconv import OctConv2d
from octnas.nn.packed import PackedForward
from octnas.nn.shared import share

WIDTHS = {"resnext50_32x4d": 64, "mobilenet_v1": 16, "densenet121": 16}


def architecture(backbone: str, seed: int, downsample: Downsample = "pooled") -> Architecture:
    rng = random.Random(seed)
    width = WIDTHS.get(backbone, 8)
    slots = layer_table(backbone, width=width, stem="small").slots
    lows = tuple(
        slot.multiple * int(rng.choice([0, 0.25, 0.5, 0.75]) * slot.channels / slot.multiple)
        for slot in slots
    )
    return Architecture(
        backbone=backbone, low_channels=lows, width=width, stem="small", downsample=downsample
    )


def built(arch: Architecture) -> OctaveNetwork:
    torch.manual_seed(7)
    return build(arch, num_classes=5)


def images(arch: Architecture) -> Tensor:
    shape = (4, 3, 32, 32) if arch.dims == 2 else (2, 3, 4, 32, 32)
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    "backbone",
    [
        "resnet26",
        "se_resnet50",
        "resnext50_32x4d",
        "densenet121",
        "mobilenet_v1",
        "mobilenet_v2",
        "i3d_resnet10",
    ],
)
def test_a_twin_equals_the_network_that_is_built_with_its_weights(backbone: str) -> None:
    """Which has low channels, orders of channels and downsampling of its own, and fresh statistics."""
    first, second = architecture(backbone, 1), architecture(backbone, 2, "strided")
    network, want = built(first), built(second)
    x = images(first)
    before = network(x)
    network.zero_grad()
    twin = network.twin(second)
    assert [(name, value.shape) for name, value in twin.named_buffers()] == [
        (name, value.shape) for name, value in want.named_buffers()
    ]
    for name, value in want.named_buffers():
        assert torch.equal(twin.get_buffer(name), value), name
    assert str(twin) == str(want)
    here, there = twin(x), want(x)
    assert torch.equal(here, there)
    here.square().sum().backward()
    there.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert twin.get_parameter(name) is parameter
        grad = want.get_parameter(name).grad
        assert parameter.grad is not None
        assert grad is not None
        assert torch.equal(parameter.grad, grad), name
    for name, value in want.named_buffers():
        assert torch.equal(twin.get_buffer(name), value), name
    # The network itself is as it was, its statistics those of its own pass.
    again = built(first)
    again(x)
    for name, value in again.named_buffers():
        assert torch.equal(network.get_buffer(name), value), name
    assert torch.equal(network(x), before)


def test_a_twin_of_a_twin_is_the_first_network_again() -> None:
    first, second = architecture("resnet18", 1), architecture("resnet18", 2)
    network = built(first)
    again = network.twin(second).twin(first)
    x = images(first)
    assert torch.equal(again(x), network(x))
    assert again.architecture == first


def test_a_twin_has_no_hooks_and_trains() -> None:
    network = built(architecture("resnet18", 1))
    called: list[int] = []
    network.register_forward_hook(lambda *_: called.append(1))
    network.conv1.register_forward_hook(lambda *_: called.append(2))  # type: ignore[union-attr, operator]
    network.eval()
    twin = network.twin(architecture("resnet18", 2))
    twin(images(twin.architecture))
    assert not called
    assert all(module.training for module in twin.modules())
    assert not network.training


def test_nothing_is_drawn_for_a_twin() -> None:
    network = built(architecture("resnet18", 1))
    state = torch.get_rng_state()
    shared = share(network, architecture("resnet18", 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(shared.get_submodule("layer1.0.conv1"), OctConv2d)


def test_a_twin_in_packed_form_gives_the_gradients_of_the_built_network() -> None:
    first, second = architecture("resnet26", 1), architecture("resnet26", 2)
    network, want = (built(each).to(memory_format=torch.channels_last) for each in (first, second))
    x = images(first).contiguous(memory_format=torch.channels_last)
    for net in (network.twin(second), want):
        with torch.autocast("cpu", torch.bfloat16):
            logits = PackedForward(net)(x)
        logits.float().square().sum().backward()
    for ours, theirs in zip(network.parameters(), want.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.equal(ours.grad, theirs.grad)
