"""Cost counted on the built network, by two tools that know nothing of the closed form.

PyTorch's FlopCounterMode sees every convolution and matrix product that the network really calls, and
counts two operations a multiply-add; it is halved here. thop counts by module: it sees no functional
convolution, so it gets a rule for `OctConv2d` and `OctConv3d`, read off the tensors that went in and came
out; its rule for pooling is set to zero and normalisations are left out, since a GFLOP here is 10^9
multiply-adds of convolutions and fully connected layers alone. Both run on the meta device: shapes, no
numbers, no memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from octnas.architecture import Architecture
from octnas.nn import OctBatchNorm2d, OctBatchNorm3d, OctConv2d, OctConv3d, build

__all__ = ["Counted", "count"]

Branches = tuple[Tensor | None, Tensor | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A network's cost as two independent tools count it at batch 1."""

    thop_gflops: float
    """thop's count, in 10^9 multiply-adds."""
    pytorch_gflops: float
    """Half of FlopCounterMode's count, in 10^9 multiply-adds."""
    thop_macs: int
    pytorch_macs: int
    params: int


def count(arch: Architecture, input_shape: Sequence[int] | None = None, num_classes: int = 1000) -> Counted:
    """Counts the built network; the arguments are those of `octnas.costs.cost`."""
    import thop  # here: it is slow to import, and only this check needs it

    shape = arch.input_shape(input_shape)
    with torch.device("meta"):
        network = build(arch, num_classes=num_classes, in_channels=shape[0]).eval()
        x = torch.empty(1, *shape)
    params = sum(parameter.numel() for parameter in network.parameters())
    for path, module in list(network.named_modules()):
        if isinstance(module, OctBatchNorm2d | OctBatchNorm3d):
            # on the meta device they take half of the time
            network.set_submodule(path, nn.Identity())
    rules = {
        OctConv2d: _count_octave,
        OctConv3d: _count_octave,
        nn.AvgPool2d: _count_nothing,
        nn.AvgPool3d: _count_nothing,
    }
    thop_macs, _ = thop.profile(network, inputs=(x,), custom_ops=rules, verbose=False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    flops = int(counter.get_total_flops())
    return Counted(
        thop_gflops=thop_macs / 1e9,
        pytorch_gflops=flops / 2e9,
        thop_macs=int(thop_macs),
        pytorch_macs=flops // 2,
        params=params,
    )


def _count_octave(module: nn.Module, inputs: tuple[Tensor | Branches, ...], output: Branches) -> None:
    """thop's rule: adds the multiply-adds of the paths between the branches that are there.

    A path into low runs at the low output's size; low to high at stride 1 runs at the low input's size,
    before it is upsampled; every other path into high at the high output's size. Frames are the output's.
    """
    assert isinstance(module, OctConv2d | OctConv3d)
    x = inputs[0]
    high, low = (x, None) if isinstance(x, Tensor) else x
    n_high, n_low = (0 if branch is None else branch.shape[1] for branch in (high, low))
    out_high, out_low = output
    per_group = math.prod(module.kernel_size)
    total = 0
    if module.groups > 1 and module.depthwise:
        total = per_group * sum(branch.numel() for branch in output if branch is not None)
    else:
        if out_high is not None:
            total += n_high * out_high.numel()
            if low is not None:
                sized = low if module.stride[-1] == 1 else out_high
                total += n_low * math.prod(out_high.shape[:-2]) * math.prod(sized.shape[-2:])
        if out_low is not None:
            total += (n_high + n_low) * out_low.numel()
        total = total * per_group // module.groups
    tallied: Any = module  # thop puts its tally on the module
    tallied.total_ops += total


def _count_nothing(module: nn.Module, inputs: object, output: object) -> None:
    """thop's rule for what is no multiply-add of a convolution or a fully connected layer."""
