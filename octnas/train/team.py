"""Workers that train one network together: each computes the gradients of its share of every batch.

Gradients are averaged by PyTorch's `DistributedDataParallel`. Batch-norm sees a worker's own share of a
batch, as in Goyal et al. 2017 ("Accurate, Large Minibatch SGD", section 2.3); running statistics, which every
worker keeps of its own shares, are averaged before a network is scored or kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Team"]

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """This worker's place among those of the default process group, which the caller has set up."""

    rank: int
    """From 0."""
    size: int
    """Number of workers, two or more."""
    device: torch.device
    """Where this worker's tensors are."""

    def share(self, count: int) -> slice:
        """Which of `count` images in a row are this worker's: shares differ by one image at most."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def weight(self, count: int) -> float:
        """What a share's mean loss counts for, so that the mean over workers is that of `count` images."""
        share = self.share(count)
        return float((share.stop - share.start) * self.size / count)

    def summed(self, values: Tensor) -> Tensor:
        """The sum over the workers, on the processor; a call of all workers."""
        total = values.to(self.device)
        total = total.clone() if total is values else total
        dist.all_reduce(total)
        return total.cpu()

    def joined(self, network: nn.Module, forward: Forward, *, may_skip: bool = False) -> Forward:
        """`forward`, which calls `network`, with gradients that are means over the workers.

        Args:
            may_skip: the network may have parameters that `forward` does not use, an auxiliary head say.
        """
        where = [self.device] if self.device.type == "cuda" else None
        return cast(
            Forward,
            DistributedDataParallel(
                _Called(network, forward),
                device_ids=where,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
                find_unused_parameters=may_skip,
            ),
        )

    def average_buffers(self, network: nn.Module) -> None:
        """Makes the running statistics of all workers equal: their means."""
        buffers = [each for each in network.buffers() if each.is_floating_point()]
        if not buffers:
            return
        flat = torch.cat([each.reshape(-1).float() for each in buffers])
        dist.all_reduce(flat)
        parts = torch.split(flat / self.size, [each.numel() for each in buffers])
        for buffer, part in zip(buffers, parts, strict=True):
            buffer.copy_(part.view_as(buffer))


class _Called(nn.Module):
    """A network that is called in another form, as a module with its parameters."""

    def __init__(self, network: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.network = network
        self._called = forward

    def forward(self, inputs: Tensor) -> Tensor:
        return self._called(inputs)
