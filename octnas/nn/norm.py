"""Batch normalisation of a two-branch map, on dense parameters and statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from octnas.backbones.orders import branch_order
from octnas.errors import ArchitectureError
from octnas.nn.maps import Map

__all__ = ["OctBatchNorm2d", "OctBatchNorm3d", "OctaveNorm"]


class OctaveNorm(_BatchNorm):
    """`nn.BatchNorm2d` of a map whose last `low` channels live one octave lower.

    Weight, bias and running statistics are vectors of all `channels`, of which each branch takes its slice;
    the state dict is that of `nn.BatchNorm2d`, whatever `low` is. `groups` is the map's layout: with
    `groups=g` the low channels are the last `low / g` of each group. `order` gives the channels as the two
    branches have them, high ones first, for any other map (`LayerTable.channel_order`).

    Raises:
        ArchitectureError: `low` is not between 0 and `channels`, or not a multiple of `groups`.
    """

    order: Tensor | None

    def __init__(
        self,
        channels: int,
        low: int = 0,
        *,
        groups: int = 1,
        order: Sequence[int] | None = None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
    ) -> None:
        if not 0 <= low <= channels:
            raise ArchitectureError(f"`0 <= low <= {channels}` must hold, but got {low=}")
        if low % groups or channels % groups:
            raise ArchitectureError(f"`low` must be a multiple of {groups=}, but got {low=} of {channels=}")
        super().__init__(channels, eps=eps, momentum=momentum)
        self.divide(low, branch_order([(channels, low, groups)]) if order is None else order)

    def divide(self, low: int, order: Sequence[int] | None) -> None:
        """Takes the number of low channels, and their order; see the constructor."""
        self.low = low
        # No part of the state dict, which does not depend on alpha.
        places = None if order is None else torch.tensor(order, device=self.weight.device)
        self.register_buffer("order", places, persistent=False)

    def forward(self, x: Tensor | Map) -> Map:  # type: ignore[override]
        """(high, low) -> (high, low), each branch normalised by itself; a tensor is a map without low."""
        high, low = (x, None) if isinstance(x, Tensor) else x
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        mean, var, weight, bias = self.running_mean, self.running_var, self.weight, self.bias
        assert mean is not None
        assert var is not None
        if low is None:
            assert high is not None
            return F.batch_norm(high, mean, var, weight, bias, self.training, momentum, self.eps), None
        if high is None:
            return None, F.batch_norm(low, mean, var, weight, bias, self.training, momentum, self.eps)
        means, variances = self._branches(mean), self._branches(var)
        weights, biases = self._branches(weight), self._branches(bias)
        out = [
            F.batch_norm(branch, m, v, w, b, self.training, momentum, self.eps)
            for branch, m, v, w, b in zip((high, low), means, variances, weights, biases, strict=True)
        ]
        if self.training and self.order is not None:
            mean.index_copy_(0, self.order, torch.cat(means))
            var.index_copy_(0, self.order, torch.cat(variances))
        return out[0], out[1]

    def _branches(self, vector: Tensor) -> tuple[Tensor, ...]:
        """A dense vector's channels of the high and of the low branch.

        Views where the channels are in order, through which training writes the running statistics.
        """
        ordered = vector if self.order is None else vector.index_select(0, self.order)
        return torch.split(ordered, [self.num_features - self.low, self.low])

    def extra_repr(self) -> str:
        return f"{self.num_features}, low={self.low}, eps={self.eps}, momentum={self.momentum}"


class OctBatchNorm2d(OctaveNorm, nn.BatchNorm2d):
    """Batch normalisation of images in two branches; see `OctaveNorm`."""


class OctBatchNorm3d(OctaveNorm, nn.BatchNorm3d):
    """Batch normalisation of clips and volumes in two branches; see `OctaveNorm`."""
