"""Scores of a network that cost no training: baselines that a proxy which trains must beat.

Both are of the network as it is drawn before training. Residual branches begin at full strength here, not at
zero as in training: at zero no gradient and no flow would reach the layers that tell architectures apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

from octnas.architecture import Architecture
from octnas.data import ImageSet
from octnas.nn import build
from octnas.train.evaluate import to_input
from octnas.train.speed import Mode

__all__ = ["ZERO_COST", "grad_norm", "synflow", "zero_cost_scores"]

ZERO_COST = ("synflow", "grad-norm")
"""Names of what `zero_cost_scores` gives."""
BATCH_SEED = 2
"""Of the choice of the images behind a gradient norm, the same for all architectures."""


def zero_cost_scores(
    architecture: Architecture, data: ImageSet, *, batch_size: int, seed: int, mode: Mode
) -> dict[str, float]:
    """The scores of `ZERO_COST` of an architecture, higher is better.

    Args:
        architecture: of the network that would be trained: the proxy's.
        batch_size: training images behind a gradient norm; a training's own, which fits into memory.
        seed: of the initial weights.
        mode: where it runs; the arithmetic is float32 and, for synflow, float64 whatever it says.
    """
    network = _drawn(architecture, data, seed).to(mode.device)
    split = data.train if len(data.train) <= batch_size else data.train.subset(batch_size, BATCH_SEED)
    images, labels = next(iter(split.batches(len(split))))
    inputs = to_input(images.to(mode.device), mean=data.mean, std=data.std, mode=mode)
    return {
        "synflow": synflow(network, data.shape),
        "grad-norm": grad_norm(network, inputs, labels.to(mode.device)),
    }


def synflow(network: nn.Module, input_shape: Sequence[int]) -> float:
    """The natural logarithm of a network's synaptic flow; the network stays as it is.

    With every parameter replaced by its absolute value and an input of ones, the flow is the sum over the
    weights w of convolutions and linear layers of |w dR/dw|, where R is the sum of the outputs: H. Tanaka et
    al., "Pruning neural networks without any data by iteratively conserving synaptic flow", NeurIPS 2020; as
    a score of architectures M. S. Abdelfattah et al., "Zero-cost proxies for lightweight NAS", ICLR 2021. As
    in the former's own code batch-norm uses its running statistics, which before training are 0 and 1, so
    that it passes its input on; with a batch's statistics an input of ones would be normalised away. The
    logarithm, which keeps the order, since flows of deep networks differ by orders of magnitude.

    Args:
        input_shape: (C, H, W), or (C, T, H, W).
    """
    twin = deepcopy(network).double().eval()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.abs_()
    device = next(twin.parameters()).device
    with torch.enable_grad():
        ones = torch.ones(1, *input_shape, dtype=torch.float64, device=device)
        weights = _weights(twin)
        gradients = torch.autograd.grad(twin(ones).sum(), weights, allow_unused=True)
    flow = sum(
        float((weight.detach() * gradient).abs().sum())
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    )
    return math.log(flow)


def grad_norm(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """The sum over convolutions and linear layers of the Euclidean norm of the gradient of their weights,
    after one batch; the network stays as it is.

    Abdelfattah et al., as for `synflow`. Batch-norm uses the batch's statistics, as in training.

    Args:
        inputs: normalised images (B, C, H, W) or clips (B, C, T, H, W).
        labels: classes (B,).
    """
    twin = deepcopy(network).float().train()
    with torch.enable_grad():
        weights = _weights(twin)
        loss = functional.cross_entropy(twin(inputs.float()), labels)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return sum(float(gradient.norm()) for gradient in gradients if gradient is not None)


def _drawn(architecture: Architecture, data: ImageSet, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(architecture, num_classes=len(data.classes), in_channels=data.channels)


def _weights(network: nn.Module) -> list[Tensor]:
    """Of convolutions and linear layers: those of batch-norm are vectors."""
    return [parameter for parameter in network.parameters() if parameter.ndim > 1]
