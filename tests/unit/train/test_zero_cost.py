"""Zero-cost scores against networks small enough to write the result down by hand."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.nn import build
from octnas.train.speed import Mode
from octnas.train.zero_cost import ZERO_COST, grad_norm, synflow, zero_cost_scores

CPU = Mode(device=torch.device("cpu"), precision="fp32")


def chain() -> nn.Sequential:
    """1x1 convolutions with batch-norm and ReLU between them, mean, linear: all weights drawn with signs."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 1, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 4, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


def test_synflow_of_a_chain_by_hand() -> None:
    network = chain()
    first, second, last = (
        np.abs(network[at].weight.detach().double().numpy().reshape(network[at].weight.shape[:2]))
        for at in (0, 3, 8)
    )
    through = 1 / np.sqrt(1 + 1e-5)  # batch-norm with mean 0 and variance 1
    maps = [np.ones(2)]
    maps.append(through * first @ maps[0])
    maps.append(through * second @ maps[1])
    # The output's sum is linear in each layer's weights, but the last layer's bias has no part in its flow:
    # sum over w of w dR/dw is R without the bias, once a layer.
    reached = float((last @ maps[2]).sum())
    assert synflow(network, (2, 6, 6)) == pytest.approx(math.log(3 * reached), rel=1e-9)


def test_synflow_sees_neither_signs_nor_a_batchs_statistics_and_leaves_the_network_as_it_is() -> None:
    network = chain().train()
    before = copy.deepcopy(network.state_dict())
    score = synflow(network, (2, 6, 6))
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    with torch.no_grad():
        network[3].weight.mul_(-1)
    assert synflow(network, (2, 6, 6)) == score


class Linears(nn.Module):
    """Two layers without anything between them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Linear(6, 4, bias=False)
        self.second = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x.flatten(1)))
        return out


def test_gradient_norm_of_two_layers_by_hand() -> None:
    network = Linears()
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, 6)), np.array([0, 1, 2, 1, 0])
    first, second = (layer.weight.detach().double().numpy() for layer in (network.first, network.second))
    assert network.second.bias is not None
    hidden = x @ first.T
    logits = hidden @ second.T + network.second.bias.detach().double().numpy()
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = (shares - np.eye(3)[labels]) / len(x)
    expected = np.linalg.norm(error.T @ hidden) + np.linalg.norm((error @ second).T @ x)
    inputs = torch.tensor(x, dtype=torch.float32).reshape(5, 6, 1, 1)
    assert grad_norm(network, inputs, torch.tensor(labels)) == pytest.approx(expected, rel=1e-5)
    assert network.second.weight.grad is None


def test_gradient_norm_uses_the_statistics_of_the_batch() -> None:
    network = chain().eval()
    inputs = 3 + 2 * torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % 5
    score = grad_norm(network, inputs, labels)
    network[1].running_mean.fill_(9.0)
    assert grad_norm(network, inputs, labels) == score
    assert float(network[1].running_mean[0]) == 9.0


def test_scores_of_an_architecture_follow_from_the_seed(corners: ImageSet, tiny: Architecture) -> None:
    first = zero_cost_scores(tiny, corners, batch_size=64, seed=3, mode=CPU)
    assert tuple(first) == ZERO_COST
    assert all(map(math.isfinite, first.values()))
    assert zero_cost_scores(tiny, corners, batch_size=64, seed=3, mode=CPU) == first
    assert zero_cost_scores(tiny, corners, batch_size=64, seed=4, mode=CPU) != first


def test_every_weight_of_a_drawn_network_has_a_flow_and_a_gradient(
    corners: ImageSet, tiny: Architecture
) -> None:
    # Residual bodies that begin at zero would hide all layers but the shortcuts from both scores.
    zeroed = build(tiny, num_classes=4, in_channels=1, zero_init_residual=True)
    drawn = build(tiny, num_classes=4, in_channels=1)
    with torch.no_grad():
        for name, parameter in zeroed.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(drawn.get_parameter(name))
    assert synflow(drawn, corners.shape) > synflow(zeroed, corners.shape)
