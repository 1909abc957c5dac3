"""The inference form of an octave network: batch-norm folded, fewest convolutions, no weight sliced per call.

A training network slices one dense kernel per call and normalises each branch. Here each convolution and
its batch-norm become static kernels, cut once from the dense kernel (channels ordered [high | low]), in the
form of `octnas.costs.forms` that takes least for the layer's shape. The residual sum and the activation of a
block are part of its last layer. What no octave layer stands for in a user's network is called as its code
calls it, on copies of its modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from octnas.backbones import (
    Add,
    Concat,
    Conv,
    Dims,
    Elementwise,
    Excite,
    Gate,
    Head,
    Norm,
    Plain,
    Pool,
    Squeeze,
    default_input,
)
from octnas.costs.forms import Form
from octnas.costs.ops import Times
from octnas.costs.plans import network_plans
from octnas.costs.still import still
from octnas.errors import ArchitectureError
from octnas.export.between import (
    DeployedGate,
    DeployedSqueeze,
    DeployedSum,
    EachBranch,
    PlainCall,
    Raised,
    as_map,
)
from octnas.export.called import Called
from octnas.export.convs import can_pack, channels_last
from octnas.export.folded import OctaveNet, folded, scale_and_shift
from octnas.export.layers import deployed_layer
from octnas.export.merged import Merged, merged
from octnas.export.nodes import DeployedHead, DeployedNorm, DeployedPool, Excited
from octnas.nn.converted import ConvertedNetwork
from octnas.nn.layers import OctPool, concatenated
from octnas.nn.maps import Map, Size, repartition
from octnas.nn.steps import reads_of

__all__ = ["DeployedNetwork", "OctaveNet", "deploy"]


def deploy(
    net: OctaveNet, *, input_size: Size | None = None, frames: int | None = None, times: Times | None = None
) -> DeployedNetwork:
    """The inference form of an octave network, equal to `net.eval()` to rounding (1e-4 relative).

    Args:
        net: a network of `octnas.build` or `octnas.convert`, in training or evaluation mode; it is read, not
            changed. The running statistics of its batch-norms are folded into the kernels, whatever its mode.
        input_size: height and width in px for which the layers' forms are chosen, by default the backbone's
            usual ones. At any other size the numbers are as right.
        frames: of the clips for which they are chosen; by default a 3D backbone's usual number, and a still
            image for a 2D one.
        times: milliseconds of an operation on the device that will run it, by which the forms are chosen: the
            `op_ms` of a `DeviceProfile`. By default a rule of thumb.

    Returns:
        A module in evaluation mode that maps what `net` maps, (B, C, H, W) or (B, C, T, H, W), to logits
        (B, classes), or to whatever a user's network returns, at any input size, on the device and with the
        number format of `net`. Its parameters need no gradients.
    """
    return (
        DeployedNetwork(net, input_size=input_size, frames=frames, times=times).eval().requires_grad_(False)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What one layer reads and writes; a layer that ends a block is one with the block's sum."""

    kind: str
    """How the walk calls it: "layer" where there is nothing special."""
    reads: tuple[str, ...]
    writes: str
    shortcut: str | None
    """The map that is added, where there is one."""
    owned: bool
    """Whether the shortcut may be written to."""
    frees: tuple[str, ...]
    low: int
    """Low channels of the output."""
    moves: bool
    """Whether the input takes the output's low channels before (depthwise)."""


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
        self._taps: tuple[str, ...] = net.feature_names if isinstance(net, ConvertedNetwork) else ()
        self.architecture, self.table = net.architecture, still(net.table, keep=self._taps)
        self.dims: Dims = self.table.dims
        shape = _shape_for(net, input_size, frames)
        size = (shape[-2], shape[-1])
        plans = network_plans(net.architecture, shape, table=self.table, times=times)
        self.forms: Mapping[str, Form] = {name: plan.form for name, plan in plans.items()}
        """The form of every convolution, by name."""
        self._lows = self.table.lows(net.architecture.low_channels)
        self._sizes: dict[Size, dict[str, Size]] = {size: self.table.sizes(*size)}
        self._plain = {node.name for node in self.table.nodes if isinstance(node, Squeeze | Plain)}
        self.layers = nn.ModuleList()
        self._steps: list[_Step] = []
        for step in merged(self.table):
            self.layers.append(self._layer(net, step))
            self._steps.append(self._step(step))
        self.taps = nn.ModuleList(self._raised(name) or nn.Identity() for name in self._taps)
        head = self.table.nodes[-1]
        self.head = None
        if isinstance(head, Head):
            order = self._order(head.reads)
            self.head = DeployedHead(cast(nn.Linear, net.get_submodule(head.name)), order)

    def forward(self, images: Tensor) -> Any:
        """Logits (B, classes) of images (B, C, H, W) or clips (B, C, T, H, W); see `deploy`."""
        frames = images.shape[2] if self.dims == 2 and images.dim() == 5 else None
        images = _laid_out(images)
        if frames is not None:
            images = images.transpose(1, 2).flatten(0, 1)
        sizes = self._sizes_of((int(images.shape[-2]), int(images.shape[-1])))
        here: Any = (images, None)
        values: dict[str, Any] = {"input": here}
        for step, layer in zip(self._steps, self.layers, strict=True):
            here = self._run(step, layer, values, sizes)
            for name in step.frees:
                if name not in self._taps:
                    del values[name]
            values[step.writes] = here
        if self._taps:
            return self._features(values, sizes)
        if self.head is not None:
            return self.head(here, frames)
        return here if frames is None else self._mean_of_frames(here, frames)

    def _run(
        self, step: _Step, layer: nn.Module, values: Mapping[str, Any], sizes: Mapping[str, Size]
    ) -> Any:
        size = sizes[step.writes]
        first = values[step.reads[0]] if step.reads else None
        if step.kind == "plain":
            return layer(*[values[name] for name in step.reads], sizes=[sizes[name] for name in step.reads])
        if step.kind == "concat":
            return concatenated([as_map(values[name]) for name in step.reads])
        if step.kind == "gate":
            return layer(as_map(first), values[step.reads[1]])
        here = as_map(first)
        if step.kind == "sum":
            return layer(here, repartition(as_map(values[step.reads[1]]), step.low, size))
        if step.kind == "branches":
            return layer(*here)
        add: Map = (None, None)
        if step.shortcut is not None:
            add = repartition(as_map(values[step.shortcut]), step.low, size)
            if not step.owned:
                add = _copied(add)
        if step.moves:
            here = repartition(here, step.low, sizes[step.reads[0]])
        return layer(*here, size, add)

    def _features(self, values: Mapping[str, Any], sizes: Mapping[str, Size]) -> list[Tensor]:
        """The maps of the stages, at full resolution."""
        return [raised(values[name], sizes[name]) for name, raised in zip(self._taps, self.taps, strict=True)]

    def _mean_of_frames(self, logits: Any, frames: int) -> Tensor:
        """Of the logits of each frame, the mean over the frames of a clip."""
        if not (isinstance(logits, Tensor) and logits.dim() == 2):
            raise ArchitectureError(
                f"{self.architecture.backbone} gives no logits (B, classes), of which the mean over frames "
                "could be taken: give it still images"
            )
        return torch.unflatten(logits, 0, (-1, frames)).mean(1)

    def _sizes_of(self, size: Size) -> dict[str, Size]:
        """The nominal sizes of all maps for inputs of this size."""
        if size not in self._sizes:
            self._sizes[size] = self._measured(*size)
        return self._sizes[size]

    @torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
    def _measured(self, height: int, width: int) -> dict[str, Size]:
        # What the compiler traces has the sizes, and not how they are found.
        return self.table.sizes(height, width)

    def _order(self, name: str) -> tuple[int, ...] | None:
        return self.table.channel_order(name, self.architecture.low_channels)

    def _step(self, step: Merged) -> _Step:
        return _Step(
            kind=_KINDS.get(type(step.node), "layer"),
            reads=reads_of(step.node),
            writes=step.writes,
            shortcut=None if step.add is None else step.add.reads[1],
            owned=step.owned,
            frees=step.frees,
            low=self._lows[step.writes],
            moves=isinstance(step.node, Conv) and step.node.depthwise,
        )

    def _layer(self, net: OctaveNet, step: Merged) -> nn.Module:
        node, lows = step.node, self._lows
        ends = node if step.add is None else step.add
        activation = ends.activation if isinstance(ends, Conv | Norm | Add) else None
        order = self._order(node.name)
        match node:
            case Conv():
                return deployed_layer(self.forms[node.name], folded(net, node, lows, order, activation))
            case Norm():
                scale, shift = scale_and_shift(net, node.name)
                if order is not None:
                    scale, shift = scale[list(order)], shift[list(order)]
                dtype = cast(Tensor, net.get_submodule(node.name).weight).dtype
                return DeployedNorm(scale.to(dtype), shift.to(dtype), lows[node.name], activation)
            case Excite():
                return Excited(net.get_submodule(node.name), order, lows[node.name], activation)
            case Pool():
                return DeployedPool(OctPool(node))
            case Concat():
                return nn.Identity()  # the walk concatenates
            case Add():
                return DeployedSum(activation)
            case Elementwise():
                call = self.table.calls[node.name]
                return EachBranch(None if call.per_sample else Called(call, net))
            case Squeeze():
                return DeployedSqueeze(self._order(node.reads), keeps=node.keeps)
            case Gate():
                return DeployedGate(node.what, order, lows[node.name])
            case Plain():
                call = Called(self.table.calls[node.name], net)
                return PlainCall(call, [self._raised(name, node.sizes_only) for name in node.reads])
            case Head():
                raise AssertionError("a head is no step")

    def _raised(self, name: str, sizes_only: bool = False) -> Raised | None:
        """How a map is put to full resolution; None: it is a plain value, and is read as it is."""
        if name in self._plain:
            return None
        channels = self.table.channels(name)
        return Raised(self._order(name), channels=channels, sizes_only=sizes_only)


_KINDS: dict[type, str] = {
    Concat: "concat",
    Add: "sum",
    Elementwise: "branches",
    Squeeze: "branches",
    Gate: "gate",
    Plain: "plain",
}


def _shape_for(net: OctaveNet, input_size: Size | None, frames: int | None) -> tuple[int, ...]:
    """(C, H, W) or (C, T, H, W) of the input for which forms are chosen."""
    table, arch = net.table, net.architecture
    usual: tuple[int, ...] | None = getattr(table, "input_shape", None)
    _, *clip, height, width = usual or default_input(arch.backbone, arch.stem)
    return (table.in_channels, *(clip if frames is None else [frames]), *(input_size or (height, width)))


def _laid_out(images: Tensor) -> Tensor:
    """Channels last, where this machine's kernels want it; a traced graph leaves that to its runtime."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call,attr-defined]
    if traced or not (images.device.type == "cuda" or can_pack()):
        return images
    return images.contiguous(memory_format=channels_last(images))


def _copied(x: Map) -> Map:
    return None if x[0] is None else x[0].clone(), None if x[1] is None else x[1].clone()
