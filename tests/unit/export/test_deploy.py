"""The deployed network equals the trained one, with no convolution more than its shape needs."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch
import torchvision
from export_case import lived_in
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from octnas.architecture import Architecture
from octnas.backbones import Conv
from octnas.costs import cost
from octnas.errors import ExportError
from octnas.export import deploy
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
            low_in, low_out = lows[table.source_slots[node.reads]], lows[node.slot]
            case = (low_in < node.in_channels, low_in > 0, low_out < node.out_channels, low_out > 0)
            total += FEWEST[case][node.stride - 1]
    return total


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
def test_uses_the_fewest_convolutions(seed: int) -> None:
    architecture = random_architecture(seed, "resnet26", "small", "pooled")
    fast = deploy(build(architecture))
    assert sum(isinstance(module, nn.Conv2d) for module in fast.modules()) == fewest(architecture)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())


def test_multiplies_as_often_as_the_closed_form_says() -> None:
    architecture = random_architecture(3, "resnet18", "small", "pooled")
    fast = deploy(build(architecture, num_classes=10, in_channels=1))
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


def test_a_grouped_octave_is_refused_by_name() -> None:
    network = build(Architecture.uniform("resnet18", alpha="1/2", width=8, stem="small"))
    nodes = list(network.table.nodes)
    nodes[1] = dataclasses.replace(nodes[1], groups=2)
    network.table = dataclasses.replace(network.table, nodes=tuple(nodes))
    with pytest.raises(ExportError, match=r"groups=1 .* layer1\.0\.conv1 has groups=2"):
        deploy(network)
