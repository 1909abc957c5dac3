"""Cost counted on the built network, by two tools that know nothing of the closed form.

PyTorch's FlopCounterMode sees every convolution and matrix product that the network really calls, and
counts two operations a multiply-add; it is halved here. thop counts by module: it sees no functional
convolution, so it gets a rule for `OctConv2d` and `OctConv3d`, read off the tensors that went in and came
out; whatever is no convolution and no fully connected layer is set to zero, since a GFLOP here is 10^9
multiply-adds of these alone. Both run on the meta device: shapes, no numbers, no memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from octnas.architecture import Architecture
from octnas.backbones import is_users
from octnas.costs.flops import plain_macs
from octnas.nn import OctaveNetwork, OctBatchNorm2d, OctBatchNorm3d, OctConv2d, OctConv3d, build

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
    unseen_macs: int = 0
    """Multiply-adds of functions that a user's network calls, which thop does not see."""


def count(arch: Architecture, input_shape: Sequence[int] | None = None, num_classes: int = 1000) -> Counted:
    """Counts the built network; the arguments are those of `octnas.costs.cost`."""
    import thop  # here: it is slow to import, and only this check needs it

    shape = arch.input_shape(input_shape)
    # A user's factory may look at numbers of its weights.
    with torch.random.fork_rng(devices=[]), torch.device("cpu" if is_users(arch.backbone) else "meta"):
        network = build(arch, num_classes=num_classes, in_channels=shape[0]).eval().to("meta")
    x = torch.empty(1, *shape, device="meta")
    unseen = _unseen(network, shape)
    params = sum(parameter.numel() for parameter in network.parameters())
    for path, module in list(network.named_modules()):
        if isinstance(module, OctBatchNorm2d | OctBatchNorm3d):
            # on the meta device they take half of the time
            network.set_submodule(path, nn.Identity())
    rules = {type(module): _rule(module) for module in network.modules() if not list(module.children())}
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
        unseen_macs=unseen,
    )


def _rule(module: nn.Module) -> Callable[..., None]:
    """thop's rule for a layer; it would count the normalisations and activations of a user's network too."""
    from thop.vision.basic_hooks import count_convNd, count_linear

    if isinstance(module, OctConv2d | OctConv3d):
        return _count_octave
    if isinstance(module, _ConvNd):
        return cast(Callable[..., None], count_convNd)
    if isinstance(module, nn.Linear):
        return cast(Callable[..., None], count_linear)
    return _count_nothing


def _unseen(network: OctaveNetwork, shape: Sequence[int]) -> int:
    """Multiply-adds of the functions that a user's network calls."""
    table = network.table
    calls: Mapping[str, Any] = getattr(table, "calls", {})
    frames = shape[1] if len(shape) == 4 else None
    macs = plain_macs(table, shape[-2], shape[-1], frames)
    return sum(count for name, count in macs.items() if calls[name].kind != "module")


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
