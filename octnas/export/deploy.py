"""The inference form of an octave network: batch-norm folded, fewest convolutions, no weight sliced per call.

A training network slices one dense kernel per call and normalises each branch. Here each convolution and
its batch-norm become static kernels, cut once from the dense kernel (channels ordered [high | low]), in the
form of `octnas.costs.forms` that takes least for the layer's shape. The residual sum and the activation of a
block are part of its last layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.backbones import (
    Activation,
    Add,
    Concat,
    Conv,
    Dims,
    Excite,
    Head,
    LayerTable,
    Norm,
    Pool,
    default_input,
)
from octnas.costs.forms import Form, conv_pools
from octnas.costs.ops import Times
from octnas.costs.plans import network_plans
from octnas.export.convs import can_pack, channels_last
from octnas.export.folded import Folded
from octnas.export.layers import deployed_layer
from octnas.export.nodes import DeployedHead, DeployedNorm, DeployedPool, Excited
from octnas.nn.layers import OctPool, concatenated
from octnas.nn.maps import Map, Size, repartition
from octnas.nn.steps import Sizes, reads_of

__all__ = ["DeployedNetwork", "OctaveNet", "deploy"]


class OctaveNet(Protocol):
    """What `deploy` reads of a network: its architecture, its table, and modules at the table's paths."""

    @property
    def architecture(self) -> Architecture: ...

    @property
    def table(self) -> LayerTable: ...

    def get_submodule(self, target: str) -> nn.Module: ...


def deploy(
    net: OctaveNet, *, input_size: Size | None = None, frames: int | None = None, times: Times | None = None
) -> DeployedNetwork:
    """The inference form of an octave network, equal to `net.eval()` to rounding (1e-4 relative).

    Args:
        net: a network of `octnas.build`, in training or evaluation mode; it is read, not changed. The running
            statistics of its batch-norms are folded into the kernels, whatever its mode.
        input_size: height and width in px for which the layers' forms are chosen, by default the backbone's
            usual ones. At any other size the numbers are as right.
        frames: of the clips for which they are chosen; by default a 3D backbone's usual number, and a still
            image for a 2D one.
        times: milliseconds of an operation on the device that will run it, by which the forms are chosen: the
            `op_ms` of a `DeviceProfile`. By default a rule of thumb.

    Returns:
        A module in evaluation mode that maps what `net` maps, (B, C, H, W) or (B, C, T, H, W), to logits
        (B, classes), at any input size, on the device and with the number format of `net`. Its parameters
        need no gradients.
    """
    return (
        DeployedNetwork(net, input_size=input_size, frames=frames, times=times).eval().requires_grad_(False)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What one layer reads and writes; a layer that ends a block is one with the block's sum."""

    reads: tuple[str, ...]
    writes: str
    shortcut: str | None
    """The map that is added, where there is one."""
    owned: bool
    """Whether nothing reads the shortcut afterwards, so that it may be written to."""
    frees: tuple[str, ...]
    size: tuple[int, int]
    """Numbers of the nominal sizes of what is read and of what is written."""
    low: int
    """Low channels of the output."""
    moves: bool
    """Whether the input takes the output's low channels before (depthwise)."""


Layer = Conv | Pool | Norm | Excite | Concat


class DeployedNetwork(nn.Module):
    """A static walk over a layer table whose convolutions are plain ones; made by `deploy`."""

    def __init__(
        self,
        net: OctaveNet,
        *,
        input_size: Size | None = None,
        frames: int | None = None,
        times: Times | None = None,
    ) -> None:
        super().__init__()
        self.architecture, self.table = net.architecture, net.table
        self.dims: Dims = net.table.dims
        _, *clip, height, width = default_input(net.architecture.backbone, net.architecture.stem)
        clip = clip if frames is None else [frames]
        shape = (net.table.in_channels, *clip, *(input_size or (height, width)))
        plans = network_plans(net.architecture, shape, times=times)
        self.forms: Mapping[str, Form] = {name: plan.form for name, plan in plans.items()}
        """The form of every convolution, by name."""
        lows = net.table.lows(net.architecture.low_channels)
        nodes = _merged(net.table)
        frees = _last_readers(nodes)
        size = {"input": 0}
        self._sizes = Sizes()
        self.layers = nn.ModuleList()
        self._steps: list[_Step] = []
        for node, add in nodes:
            writes = node.name if add is None else add.name
            reads = reads_of(node)
            size[writes] = size[reads[0]]
            if isinstance(node, Conv | Pool) and node.stride == 2:
                floor = isinstance(node, Pool) and node.floor
                size[writes] = self._sizes.halved(size[reads[0]], floor=floor)
            self.layers.append(self._layer(net, node, add, lows))
            shortcut = None if add is None else add.reads[1]
            self._steps.append(
                _Step(
                    reads=reads,
                    writes=writes,
                    shortcut=shortcut,
                    owned=shortcut in frees[writes],
                    frees=tuple(frees[writes]),
                    size=(size[reads[0]], size[writes]),
                    low=lows[writes],
                    moves=isinstance(node, Conv) and node.depthwise,
                )
            )
        head = net.table.nodes[-1]
        assert isinstance(head, Head)
        order = net.table.channel_order(head.reads, net.architecture.low_channels)
        self.head = DeployedHead(cast(nn.Linear, net.get_submodule(head.name)), order)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, C, H, W) or clips (B, C, T, H, W)."""
        frames = images.shape[2] if self.dims == 2 and images.dim() == 5 else None
        images = _laid_out(images)
        if frames is not None:
            images = images.transpose(1, 2).flatten(0, 1)
        sizes = self._sizes.of((int(images.shape[-2]), int(images.shape[-1])))
        here: Map = (images, None)
        maps: dict[str, Map] = {"input": here}
        for step, layer in zip(self._steps, self.layers, strict=True):
            size = sizes[step.size[1]]
            add: Map = (None, None)
            if step.shortcut is not None:
                add = repartition(maps[step.shortcut], step.low, size)
                if not step.owned:
                    add = _copied(add)
            if len(step.reads) > 1:
                here = concatenated([maps[name] for name in step.reads])
            else:
                here = maps[step.reads[0]]
                if step.moves:
                    here = repartition(here, step.low, sizes[step.size[0]])
                here = layer(*here, size, add)
            for name in step.frees:
                del maps[name]
            maps[step.writes] = here
        logits: Tensor = self.head(here, frames)
        return logits

    def _layer(self, net: OctaveNet, node: Layer, add: Add | None, lows: Mapping[str, int]) -> nn.Module:
        ends = node if add is None else add
        activation = ends.activation if isinstance(ends, Conv | Norm | Add) else None
        order = self.table.channel_order(node.name, self.architecture.low_channels)
        match node:
            case Conv():
                return deployed_layer(self.forms[node.name], _folded(net, node, lows, order, activation))
            case Norm():
                scale, shift = _scale_and_shift(net, node.name)
                if order is not None:
                    scale, shift = scale[list(order)], shift[list(order)]
                dtype = cast(Tensor, net.get_submodule(node.name).weight).dtype
                return DeployedNorm(scale.to(dtype), shift.to(dtype), lows[node.name], activation)
            case Excite():
                return Excited(net.get_submodule(node.name), order, lows[node.name], activation)
            case Pool():
                return DeployedPool(cast(OctPool, net.get_submodule(node.name)))
            case Concat():
                return nn.Identity()  # the walk concatenates


def _merged(table: LayerTable) -> list[tuple[Layer, Add | None]]:
    """The nodes but the head in order; the layer that ends a block stands where the block's sum is, with it.

    What a sum adds is there by then, so that it can be part of the layer. A layer whose output is read by
    another node too, or that has an activation of its own, could not be merged; no backbone has one.
    """
    ends = {node.reads[0]: node for node in table.nodes if isinstance(node, Add)}
    named = {node.name: node for node in table.nodes}
    merged: list[tuple[Layer, Add | None]] = []
    for node in table.nodes:
        if isinstance(node, Add):
            last = named[node.reads[0]]
            assert isinstance(last, Conv | Excite)
            merged.append((last, node))
        elif not isinstance(node, Head) and node.name not in ends:
            merged.append((node, None))
    return merged


def _folded(
    net: OctaveNet,
    node: Conv,
    lows: Mapping[str, int],
    order: tuple[int, ...] | None,
    activation: Activation | None,
) -> Folded:
    """The dense kernel and bias of a convolution and the batch-norm behind it, folded in float64.

    Its channels come as the maps have them: `order` for the output; the columns of a grouped kernel are in
    order within their group.
    """
    conv, table, low_channels = net.get_submodule(node.name), net.table, net.architecture.low_channels
    weight = cast(Tensor, conv.weight).detach()
    kernel = weight.double()
    bias: Tensor | None = None
    if isinstance(conv.bias, Tensor):
        bias = conv.bias.detach().double()
    if node.norm is not None:
        scale, shift = _scale_and_shift(net, node.norm)
        kernel = kernel * scale.view(-1, *[1] * (kernel.dim() - 1))
        bias = shift if bias is None else shift + bias * scale
    if order is not None:
        kernel, bias = kernel[list(order)], None if bias is None else bias[list(order)]
    columns = table.channel_order(node.reads, low_channels) if node.groups == 1 else None
    if columns is not None:
        kernel = kernel[:, list(columns)]
    return Folded(
        weight=kernel.to(weight.dtype),
        bias=None if bias is None else bias.to(weight.dtype),
        low_in=table.low_in(node, lows),
        low_out=lows[node.name],
        stride=node.stride,
        stride_time=node.stride_time,
        groups=node.groups,
        depthwise=node.depthwise,
        activation=activation,
        pools=net.architecture.downsample == "pooled" and conv_pools(node),
    )


def _scale_and_shift(net: OctaveNet, name: str) -> tuple[Tensor, Tensor]:
    """What a batch-norm multiplies each channel with and adds to it, (C,) each, in float64."""
    norm = net.get_submodule(name)
    mean, var = (norm.get_buffer(each).double() for each in ("running_mean", "running_var"))
    scale = torch.rsqrt(var + float(cast(float, norm.eps))) * cast(Tensor, norm.weight).detach().double()
    return scale, cast(Tensor, norm.bias).detach().double() - mean * scale


def _laid_out(images: Tensor) -> Tensor:
    """Channels last, where this machine's kernels want it; a traced graph leaves that to its runtime."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call,attr-defined]
    if traced or not (images.device.type == "cuda" or can_pack()):
        return images
    return images.contiguous(memory_format=channels_last(images))


def _copied(x: Map) -> Map:
    return None if x[0] is None else x[0].clone(), None if x[1] is None else x[1].clone()


def _last_readers(nodes: list[tuple[Layer, Add | None]]) -> dict[str, list[str]]:
    """For each output of the merged nodes, the maps that no later node but the head reads."""
    last: dict[str, str] = {}
    for node, add in nodes:
        writes = node.name if add is None else add.name
        for name in reads_of(node) if add is None else (*reads_of(node), add.reads[1]):
            last[name] = writes
    frees: dict[str, list[str]] = {node.name if add is None else add.name: [] for node, add in nodes}
    for name, reader in last.items():
        frees[reader].append(name)
    return frees
