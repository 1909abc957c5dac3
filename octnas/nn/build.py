"""The network of an architecture: a static walk over the backbone's layer table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.backbones import Add, Conv, Head, MaxPool
from octnas.nn.maps import Map, half, repartition
from octnas.nn.norm import OctBatchNorm2d
from octnas.nn.octconv import OctConv2d

__all__ = ["OctaveNetwork", "build"]

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A node with everything that can be known before the first image. Registers hold the live maps."""

    node: Conv | MaxPool | Add | Head
    reads: tuple[int, ...]
    """Registers of the inputs."""
    writes: int
    """Register of the output; an input's own, where that is its last use."""
    frees: tuple[int, ...]
    """Registers of which this was the last use."""
    halvings: int
    """How often the nominal size of the (first) input is the network's input halved."""
    module: Path = ()
    norm: Path = ()
    relu: bool = False
    low: int = 0
    """Low channels of the output."""


class OctaveNetwork(nn.Module):
    """An architecture as a network: images (B, in_channels, H, W) to logits (B, num_classes).

    Any H and W work. Modules stand at torchvision's paths with torchvision's shapes, so a torchvision state
    dict of the same backbone loads strictly, whatever the low channels. Initialised as torchvision's ResNets.
    """

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
        lows = {
            name: 0 if slot is None else architecture.low_channels[slot]
            for name, slot in self.table.source_slots.items()
        }
        for node in self.table.nodes:
            match node:
                case Conv():
                    assert node.groups == 1, "grouped layers need the grouped layout on both sides"
                    conv = OctConv2d(
                        node.in_channels,
                        node.out_channels,
                        node.kernel,
                        low_in=lows[node.reads],
                        low_out=lows[node.name],
                        stride=node.stride,
                        padding=node.padding,
                        # The stem strides in every network: only searched layers differ in downsampling.
                        downsample="strided" if node.slot is None else architecture.downsample,
                    )
                    self._register(node.name, conv)
                    self._register(node.norm, OctBatchNorm2d(node.out_channels, lows[node.name]))
                case MaxPool():
                    self._register(node.name, nn.MaxPool2d(3, stride=2, padding=1))
                case Head():
                    self._register(node.name, nn.Linear(node.in_channels, node.out_channels))
                case Add():
                    continue
        self._steps = self._plan(lows)
        self._registers = 1 + max(step.writes for step in self._steps)
        self._halvings = max(step.halvings for step in self._steps)
        self.reset_parameters(zero_init_residual=zero_init_residual)

    def reset_parameters(self, *, zero_init_residual: bool = False) -> None:
        """He initialisation by fan-out for convolutions, 1 and 0 for normalisation, as torchvision does.

        Args:
            zero_init_residual: begin the last normalisation of every residual body at 0, so that a block is
                its shortcut at first (Goyal et al. 2017, section 5.1) and deep networks learn from the start.
        """
        for module in self.modules():
            if isinstance(module, OctConv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, OctBatchNorm2d | nn.Linear):
                module.reset_parameters()
        if zero_init_residual:
            norms = {conv.name: conv.norm for conv in self.table.convs}
            for node in self.table.nodes:
                if isinstance(node, Add):
                    nn.init.zeros_(self.get_parameter(f"{norms[node.reads[0]]}.weight"))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) to logits (B, num_classes)."""
        sizes = [(x.shape[-2], x.shape[-1])]
        for _ in range(self._halvings):
            sizes.append(half(sizes[-1]))
        maps: list[Map] = [(None, None)] * self._registers
        maps[0] = (x, None)
        del x
        for step in self._steps:
            here = maps[step.reads[0]]
            match step.node:
                case Conv():
                    here = self._at(step.module)(here, sizes[step.halvings])
                    here = self._at(step.norm)(here)
                case Add():
                    here = _sum(here, repartition(maps[step.reads[1]], step.low, sizes[step.halvings]))
                case MaxPool():
                    here = self._at(step.module)(here[0]), None
                case Head():
                    return cast(Tensor, self._at(step.module)(_vector(here)))
            for register in step.frees:
                maps[register] = (None, None)
            maps[step.writes] = _relu(here) if step.relu else here
        raise AssertionError("a layer table ends in its head")

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

    def _plan(self, lows: dict[str, int]) -> tuple[_Step, ...]:
        """Orders the nodes with their registers: a map's register is free again after its last reader."""
        nodes = self.table.nodes
        last_reader: dict[str, int] = {}
        for i, node in enumerate(nodes):
            for name in _reads(node):
                last_reader[name] = i
        register, halvings = {"input": 0}, {"input": 0}
        steps: list[_Step] = []
        free: list[int] = []
        used = 1
        for i, node in enumerate(nodes):
            reads = _reads(node)
            frees = tuple({register[name]: None for name in reads if last_reader[name] == i})
            free += frees
            if free:
                register[node.name] = free.pop()
            else:
                register[node.name], used = used, used + 1
            stride = 2 if isinstance(node, MaxPool) else node.stride if isinstance(node, Conv) else 1
            halvings[node.name] = halvings[reads[0]] + (stride == 2)
            steps.append(
                _Step(
                    node=node,
                    reads=tuple(register[name] for name in reads),
                    writes=register[node.name],
                    frees=frees,
                    halvings=halvings[reads[0]],
                    module=() if isinstance(node, Add) else tuple(node.name.split(".")),
                    norm=tuple(node.norm.split(".")) if isinstance(node, Conv) else (),
                    relu=node.relu if isinstance(node, Conv) else isinstance(node, Add),
                    low=lows[node.name],
                )
            )
        return tuple(steps)


def build(
    arch: Architecture, num_classes: int = 1000, in_channels: int = 3, *, zero_init_residual: bool = False
) -> OctaveNetwork:
    """The network of an architecture, with fresh weights; see `OctaveNetwork.reset_parameters`.

    torchvision's state dict of the same backbone loads strictly, and with no low channels and strided
    downsampling the network equals torchvision's.
    """
    return OctaveNetwork(
        arch, num_classes=num_classes, in_channels=in_channels, zero_init_residual=zero_init_residual
    )


def _reads(node: Conv | MaxPool | Add | Head) -> tuple[str, ...]:
    return node.reads if isinstance(node, Add) else (node.reads,)


def _relu(x: Map) -> Map:
    # In place: the input is a normalised map or a sum that nothing else reads.
    high, low = x
    return None if high is None else high.relu_(), None if low is None else low.relu_()


def _sum(body: Map, shortcut: Map) -> Map:
    # In place on the body's normalised map, which nothing else reads.
    (high, low), (high_too, low_too) = body, shortcut
    return (
        None if high is None or high_too is None else high.add_(high_too),
        None if low is None or low_too is None else low.add_(low_too),
    )


def _vector(x: Map) -> Tensor:
    """Global average of both branches in channel order: (B, C)."""
    means = [branch.mean((2, 3)) for branch in x if branch is not None]
    return means[0] if len(means) == 1 else torch.cat(means, 1)
