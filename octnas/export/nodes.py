"""What stands between the convolutions of a deployed network, with the signature of its layers.

`forward(high, low, size, add)`: maps as in `octnas.export.layers`; `size` is the nominal size of the output
in px, `add` the residual sum where the node ends a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from octnas.backbones import Activation
from octnas.export.convs import activated
from octnas.nn.layers import OctPool, means
from octnas.nn.maps import Map, Size

__all__ = ["DeployedHead", "DeployedNorm", "DeployedPool", "Excited"]


class DeployedPool(nn.Module):
    """Maximum or average over windows, of each branch by itself."""

    def __init__(self, pooling: OctPool) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        out: Map = self.pooling((high, low), size)
        return out


class DeployedNorm(nn.Module):
    """A normalisation by itself, as one scale and shift, and its activation.

    Args:
        scale, shift: (C,), with the channels of the high branch first.
        low: how many of them are of the low branch.
    """

    def __init__(self, scale: Tensor, shift: Tensor, low: int, activation: Activation | None) -> None:
        super().__init__()
        cut = len(scale) - low
        self.high = _Affine(scale[:cut], shift[:cut], activation) if cut else None
        self.low = _Affine(scale[cut:], shift[cut:], activation) if low else None

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        return None if self.high is None else self.high(high), None if self.low is None else self.low(low)


class _Affine(nn.Module):
    """activation(scale * x + shift), as a normalisation: runtimes keep one in their layout, and fuse it."""

    scale: Tensor
    shift: Tensor
    zero: Tensor
    one: Tensor

    def __init__(self, scale: Tensor, shift: Tensor, activation: Activation | None) -> None:
        super().__init__()
        self._activation: Activation | None = activation
        self.register_buffer("scale", scale.clone())
        self.register_buffer("shift", shift.clone())
        self.register_buffer("zero", torch.zeros_like(scale), persistent=False)
        self.register_buffer("one", torch.ones_like(scale), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        normed = F.batch_norm(x, self.zero, self.one, self.scale, self.shift, eps=0.0)
        return activated(normed, self._activation)


class Excited(nn.Module):
    """Squeeze and excitation; where it ends a block, with the block's sum and activation.

    Args:
        excitation: its two fully connected layers, channels in their own order.
        order: the channels with those of the high branch first; None: as they are.
        low: how many of them are of the low branch.
    """

    def __init__(
        self, excitation: Any, order: Sequence[int] | None, low: int, activation: Activation | None
    ) -> None:
        super().__init__()
        self.fc1 = permuted(excitation.fc1, columns=order)
        self.fc2 = permuted(excitation.fc2, rows=order)
        self._split = [self.fc2.out_features - low, low]
        self._activation: Activation | None = activation

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        factors = torch.sigmoid(self.fc2(F.relu(self.fc1(means((high, low))))))
        parts = torch.split(factors, self._split, 1)

        def branch(x: Tensor | None, i: int) -> Tensor | None:
            if x is None:
                return None
            excited, other = x * parts[i][(...,) + (None,) * (x.dim() - 2)], add[i]
            return activated(excited if other is None else excited + other, self._activation)

        return branch(high, 0), branch(low, 1)


class DeployedHead(nn.Module):
    """Global average and classifier: maps of the two branches to (B, classes)."""

    def __init__(self, linear: nn.Linear, order: Sequence[int] | None) -> None:
        super().__init__()
        self.linear = permuted(linear, columns=order)

    def forward(self, x: Map, frames: int | None) -> Tensor:
        """`frames` of each clip were run as images of their own; None: they were not."""
        features = means(x)
        if frames is not None:
            features = torch.unflatten(features, 0, (-1, frames)).mean(1)
        logits: Tensor = self.linear(features)
        return logits


def permuted(
    linear: nn.Linear, *, rows: Sequence[int] | None = None, columns: Sequence[int] | None = None
) -> nn.Linear:
    """A copy of a fully connected layer whose outputs or inputs come in another order."""
    weight, bias = linear.weight.detach(), linear.bias.detach()
    if rows is not None:
        weight, bias = weight[list(rows)], bias[list(rows)]
    if columns is not None:
        weight = weight[:, list(columns)]
    copy = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    copy.weight, copy.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
    return copy
