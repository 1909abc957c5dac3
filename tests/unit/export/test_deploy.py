"""The deployed network equals the trained one, with no convolution more than its shape needs."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import pytest
import torch
import torchvision
from export_case import lived_in
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from octnas.architecture import Architecture
from octnas.backbones import Conv
from octnas.costs import cost
from octnas.costs.forms import Form, layer_ops, layer_plans
from octnas.costs.ops import Op, built_in_ms
from octnas.costs.plans import network_ops, network_plans
from octnas.export import deploy
from octnas.export.convs import DeployedConv, can_pack
from octnas.nn import build

FEWEST = {
    # (high in, low in, high out, low out): convolutions at stride 1 and at stride 2
    (1, 0, 1, 0): (1, 1),
    (1, 0, 1, 1): (2, 2),
    (1, 0, 0, 1): (1, 1),
    (1, 1, 1, 0): (2, 1),
    (1, 1, 1, 1): (3, 2),
    (1, 1, 0, 1): (1, 1),
    (0, 1, 1, 0): (1, 1),
    (0, 1, 1, 1): (1, 2),
    (0, 1, 0, 1): (1, 1),
}


def random_architecture(seed: int, backbone: str, stem: str, downsample: str) -> Architecture:
    """An alpha for every layer, 0 and 1 among them, in the last stage as well."""
    rng = random.Random(seed)
    plain = Architecture.uniform(backbone, alpha=0, width=8, stem=stem)
    alphas = [rng.choice([0, "1/8", "1/4", "1/2", "3/4", 1]) for _ in plain.low_channels]
    return Architecture.from_alphas(
        backbone, alphas=alphas, input_size=1024, width=8, stem=stem, downsample=downsample
    )


def fewest(architecture: Architecture) -> int:
    table, lows = architecture.table(), {None: 0} | dict(enumerate(architecture.low_channels))
    total = 0
    for node in table.nodes:
        if isinstance(node, Conv):
            low_in, low_out = table.lows(lows)[node.reads], lows[node.slot]
            case = (low_in < node.in_channels, low_in > 0, low_out < node.out_channels, low_out > 0)
            total += FEWEST[case][node.stride - 1]
    return total


def macs(op: Op) -> float:
    """Times by which the forms with the fewest multiply-adds win, and of those the first."""
    return float(op.macs)


@pytest.mark.parametrize("downsample", ["strided", "pooled"])
@pytest.mark.parametrize("stem", ["small", "imagenet"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet26"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_network_at_every_size(backbone: str, stem: str, downsample: str, seed: int) -> None:
    architecture = random_architecture(seed, backbone, stem, downsample)
    network = lived_in(build(architecture, num_classes=7, in_channels=2), seed)
    fast = deploy(network)
    for height, width in ((32, 32), (33, 29), (47, 50)):
        images = torch.randn(2, 2, height, width)
        with torch.inference_mode():
            expected, got = network(images), fast(images)
        assert torch.linalg.norm(got - expected) <= 1e-5 * torch.linalg.norm(expected)


@pytest.mark.parametrize("seed", range(6))
def test_uses_no_convolution_more_than_the_fewest_multiply_adds_need(seed: int) -> None:
    architecture = random_architecture(seed, "resnet26", "small", "pooled")
    by_macs = deploy(build(architecture), times=macs)
    assert sum(isinstance(module, DeployedConv) for module in by_macs.modules()) == fewest(architecture)
    chosen = deploy(build(architecture))
    assert sum(isinstance(module, DeployedConv) for module in chosen.modules()) <= fewest(architecture)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in chosen.modules())


def test_multiplies_as_often_as_the_closed_form_says() -> None:
    architecture = random_architecture(3, "resnet18", "small", "pooled")
    fast = deploy(build(architecture, num_classes=10, in_channels=1), times=macs)
    with FlopCounterMode(display=False) as counter:
        fast(torch.zeros(1, 1, 32, 32))
    assert counter.get_total_flops() == 2 * cost(architecture, (1, 32, 32), 10).macs


def test_a_plain_network_is_torchvisions() -> None:
    theirs = torchvision.models.resnet18(num_classes=5).eval()
    torch.manual_seed(0)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    ours = build(Architecture.uniform("resnet18", alpha=0), num_classes=5)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 65, 64)
    with torch.inference_mode():
        expected, got = theirs(images), deploy(ours)(images)
    assert torch.linalg.norm(got - expected) <= 1e-5 * torch.linalg.norm(expected)


def test_leaves_the_network_as_it_was() -> None:
    network = lived_in(build(random_architecture(1, "resnet18", "small", "strided"), num_classes=3)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fast = deploy(network)
    assert network.training
    assert not fast.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert all(parameter.is_contiguous() for parameter in fast.parameters())
    # statistics, not the batch, normalise: the mode of the source makes no difference
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(fast(images), network.eval()(images), rtol=1e-4, atol=1e-5)


WANTED: dict[Form, Callable[[Op], float]] = {
    "concat": macs,
    "low-to-all": lambda op: op.macs + 1e9 * (op.kind == "concat"),
    "high-to-all": lambda op: 1e9 * (op.kind in ("concat", "conv")) + op.macs,
    "lifted": lambda op: float(op.kind == "conv"),
    "lifted-high": lambda op: (op.kind == "cut") + (op.kind == "conv") / 10,
}
"""Times that make a form win wherever it exists and is not the only one."""


@pytest.mark.parametrize("size", [(32, 32), (35, 29)])
@pytest.mark.parametrize("wanted", WANTED)
def test_every_form_gives_the_same_numbers(wanted: Form, size: tuple[int, int]) -> None:
    found = set()
    for seed in range(4):
        architecture = random_architecture(seed, "resnet26", "small", "pooled")
        network = lived_in(build(architecture, num_classes=7), seed)
        fast = deploy(network, times=WANTED[wanted])
        found |= set(fast.forms.values())
        images = torch.randn(2, 3, *size)
        with torch.inference_mode():
            expected, got = network(images), fast(images)
        assert torch.linalg.norm(got - expected) <= 1e-5 * torch.linalg.norm(expected)
    assert wanted in found
    assert {"half", "plain"} <= found or "half-to-all" in found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("wanted", WANTED)
def test_the_operations_of_a_plan_are_those_of_the_network(wanted: Form, seed: int) -> None:
    architecture = random_architecture(seed, "resnet26", "small", "strided")
    times = WANTED[wanted]
    fast = deploy(build(architecture, num_classes=10), times=times)
    with FlopCounterMode(display=False) as counter:
        fast(torch.zeros(1, 3, 32, 32))
    ops = network_ops(architecture, (3, 32, 32), 10, times=times)
    assert counter.get_total_flops() == 2 * sum(op.macs for op in ops)
    convs = [op for op in ops if op.kind == "conv"]
    assert sum(isinstance(module, DeployedConv) for module in fast.modules()) == len(convs)
    plans = network_plans(architecture, (3, 32, 32), times=times)
    assert fast.forms == {name: plan.form for name, plan in plans.items()}


def test_the_built_in_rule_takes_the_form_that_takes_least() -> None:
    table = Architecture.uniform("resnet50", alpha="1/2").table()
    conv = next(conv for conv in table.convs if conv.name == "layer2.1.conv3")
    plans = {plan.form: plan.ms(built_in_ms) for plan in layer_plans(conv, 64, 256, (28, 28))}
    assert set(plans) == {"concat", "low-to-all", "high-to-all", "lifted", "lifted-high"}
    assert layer_ops(conv, 64, 256, (28, 28)).form == min(plans, key=lambda form: plans[form]) == "concat"


def test_weights_are_packed_once_and_never_saved() -> None:
    network = lived_in(build(random_architecture(2, "resnet18", "small", "pooled"), num_classes=3))
    fast = deploy(network)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = network(images)
        first = fast(images)
        packed = {name: conv._packed for name, conv in _convs(fast)}
        assert torch.equal(fast(images), first)
    assert can_pack()  # or the rest compares None with None
    for name, conv in _convs(fast):
        assert conv._packed is not None
        assert conv._packed is packed[name]
    twin = copy.deepcopy(fast)
    assert all(conv._packed is None for _, conv in _convs(twin))
    with torch.inference_mode():
        torch.testing.assert_close(twin(images), first)
        double = twin.double()(images.double())  # no kernel for it: the ordinary convolution
    torch.testing.assert_close(double.float(), expected, rtol=1e-4, atol=1e-5)
    assert set(fast.state_dict()) == set(deploy(network).state_dict())


def test_new_weights_take_the_place_of_packed_ones() -> None:
    fast = deploy(lived_in(build(random_architecture(2, "resnet18", "small", "pooled"), num_classes=3)))
    other = deploy(lived_in(build(fast.architecture, num_classes=3), seed=9))
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        fast(images)
        fast.load_state_dict(other.state_dict())
        torch.testing.assert_close(fast(images), other(images))


def test_a_gradient_for_the_images_goes_through_the_ordinary_convolutions() -> None:
    network = lived_in(build(random_architecture(1, "resnet18", "small", "pooled"), num_classes=3))
    images = torch.randn(1, 3, 32, 32)
    grads = []
    for module in (network, deploy(network)):
        here = images.clone().requires_grad_()
        module(here)[0, 1].backward()
        assert here.grad is not None
        grads.append(here.grad)
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-3, atol=1e-5)


def _convs(net: nn.Module) -> list[tuple[str, DeployedConv]]:
    return [(name, each) for name, each in net.named_modules() if isinstance(each, DeployedConv)]
