"""The inference form of an octave network: batch-norm folded, fewest convolutions, no weight sliced per call.

A training network slices one dense kernel per call and normalises each branch. Here each convolution and
its batch-norm become static kernels, cut once from the dense kernel (channels ordered [high | low]), in the
form of `octnas.costs.plans` that takes least for the layer's shape. The residual sum and the ReLU of a block
are part of its last convolution.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.backbones import Add, Conv, Head, LayerTable, MaxPool
from octnas.costs.plans import Form, Times, network_plans
from octnas.errors import ExportError
from octnas.export.convs import can_pack
from octnas.export.layers import Folded, deployed_head, deployed_layer, deployed_maxpool
from octnas.nn.maps import Map, Size, half, repartition

__all__ = ["DeployedNetwork", "OctaveNet", "deploy"]


class OctaveNet(Protocol):
    """What `deploy` reads of a network: its architecture, its table, and modules at the table's paths."""

    @property
    def architecture(self) -> Architecture: ...

    @property
    def table(self) -> LayerTable: ...

    def get_submodule(self, target: str) -> nn.Module: ...


def deploy(net: OctaveNet, *, input_size: Size | None = None, times: Times | None = None) -> DeployedNetwork:
    """The inference form of an octave network, equal to `net.eval()` to rounding (1e-4 relative).

    Args:
        net: a network of `octnas.build`, in training or evaluation mode; it is read, not changed. The running
            statistics of its batch-norms are folded into the kernels, whatever its mode.
        input_size: height and width in px for which the layers' forms are chosen, by default 224, or 32 with
            the small-image stem. At any other size the numbers are as right.
        times: milliseconds of an operation on the device that will run it, by which the forms are chosen: the
            `op_ms` of a `DeviceProfile`. By default a rule of thumb.

    Returns:
        A module in evaluation mode that maps (B, C, H, W) to logits (B, classes), at any input size, on the
        device and with the number format of `net`. Its parameters need no gradients.

    Raises:
        ExportError: a grouped convolution has low channels; there is no static form for it.
    """
    return DeployedNetwork(net, input_size=input_size, times=times).eval().requires_grad_(False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What one layer reads and writes; a convolution that ends a block is one layer with the block's sum."""

    reads: str
    writes: str
    shortcut: str | None
    """The map that is added, where there is one."""
    owned: bool
    """Whether nothing reads the shortcut afterwards, so that it may be written to."""
    frees: tuple[str, ...]
    halvings: int
    """How often the nominal size of the output is the network's input halved."""
    low: int
    """Low channels of the output."""


class DeployedNetwork(nn.Module):
    """A static walk over a layer table whose convolutions are plain ones; made by `deploy`."""

    def __init__(self, net: OctaveNet, *, input_size: Size | None = None, times: Times | None = None) -> None:
        super().__init__()
        self.architecture = net.architecture
        self.table = net.table
        side = 32 if net.architecture.stem == "small" else 224
        shape = (net.table.in_channels, *(input_size or (side, side)))
        plans = network_plans(net.architecture, shape, times=times)
        self.forms: Mapping[str, Form] = {name: plan.form for name, plan in plans.items()}
        """The form of every convolution, by name."""
        lows = _lows(net.table, net.architecture)
        nodes = _merged(net.table)
        frees = _last_readers(nodes)
        halvings = {"input": 0}
        self.layers = nn.ModuleList()
        self._steps: list[_Step] = []
        for node, add in nodes:
            writes = node.name if add is None else add.name
            halvings[writes] = halvings[node.reads] + (isinstance(node, MaxPool) or _halves(node))
            match node:
                case Conv():
                    folded = _folded(net, node, lows, relu=node.relu or add is not None)
                    self.layers.append(deployed_layer(self.forms[node.name], folded))
                case MaxPool():
                    self.layers.append(deployed_maxpool())
                case Head():
                    linear = cast(nn.Linear, copy.deepcopy(net.get_submodule(node.name)))
                    self.layers.append(deployed_head(linear))
            shortcut = None if add is None else add.reads[1]
            self._steps.append(
                _Step(
                    reads=node.reads,
                    writes=writes,
                    shortcut=shortcut,
                    owned=shortcut in frees[writes],
                    frees=tuple(frees[writes]),
                    halvings=halvings[writes],
                    low=lows[writes],
                )
            )
        self._halvings = max(halvings.values())

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, C, H, W)."""
        sizes = [(int(images.shape[-2]), int(images.shape[-1]))]
        for _ in range(self._halvings):
            sizes.append(half(sizes[-1]))
        here: Map = (_laid_out(images), None)
        maps: dict[str, Map] = {"input": here}
        for step, layer in zip(self._steps, self.layers, strict=True):
            size = sizes[step.halvings]
            add: Map = (None, None)
            if step.shortcut is not None:
                add = repartition(maps[step.shortcut], step.low, size)
                if not step.owned:
                    add = _copied(add)
            here = layer(*maps[step.reads], size, add)
            for name in step.frees:
                del maps[name]
            maps[step.writes] = here
        return cast(Tensor, here[0])


def _merged(table: LayerTable) -> list[tuple[Conv | MaxPool | Head, Add | None]]:
    """The nodes in order; the convolution that ends a block stands where the block's sum is, with the sum.

    What a sum adds is there by then, so that it can be part of the convolution. A convolution whose output is
    read by another node too, or that has a ReLU of its own, could not be merged; no backbone has one.
    """
    ends = {node.reads[0]: node for node in table.nodes if isinstance(node, Add)}
    convs = {conv.name: conv for conv in table.convs}
    merged: list[tuple[Conv | MaxPool | Head, Add | None]] = []
    for node in table.nodes:
        if isinstance(node, Add):
            merged.append((convs[node.reads[0]], node))
        elif node.name not in ends:
            merged.append((node, None))
    return merged


def _folded(net: OctaveNet, node: Conv, lows: Mapping[str, int], *, relu: bool) -> Folded:
    """The dense kernel and bias of a convolution followed by its batch-norm, folded in float64."""
    low_in, low_out = lows[node.reads], lows[node.name]
    if (low_in or low_out) and (node.groups != 1 or node.stride not in (1, 2)):
        raise ExportError(
            "a convolution with low channels must have groups=1 and stride 1 or 2 to be deployed, but "
            f"{node.name} has groups={node.groups} and stride={node.stride}: give it alpha 0 on both sides"
        )
    conv, norm = net.get_submodule(node.name), net.get_submodule(node.norm)
    weight = cast(Tensor, conv.weight).detach()
    kernel = weight.double()
    mean, var = (norm.get_buffer(name).double() for name in ("running_mean", "running_var"))
    scale = torch.rsqrt(var + float(cast(float, norm.eps))) * cast(Tensor, norm.weight).detach().double()
    bias = cast(Tensor, norm.bias).detach().double() - mean * scale
    if isinstance(getattr(conv, "bias", None), Tensor):
        bias = bias + cast(Tensor, conv.bias).detach().double() * scale
    return Folded(
        weight=(kernel * scale[:, None, None, None]).to(weight.dtype),
        bias=bias.to(weight.dtype),
        low_in=low_in,
        low_out=low_out,
        padding=node.padding,
        stride=node.stride,
        groups=node.groups,
        relu=relu,
        # the stem strides in every network
        pools=net.architecture.downsample == "pooled" and node.stride == 2 and node.slot is not None,
    )


def _laid_out(images: Tensor) -> Tensor:
    """Channels last, where this machine's kernels want it; a traced graph leaves that to its runtime."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call,attr-defined]
    if traced or not (images.device.type == "cuda" or can_pack()):
        return images
    return images.contiguous(memory_format=torch.channels_last)


def _copied(x: Map) -> Map:
    return None if x[0] is None else x[0].clone(), None if x[1] is None else x[1].clone()


def _halves(node: Conv | Head) -> bool:
    return isinstance(node, Conv) and node.stride == 2


def _lows(table: LayerTable, architecture: Architecture) -> dict[str, int]:
    """Low channels of every node's output map."""
    slots = table.source_slots
    return {name: 0 if slot is None else architecture.low_channels[slot] for name, slot in slots.items()}


def _last_readers(nodes: list[tuple[Conv | MaxPool | Head, Add | None]]) -> dict[str, list[str]]:
    """For each output of the merged nodes, the maps that no later node reads."""
    last: dict[str, str] = {}
    for node, add in nodes:
        writes = node.name if add is None else add.name
        for name in (node.reads,) if add is None else (node.reads, add.reads[1]):
            last[name] = writes
    frees: dict[str, list[str]] = {node.name if add is None else add.name: [] for node, add in nodes}
    for name, reader in last.items():
        frees[reader].append(name)
    return frees
