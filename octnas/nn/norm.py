"""Batch normalisation of a two-branch map, on dense parameters and statistics."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from octnas.errors import ArchitectureError
from octnas.nn.maps import Map

__all__ = ["OctBatchNorm2d"]


class OctBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` of a map whose last `low` channels live one octave lower.

    Weight, bias and running statistics are vectors of all `channels`, of which each branch takes its slice;
    the state dict is that of `nn.BatchNorm2d`, whatever `low` is. `groups` is the map's layout: with
    `groups=g` the low channels are the last `low / g` of each group.

    Raises:
        ArchitectureError: `low` is not between 0 and `channels`, or not a multiple of `groups`.
    """

    def __init__(
        self, channels: int, low: int = 0, *, groups: int = 1, eps: float = 1e-5, momentum: float | None = 0.1
    ) -> None:
        if not 0 <= low <= channels:
            raise ArchitectureError(f"`0 <= low <= {channels}` must hold, but got {low=}")
        if low % groups or channels % groups:
            raise ArchitectureError(f"`low` must be a multiple of {groups=}, but got {low=} of {channels=}")
        super().__init__(channels, eps=eps, momentum=momentum)
        self.low = low
        self.groups = groups

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
        cut = self.num_features - self.low
        if self.groups == 1:
            sizes = [cut, self.low]
            # Views: training writes the running statistics through them.
            means, variances = torch.split(mean, sizes), torch.split(var, sizes)
            weights, biases = torch.split(weight, sizes), torch.split(bias, sizes)
        else:
            means, variances = self._grouped(mean), self._grouped(var)
            weights, biases = self._grouped(weight), self._grouped(bias)
        out = [
            F.batch_norm(branch, m, v, w, b, self.training, momentum, self.eps)
            for branch, m, v, w, b in zip((high, low), means, variances, weights, biases, strict=True)
        ]
        if self.training and self.groups > 1:
            self._write_back(mean, means)
            self._write_back(var, variances)
        return out[0], out[1]

    def _grouped(self, vector: Tensor) -> tuple[Tensor, ...]:
        """Copies of a dense vector's channels of the high and of the low branch."""
        table = vector.view(self.groups, -1)
        cut = (self.num_features - self.low) // self.groups
        return table[:, :cut].flatten(), table[:, cut:].flatten()

    def _write_back(self, vector: Tensor, branches: tuple[Tensor, ...]) -> None:
        table = vector.view(self.groups, -1)
        cut = (self.num_features - self.low) // self.groups
        table[:, :cut] = branches[0].view(self.groups, -1)
        table[:, cut:] = branches[1].view(self.groups, -1)

    def extra_repr(self) -> str:
        layout = f", groups={self.groups}" if self.groups > 1 else ""
        return f"{self.num_features}, low={self.low}{layout}, eps={self.eps}, momentum={self.momentum}"
