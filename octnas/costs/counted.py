"""Cost counted on the built network, by two tools that know nothing of the closed form.

PyTorch's FlopCounterMode sees every convolution and matrix product that the network really calls, and
counts two operations a multiply-add; it is halved here. thop counts by module: it sees no functional
convolution, so it gets a rule for `OctConv2d`, read off the tensors that went in and came out; its rules
for normalisation and pooling are set to zero, since a GFLOP here is 10^9 multiply-adds of convolutions
and fully connected layers alone. Both run on the meta device: shapes, no numbers, no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from octnas.architecture import Architecture
from octnas.nn import OctBatchNorm2d, OctConv2d, build

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


def count(
    arch: Architecture, input_shape: tuple[int, int, int] | None = None, num_classes: int = 1000
) -> Counted:
    """Counts the built network.

    Args:
        input_shape: (channels, height, width) in px, of any size; by default 3x224x224, or 3x32x32 where the
            architecture has the small-image stem.
    """
    import thop  # here: it is slow to import, and only this check needs it

    side = 32 if arch.stem == "small" else 224
    channels, height, width = input_shape or (3, side, side)
    with torch.device("meta"):
        network = build(arch, num_classes=num_classes, in_channels=channels).eval()
        images = torch.empty(1, channels, height, width)
    rules = {OctConv2d: _count_octave, OctBatchNorm2d: _count_nothing, nn.AvgPool2d: _count_nothing}
    thop_macs, _ = thop.profile(network, inputs=(images,), custom_ops=rules, verbose=False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    flops = int(counter.get_total_flops())
    return Counted(
        thop_gflops=thop_macs / 1e9,
        pytorch_gflops=flops / 2e9,
        thop_macs=int(thop_macs),
        pytorch_macs=flops // 2,
        params=sum(parameter.numel() for parameter in network.parameters()),
    )


def _count_octave(module: nn.Module, inputs: tuple[Tensor | Branches, ...], output: Branches) -> None:
    """thop's rule: adds the multiply-adds of the paths between the branches that are there.

    A path into low runs at the low output's size; low to high at stride 1 runs at the low input's size,
    before it is upsampled; every other path into high at the high output's size.
    """
    assert isinstance(module, OctConv2d)
    x = inputs[0]
    high, low = (x, None) if isinstance(x, Tensor) else x
    n_high, n_low = (0 if branch is None else branch.shape[1] for branch in (high, low))
    out_high, out_low = output
    per_group = module.kernel_size[0] * module.kernel_size[1]
    total = 0
    if module.groups > 1 and module.depthwise:
        total = per_group * sum(branch.numel() for branch in output if branch is not None)
    else:
        if out_high is not None:
            total += n_high * out_high.numel()
            if low is not None:
                side = low if module.stride[0] == 1 else out_high
                total += n_low * out_high.shape[1] * side.shape[-2] * side.shape[-1]
        if out_low is not None:
            total += (n_high + n_low) * out_low.numel()
        total = total * per_group // module.groups
    tallied: Any = module  # thop puts its tally on the module
    tallied.total_ops += total


def _count_nothing(module: nn.Module, inputs: object, output: object) -> None:
    """thop's rule for what is no multiply-add of a convolution or a fully connected layer."""
