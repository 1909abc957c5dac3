"""The network of an architecture: a static walk over the backbone's layer table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.backbones import Add, Concat, Conv, Dims, Excite, Head, Node, Norm, Pool
from octnas.errors import ArchitectureError
from octnas.nn.initial import initialise
from octnas.nn.layers import Excitation, OctPool, activated, concatenated, means, summed
from octnas.nn.maps import Map, repartition
from octnas.nn.norm import OctaveNorm, OctBatchNorm2d, OctBatchNorm3d
from octnas.nn.octconv import OctaveConv, OctConv2d, OctConv3d
from octnas.nn.steps import Path, reads_of, walk_of
from octnas.nn.twins import on_same_parameters

__all__ = ["OctaveNetwork"]


class OctaveNetwork(nn.Module):
    """An architecture as a network: images (B, in_channels, H, W) to logits (B, num_classes).

    Any H and W work. A 3D backbone takes clips and volumes instead, (B, in_channels, T, H, W); a 2D one takes
    them too, frame by frame, and classifies by the mean of the frames' features.

    Modules stand at torchvision's paths with torchvision's shapes, so a torchvision state dict of the same
    backbone loads strictly, whatever the low channels. Initialised as torchvision's network of that family.
    """

    _head_order: Tensor | None

    def __init__(
        self,
        architecture: Architecture,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.table = architecture.table(in_channels=in_channels, num_classes=num_classes)
        self.dims: Dims = self.table.dims
        self._lows = self.table.lows(architecture.low_channels)
        for node in self.table.nodes:
            for path, module in self._modules_of(node):
                self._register(path, module)
        self._arrange()
        self.reset_parameters(zero_init_residual=zero_init_residual)

    def _arrange(self) -> None:
        # Where the last map is a concatenation, the features go to the classifier in channel order.
        order = self._order(reads_of(self.table.nodes[-1])[0])
        places = None if order is None else torch.tensor(sorted(range(len(order)), key=order.__getitem__))
        self.register_buffer("_head_order", places, persistent=False)
        self._walk = walk_of(self.table, self._lows)

    def twin(self, architecture: Architecture) -> OctaveNetwork:
        """The network of another architecture on the very parameters of this one.

        No weight is drawn, copied or checked, so that it is made in a small part of the time of `build`. Its
        buffers are its own and as `build` leaves them, on the parameters' device; hooks stay behind.

        Args:
            architecture: of the same backbone, width and stem.
        """
        twin = cast(OctaveNetwork, on_same_parameters(self))
        twin.architecture = architecture
        lows = twin._lows = self.table.lows(architecture.low_channels)
        for node in self.table.nodes:
            match node:
                case Conv():
                    conv = cast(OctaveConv, twin.get_submodule(node.name))
                    conv.low_in, conv.low_out = self.table.low_in(node, lows), lows[node.name]
                    conv.downsample = "strided" if node.slot is None else architecture.downsample
                    conv.keep_orders(twin._order_in(node), twin._order_out(node))
                    norm = node.norm
                case Norm():
                    norm = node.name
                case Excite():
                    cast(Excitation, twin.get_submodule(node.name)).low = lows[node.name]
                    continue
                case _:
                    continue
            if norm is not None:
                cast(OctaveNorm, twin.get_submodule(norm)).divide(lows[node.name], twin._order(node.name))
        twin._arrange()
        return twin

    def reset_parameters(self, *, zero_init_residual: bool = False) -> None:
        """He initialisation for convolutions, 1 and 0 for normalisation, as torchvision does.

        Args:
            zero_init_residual: begin the last normalisation of every residual body at 0, so that a block is
                its shortcut at first (Goyal et al. 2017, section 5.1) and deep networks learn from the start.
        """
        initialise(self, self.table, zero_init_residual=zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) or clips (B, in_channels, T, H, W) to logits (B, num_classes)."""
        frames = self._frames(x)
        if frames is not None:
            x = x.transpose(1, 2).flatten(0, 1)
        sizes = self._walk.sizes.of((x.shape[-2], x.shape[-1]))
        maps: list[Map] = [(None, None)] * self._walk.registers
        maps[0] = (x, None)
        del x
        for step in self._walk.steps:
            here = maps[step.reads[0]]
            match step.node:
                case Conv(depthwise=depthwise):
                    if depthwise:
                        here = repartition(here, step.low, sizes[step.size])
                    here = self._at(step.module)(here, sizes[step.size])
                    if step.norm:
                        here = self._at(step.norm)(here)
                case Norm() | Excite():
                    here = self._at(step.module)(here)
                case Add():
                    here = summed(here, repartition(maps[step.reads[1]], step.low, sizes[step.size]))
                case Concat():
                    here = concatenated([maps[register] for register in step.reads])
                case Pool():
                    here = self._at(step.module)(here, sizes[step.size_out])
                case Head():
                    return cast(Tensor, self._at(step.module)(self._features(here, frames)))
            for register in step.frees:
                maps[register] = (None, None)
            maps[step.writes] = activated(here, step.activation)
        raise AssertionError("a layer table ends in its head")

    def _frames(self, x: Tensor) -> int | None:
        """Frames of a clip that runs through a 2D network."""
        if self.dims == 3 and x.dim() != 5:
            raise ArchitectureError(
                f"{self.architecture.backbone} reads clips (B, C, T, H, W), but got a tensor of {x.dim()} "
                "dimensions: choose a 2D backbone for still images"
            )
        return x.shape[2] if self.dims == 2 and x.dim() == 5 else None

    def _features(self, x: Map, frames: int | None) -> Tensor:
        """What the classifier reads: (B, C), in channel order."""
        features = means(x)
        if frames is not None:
            features = torch.unflatten(features, 0, (-1, frames)).mean(1)
        return features if self._head_order is None else features.index_select(1, self._head_order)

    def _at(self, path: Path) -> nn.Module:
        # By name at each call, so that a module that was replaced (folded, wrapped, quantised) is honoured.
        module: nn.Module = self
        for name in path:
            module = cast(nn.Module, module._modules[name])
        return module

    def _register(self, path: str, module: nn.Module) -> None:
        *parents, name = path.split(".")
        here: nn.Module = self
        for parent in parents:
            if parent not in here._modules:
                here.add_module(parent, nn.Module())
            here = cast(nn.Module, here._modules[parent])
        here.add_module(name, module)

    def _order(self, name: str) -> tuple[int, ...] | None:
        return self.table.channel_order(name, self.architecture.low_channels)

    def _modules_of(self, node: Node) -> Iterator[tuple[str, nn.Module]]:
        """The modules of a node with their paths."""
        match node:
            case Conv():
                yield node.name, self._conv(node)
                if node.norm is not None:
                    yield node.norm, self._norm(node.out_channels, node.name)
            case Norm():
                yield node.name, self._norm(node.channels, node.name)
            case Excite():
                assert self._order(node.name) is None, "an excited map is no concatenation"
                yield node.name, Excitation(node.channels, node.squeezed, self._lows[node.name])
            case Pool():
                yield node.name, OctPool(node)
            case Head():
                yield node.name, nn.Linear(node.in_channels, node.out_channels)
            case Add() | Concat():
                return

    def _norm(self, channels: int, name: str) -> nn.Module:
        kind = OctBatchNorm2d if self.dims == 2 else OctBatchNorm3d
        return kind(channels, self._lows[name], order=self._order(name))

    def _conv(self, node: Conv) -> nn.Module:
        kind = OctConv2d if self.dims == 2 else OctConv3d
        time = (
            ((), (), ())
            if self.dims == 2
            else ((node.kernel_time,), (node.stride_time,), (node.padding_time,))
        )
        return kind(
            node.in_channels,
            node.out_channels,
            (*time[0], node.kernel, node.kernel),
            low_in=self.table.low_in(node, self._lows),
            low_out=self._lows[node.name],
            stride=(*time[1], node.stride, node.stride),
            padding=(*time[2], node.padding, node.padding),
            dilation=(*([node.dilation_time] if self.dims == 3 else []), node.dilation, node.dilation),
            groups=node.groups,
            # The stem strides in every network: only searched layers differ in downsampling.
            downsample="strided" if node.slot is None else self.architecture.downsample,
            order_in=self._order_in(node),
            order_out=self._order_out(node),
        )

    def _order_in(self, node: Conv) -> tuple[int, ...] | None:
        return None if node.groups > 1 else self._order(node.reads)

    def _order_out(self, node: Conv) -> tuple[int, ...] | None:
        return None if node.depthwise else self._order(node.name)
