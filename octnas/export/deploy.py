"""The inference form of an octave network: batch-norm folded, fewest convolutions, no weight sliced per call.

A training network slices one dense kernel per call and normalises each branch. Here each convolution and
its batch-norm become static kernels, cut once from the dense kernel (channels ordered [high | low]):

| read -> written | stride 1 | stride 2, with m = cat(pool(high), low) |
|---|---|---|
| high -> high | conv | conv, strided, or pooled first where the architecture pools |
| both -> high | conv(high) + up(conv(low)) | conv(m) |
| both -> low | conv(cat(pool(high), low)) | conv(pool(m)) |
| both -> both | those two: three convolutions | those two: two convolutions |
| high -> both | conv(high); conv(pool(high)) | the same with m = pool(high) |
| low -> both | one conv(low), split, its first part upsampled | the same with m = low |

At stride 2 the pooled high map and the low map have one size, so that what are three or four paths in the
paper are one convolution for each output. The multiply-adds are those of `octnas.costs`, unchanged. Legend of
shapes: B images, C channels, H and W the *nominal* size in px, that of the high map; a low map has
ceil(H / 2) x ceil(W / 2) px.
"""

from __future__ import annotations

import copy
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from octnas.architecture import Architecture
from octnas.backbones import Add, Conv, Head, LayerTable, MaxPool
from octnas.errors import ExportError
from octnas.nn.maps import Map, Size, concat, pool, repartition, upsample

__all__ = ["DeployedNetwork", "OctaveNet", "deploy"]


class OctaveNet(Protocol):
    """What `deploy` reads of a network: its architecture, its table, and modules at the table's paths."""

    @property
    def architecture(self) -> Architecture: ...

    @property
    def table(self) -> LayerTable: ...

    def get_submodule(self, target: str) -> nn.Module: ...


def deploy(net: OctaveNet) -> DeployedNetwork:
    """The inference form of an octave network, equal to `net.eval()` to rounding (1e-4 relative).

    Args:
        net: a network of `octnas.build`, in training or evaluation mode; it is read, not changed. The running
            statistics of its batch-norms are folded into the kernels, whatever its mode.

    Returns:
        A module in evaluation mode that maps (B, C, H, W) to logits (B, classes), at any input size, on the
        device and with the number format of `net`. Its parameters need no gradients.

    Raises:
        ExportError: a grouped convolution has low channels; there is no static form for it.
    """
    return DeployedNetwork(net).eval().requires_grad_(False)


class DeployedNetwork(nn.Module):
    """A static walk over a layer table whose convolutions are plain `nn.Conv2d`; made by `deploy`."""

    def __init__(self, net: OctaveNet) -> None:
        super().__init__()
        self.architecture = net.architecture
        self.table = net.table
        lows = _lows(net.table, net.architecture)
        self._lows = lows
        self._frees = _last_readers(net.table)
        self.steps = nn.ModuleDict()
        for node in net.table.nodes:
            match node:
                case Conv():
                    weight, bias = _folded(net, node)
                    # the stem strides in every network
                    pooled = net.architecture.downsample == "pooled"
                    pools = pooled and node.stride == 2 and node.slot is not None
                    step = _step(node, weight, bias, lows[node.reads], lows[node.name], pools)
                    self.steps[_key(node.name)] = step
                case Head():
                    self.steps[_key(node.name)] = copy.deepcopy(net.get_submodule(node.name))
                case MaxPool() | Add():
                    pass

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, C, H, W)."""
        sizes = self.table.sizes(int(images.shape[-2]), int(images.shape[-1]))
        maps: dict[str, Map] = {"input": (images, None)}
        for node in self.table.nodes:
            match node:
                case Conv():
                    step = self.steps[_key(node.name)]
                    high, low = step(*maps[node.reads], sizes[node.name])
                    maps[node.name] = (_relu(high), _relu(low)) if node.relu else (high, low)
                case MaxPool():
                    maps[node.name] = (F.max_pool2d(_present(maps[node.reads][0]), 3, 2, 1), None)
                case Add():
                    body, shortcut = maps[node.reads[0]], maps[node.reads[1]]
                    shortcut = repartition(shortcut, self._lows[node.name], sizes[node.name])
                    maps[node.name] = (_relu(_sum(body[0], shortcut[0])), _relu(_sum(body[1], shortcut[1])))
                case Head():
                    pooled = [branch.mean((2, 3)) for branch in maps[node.reads] if branch is not None]
                    features = pooled[0] if len(pooled) == 1 else torch.cat(pooled, 1)
                    return cast(Tensor, self.steps[_key(node.name)](features))
            for name in self._frees[node.name]:
                del maps[name]
        raise AssertionError("a layer table ends with a head")


class _Plain(nn.Module):
    """No low channels on either side."""

    def __init__(self, conv: nn.Conv2d, pools: bool) -> None:
        super().__init__()
        self.conv, self._pools = conv, pools

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size) -> Map:
        high = _present(high)
        return self.conv(pool(high) if self._pools else high), None


class _Halving(nn.Module):
    """Stride 2: one convolution for each output that exists, of the concatenated half-size map."""

    def __init__(self, high: nn.Conv2d | None, low: nn.Conv2d | None) -> None:
        super().__init__()
        self.high, self.low = high, low

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size) -> Map:
        half = concat(None if high is None else pool(high), low)
        return (
            None if self.high is None else self.high(half),
            None if self.low is None else self.low(pool(half)),
        )


class _Keeping(nn.Module):
    """Stride 1 from a map that has high channels."""

    def __init__(self, high: nn.Conv2d | None, cross: nn.Conv2d | None, low: nn.Conv2d | None) -> None:
        super().__init__()
        self.high, self.cross, self.low = high, cross, low

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size) -> Map:
        fine = None if self.high is None else self.high(high)
        if self.cross is not None:
            fine = _sum(fine, upsample(self.cross(low), size))
        coarse = None if self.low is None else self.low(concat(pool(_present(high)), low))
        return fine, coarse


class _FromLow(nn.Module):
    """Stride 1 from a map that is low throughout: one convolution, the high part of it upsampled."""

    def __init__(self, conv: nn.Conv2d, low_out: int) -> None:
        super().__init__()
        self.conv, self._split = conv, [conv.out_channels - low_out, low_out]

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size) -> Map:
        out = self.conv(low)
        if self._split[0] == 0:
            return None, out
        if self._split[1] == 0:
            return upsample(out, size), None
        fine, coarse = torch.split(out, self._split, 1)
        return upsample(fine, size), coarse


def _step(node: Conv, weight: Tensor, bias: Tensor, low_in: int, low_out: int, pools: bool) -> nn.Module:
    """The plan of the table above for one convolution with its batch-norm folded in."""
    high_in, high_out = node.in_channels - low_in, node.out_channels - low_out
    pad = node.padding
    if low_in == 0 and low_out == 0:
        return _Plain(_conv(weight, bias, pad, stride=1 if pools else node.stride, groups=node.groups), pools)
    if node.groups != 1 or node.stride not in (1, 2):
        raise ExportError(
            "a convolution with low channels must have groups=1 and stride 1 or 2 to be deployed, but "
            f"{node.name} has groups={node.groups} and stride={node.stride}: give it alpha 0 on both sides"
        )
    low = _conv(weight[high_out:], bias[high_out:], pad) if low_out else None
    if node.stride == 2:
        return _Halving(_conv(weight[:high_out], bias[:high_out], pad) if high_out else None, low)
    if high_in == 0:
        return _FromLow(_conv(weight, bias, pad), low_out)
    if high_out == 0:
        return _Keeping(None, None, low)
    high = _conv(weight[:high_out, :high_in], bias[:high_out], pad)
    return _Keeping(high, _conv(weight[:high_out, high_in:], None, pad) if low_in else None, low)


def _conv(
    weight: Tensor, bias: Tensor | None, padding: int, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    out_channels, in_channels, *kernel = weight.shape
    conv = nn.Conv2d(
        in_channels * groups,
        out_channels,
        (kernel[0], kernel[1]),
        stride=stride,
        padding=padding,
        groups=groups,
        bias=bias is not None,
        device="meta",
    )
    conv.weight = nn.Parameter(weight.clone(memory_format=torch.contiguous_format))
    if bias is not None:
        conv.bias = nn.Parameter(bias.clone())
    return conv


def _folded(net: OctaveNet, node: Conv) -> tuple[Tensor, Tensor]:
    """The dense kernel and bias of a convolution followed by its batch-norm, folded in float64."""
    conv, norm = net.get_submodule(node.name), net.get_submodule(node.norm)
    weight = cast(Tensor, conv.weight).detach()
    kernel = weight.double()
    mean, var = (norm.get_buffer(name).double() for name in ("running_mean", "running_var"))
    scale = torch.rsqrt(var + float(cast(float, norm.eps))) * cast(Tensor, norm.weight).detach().double()
    bias = cast(Tensor, norm.bias).detach().double() - mean * scale
    if isinstance(getattr(conv, "bias", None), Tensor):
        bias = bias + cast(Tensor, conv.bias).detach().double() * scale
    return (kernel * scale[:, None, None, None]).to(weight.dtype), bias.to(weight.dtype)


def _lows(table: LayerTable, architecture: Architecture) -> dict[str, int]:
    """Low channels of every node's output map."""
    slots = table.source_slots
    return {name: 0 if slot is None else architecture.low_channels[slot] for name, slot in slots.items()}


def _last_readers(table: LayerTable) -> dict[str, list[str]]:
    """For each node, the maps that no later node reads."""
    last: dict[str, str] = {}
    for node in table.nodes:
        for name in node.reads if isinstance(node, Add) else (node.reads,):
            last[name] = node.name
    frees: dict[str, list[str]] = {node.name: [] for node in table.nodes}
    for name, reader in last.items():
        frees[reader].append(name)
    return frees


def _key(name: str) -> str:
    return name.replace(".", "_")


def _present(branch: Tensor | None) -> Tensor:
    assert branch is not None
    return branch


def _relu(branch: Tensor | None) -> Tensor | None:
    return None if branch is None else F.relu(branch)


def _sum(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    return None if left is None else left + _present(right)
