"""`share`: another architecture on the same parameters, with batch-norm statistics of its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from octnas.architecture import Architecture
from octnas.errors import ArchitectureError
from octnas.nn import build
from octnas.nn.shared import share

BACKBONES = ("resnet18", "resnext50_32x4d", "densenet121", "mobilenet_v2", "se_resnet50", "i3d_resnet18")


def uniform(backbone: str, alpha: float, **options: object) -> Architecture:
    return Architecture.uniform(
        backbone, alpha=alpha, width=16, stem="small", input_size=32, downsample="pooled", **options
    )


def images(backbone: str) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 3, *((4,) if backbone.startswith("i3d") else ()), 32, 32)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_computes_what_a_network_of_its_own_with_these_weights_computes(backbone: str) -> None:
    base = build(uniform(backbone, 0), num_classes=5)
    other = uniform(backbone, 0.5)
    alone = build(other, num_classes=5)
    alone.load_state_dict(base.state_dict())
    torch.testing.assert_close(
        share(base, other)(images(backbone)), alone(images(backbone)), rtol=1e-6, atol=1e-6
    )


def test_the_parameters_are_the_same_objects_and_the_statistics_are_not() -> None:
    base = build(uniform("resnet18", 0), num_classes=5)
    shared = share(base, uniform("resnet18", 0.5))
    own = dict(base.named_parameters())
    assert own.keys() == dict(shared.named_parameters()).keys()
    assert all(parameter is own[name] for name, parameter in shared.named_parameters())
    before = base.state_dict()["bn1.running_mean"].clone()
    shared.train()(images("resnet18"))
    assert torch.equal(base.state_dict()["bn1.running_mean"], before)
    assert not torch.equal(shared.state_dict()["bn1.running_mean"], before)


def test_statistics_begin_fresh() -> None:
    base = build(uniform("resnet18", 0), num_classes=5)
    base.train()(images("resnet18"))
    shared = share(base, uniform("resnet18", 0.25))
    norms = [module for module in shared.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        assert torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))
        assert torch.equal(norm.running_var, torch.ones_like(norm.running_var))


def test_gradients_of_all_architectures_add_up_on_one_weight() -> None:
    base = build(uniform("resnet18", 0), num_classes=5)
    others = [share(base, uniform("resnet18", alpha)) for alpha in (0.25, 0.75)]
    alone = [build(each.architecture, num_classes=5) for each in others]
    for network in alone:
        network.load_state_dict(base.state_dict())
    for network in (*others, *alone):
        network.train()(images("resnet18")).square().sum().backward()
    for name, parameter in base.named_parameters():
        expected = sum(network.get_parameter(name).grad for network in alone)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-4)


def test_random_numbers_of_the_process_are_left_alone() -> None:
    base = build(uniform("resnet18", 0), num_classes=5)
    before = torch.get_rng_state()
    share(base, uniform("resnet18", 0.5))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (Architecture.uniform("resnet18", alpha=0, width=8, stem="small", input_size=32), "width"),
        (Architecture.uniform("resnet34", alpha=0, width=16, stem="small", input_size=32), "backbone"),
        (Architecture.uniform("resnet18", alpha=0, width=16, stem="imagenet"), "stem"),
    ],
)
def test_weights_of_other_shapes_are_refused(other: Architecture, what: str) -> None:
    with pytest.raises(ArchitectureError, match=f"the same {what}, but got"):
        share(build(uniform("resnet18", 0), num_classes=5), other)
