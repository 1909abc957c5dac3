"""A user's network with octave layers in the place of theirs: a walk over the table that was read off it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from octnas.architecture import Architecture
from octnas.backbones import (
    Add,
    Concat,
    Conv,
    Elementwise,
    Gate,
    LayerTable,
    Node,
    Norm,
    Plain,
    Pool,
    Squeeze,
)
from octnas.errors import ArchitectureError
from octnas.nn.layers import OctPool, activated, concatenated, summed
from octnas.nn.maps import Map, Size, repartition
from octnas.nn.network import OctaveNetwork
from octnas.nn.norm import OctaveNorm
from octnas.nn.octconv import OctaveConv
from octnas.nn.plain import gated, raised, squeezed
from octnas.nn.steps import reads_of

__all__ = ["ConvertedNetwork"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A node of the table and what it needs to run."""

    node: Node
    frees: tuple[str, ...]
    """What nothing reads afterwards."""
    low: int
    """Low channels of the output."""
    owned: bool = False
    """Of a sum: whether nothing else reads its body, which may be written to."""


class ConvertedNetwork(OctaveNetwork):
    """A user's network with octave convolutions: it takes what theirs takes and gives what theirs gives.

    Their modules stand at their paths, convolutions and batch-norms of the table replaced by octave ones on
    the same parameters, so that the state dict has the same keys and shapes, whatever the low channels. With
    no low channels and strided downsampling it equals theirs. A 2D network takes clips too, frame by frame,
    and gives the mean of the frames' logits.

    Args:
        table: of the architecture's backbone, as it was read off a module like `source`.
        source: the user's module; it is taken apart and must not be used any more.
        features: return the maps of the stages, at full resolution, and not what the network returns.
    """

    def __init__(
        self, architecture: Architecture, *, table: LayerTable, source: nn.Module, features: bool = False
    ) -> None:
        nn.Module.__init__(self)
        self.architecture, self.table, self.dims = architecture, table, table.dims
        self._lows = table.lows(architecture.low_channels)
        # Not by `add_module`: a child of theirs may be called like an attribute of ours.
        self._modules.update(source._modules)
        self._parameters.update(source._parameters)
        self._buffers.update(source._buffers)
        self._non_persistent_buffers_set.update(source._non_persistent_buffers_set)
        for node in table.nodes:
            match node:
                case Conv():
                    self._replace_conv(node)
                    if node.norm is not None:
                        self._replace_norm(node.norm, node.name)
                case Norm():
                    self._replace_norm(node.name, node.name)
        self._pools = {node.name: OctPool(node) for node in table.nodes if isinstance(node, Pool)}
        self._taps = stage_ends(table) if features else ()
        self._arrange()
        self.training = source.training

    def forward(self, x: Tensor) -> Any:
        """Images (B, C, H, W) or clips (B, C, T, H, W) to what the user's network returns, such as logits.

        With `features`, to a list of maps (B, C, [T,] H, W), one a stage.
        """
        frames = self._frames(x)
        if frames is not None:
            x = x.transpose(1, 2).flatten(0, 1)
        sizes = self._sizes((x.shape[-2], x.shape[-1]))
        values: dict[str, Any] = {"input": (x, None)}
        taps: dict[str, Tensor] = {}
        here: Any = None
        for step in self._steps:
            here = self._run(step, values, sizes)
            name = step.node.name
            if name in self._taps:
                taps[name] = raised(here, self._places(name), sizes[name])
            for freed in step.frees:
                del values[freed]
            values[name] = here
        if self._taps:
            maps = [taps[name] for name in self._taps]
            return maps if frames is None else [_clips(each, frames) for each in maps]
        if frames is None:
            return here
        if not (isinstance(here, Tensor) and here.dim() == 2):
            raise ArchitectureError(
                f"{self.architecture.backbone} gives no logits (B, classes), of which the mean over frames "
                "could be taken: give it still images"
            )
        return torch.unflatten(here, 0, (-1, frames)).mean(1)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The nodes whose maps `forward` returns; none where it returns what the user's network does."""
        return self._taps

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """Channels of the maps that `forward` returns, one number a stage."""
        return tuple(self.table.channels(name) for name in self._taps)

    def get_submodule(self, target: str) -> nn.Module:
        """The module at a path. By children alone: a child of the user's may hide behind an attribute."""
        return self._at(tuple(target.split("."))) if target else self

    def reset_parameters(self, *, zero_init_residual: bool = False) -> None:
        """Fresh weights as each layer's own `reset_parameters` draws them."""
        for module in self.modules():
            if module is not self and callable(getattr(module, "reset_parameters", None)):
                cast(Any, module).reset_parameters()

    def _run(self, step: _Step, values: dict[str, Any], sizes: dict[str, Size]) -> Any:
        node = step.node
        match node:
            case Conv():
                here = repartitioned = self._map(values, node.reads)
                if node.depthwise:
                    repartitioned = repartition(here, step.low, sizes[node.reads])
                here = self._at(tuple(node.name.split(".")))(repartitioned, sizes[node.reads])
                if node.norm is not None:
                    here = self._at(tuple(node.norm.split(".")))(here)
                return activated(here, node.activation)
            case Norm():
                here = self._at(tuple(node.name.split(".")))(self._map(values, node.reads))
                return activated(here, node.activation)
            case Pool():
                return self._pools[node.name](self._map(values, node.reads), sizes[node.name])
            case Add():
                body, shortcut = (self._map(values, name) for name in node.reads)
                shortcut = repartition(shortcut, step.low, sizes[node.name])
                here = summed(body, shortcut) if step.owned else _sum(body, shortcut)
                return activated(here, node.activation)
            case Concat():
                return concatenated([self._map(values, name) for name in node.reads])
            case Elementwise():
                return self._elementwise(node, self._map(values, node.reads))
            case Squeeze():
                return squeezed(self._map(values, node.reads), self._places(node.reads), keeps=node.keeps)
            case Gate():
                vector = values[node.reads[1]]
                order = self._orders.get(node.name)
                return gated(
                    self._map(values, node.reads[0]), vector, node.what, self._buffer(order), step.low
                )
            case Plain():
                given = [self._dense(node, values, name, sizes) for name in node.reads]
                return self.table.calls[node.name](self, given)
        raise AssertionError(f"a user's network has no {type(node).__name__}")

    def _elementwise(self, node: Elementwise, x: Map) -> Map:
        call = self.table.calls[node.name]
        if not call.per_sample:
            return cast(Map, tuple(None if branch is None else call(self, [branch]) for branch in x))
        if not self.training:
            return x
        branch = x[0] if x[0] is not None else x[1]
        assert branch is not None
        factor = call(self, [branch.new_ones(branch.shape[0], *[1] * (branch.dim() - 1))])
        return cast(Map, tuple(None if each is None else each * factor for each in x))

    def _map(self, values: dict[str, Any], name: str) -> Map:
        """A value as a map: what is plain has no low channels."""
        value = values[name]
        return (value, None) if name in self._plain else cast(Map, value)

    def _dense(self, node: Plain, values: dict[str, Any], name: str, sizes: dict[str, Size]) -> Any:
        """What a plain node reads: a value as it is, a map at full resolution, or its shape alone."""
        if name in self._plain:
            return values[name]
        here = cast(Map, values[name])
        if node.sizes_only and here[1] is not None:
            branch = here[1]
            shape = (branch.shape[0], self.table.channels(name), *branch.shape[2:-2], *sizes[name])
            return torch.empty(shape, dtype=branch.dtype, device="meta")
        return raised(here, self._places(name), sizes[name])

    def _arrange(self) -> None:
        nodes = self.table.nodes
        self._plain = {node.name for node in nodes if isinstance(node, Squeeze | Plain)}
        self._size_of: dict[Size, dict[str, Size]] = {}
        last = {name: i for i, node in enumerate(nodes) for name in reads_of(node)}
        readers: dict[str, int] = {}
        for node in nodes:
            for name in reads_of(node):
                readers[name] = readers.get(name, 0) + 1
        named = {node.name: node for node in nodes}
        self._steps = tuple(
            _Step(
                node=node,
                frees=tuple(name for name in dict.fromkeys(reads_of(node)) if last[name] == i),
                low=0 if node.name in self._plain else self._lows[node.name],
                owned=isinstance(node, Add)
                and readers[node.reads[0]] == 1
                and node.reads[0] not in self._taps
                and _is_fresh(named.get(node.reads[0])),
            )
            for i, node in enumerate(nodes)
        )
        self._keep_orders()

    def _keep_orders(self) -> None:
        """Where plain values meet maps whose channels are not in their own order: buffers with the places.

        No part of the state dict, which does not depend on alpha.
        """
        self._orders: dict[str, str] = {}
        for node in self.table.nodes:
            if isinstance(node, Gate):
                self._keep(node.name, self._order(node.reads[0]))
            for name in reads_of(node) if isinstance(node, Plain | Squeeze) else ():
                if name not in self._plain and f"places of {name}" not in self._orders:
                    self._keep(f"places of {name}", _inverse(self._order(name)))
        for name in self._taps:
            if name not in self._plain:
                self._keep(f"places of {name}", _inverse(self._order(name)))

    def _keep(self, key: str, order: Sequence[int] | None) -> None:
        if order is None:
            return
        self._orders[key] = buffer = f"_octnas_order_{len(self._orders)}"
        device = next((parameter.device for parameter in self.parameters()), None)
        self._buffers[buffer] = torch.tensor(order, device=device)
        self._non_persistent_buffers_set.add(buffer)

    def _places(self, name: str) -> Tensor | None:
        return self._buffer(self._orders.get(f"places of {name}"))

    def _buffer(self, name: str | None) -> Tensor | None:
        return None if name is None else self._buffers[name]

    def _sizes(self, size: Size) -> dict[str, Size]:
        if size not in self._size_of:
            self._size_of[size] = self.table.sizes(*size)
        return self._size_of[size]

    def _replace_conv(self, node: Conv) -> None:
        theirs = self.get_submodule(node.name)
        assert isinstance(theirs, _ConvNd)
        with torch.device("meta"):  # nothing is drawn
            ours = cast(OctaveConv, self._conv(node))
        for name, parameter in theirs._parameters.items():
            setattr(ours, name, parameter)
        ours.keep_orders(self._order_in(node), self._order_out(node))
        self._put(node.name, ours, theirs)

    def _replace_norm(self, path: str, name: str) -> None:
        theirs = self.get_submodule(path)
        assert isinstance(theirs, _BatchNorm)
        with torch.device("meta"):
            ours = cast(OctaveNorm, self._norm(theirs.num_features, name))
        ours.eps, ours.momentum = theirs.eps, theirs.momentum
        ours._parameters.update(theirs._parameters)
        ours._buffers.update(theirs._buffers)
        ours._modules.update(theirs._modules)
        ours.divide(self._lows[name], self._order(name))
        self._put(path, ours, theirs)

    def _put(self, path: str, ours: nn.Module, theirs: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        self.get_submodule(parent)._modules[name] = ours.train(theirs.training)


def stage_ends(table: LayerTable) -> tuple[str, ...]:
    """The last map of each stage of a user's network that may be split, from stage 1 on.

    A concatenation, a normalisation or an activation of it is of its stage; a pooling is none.
    """
    splits = {(slot.stage, slot.block) for slot in table.slots}
    ends: dict[int, str] = {}
    for node in _maps(table):
        follows = not isinstance(node, Conv | Pool) and ends.get(node.stage) in reads_of(node)
        if follows or (node.stage, node.block) in splits:
            ends[node.stage] = node.name
    return tuple(ends.values())


def _maps(table: LayerTable) -> Iterator[Conv | Norm | Pool | Add | Concat | Elementwise | Gate]:
    for node in table.nodes:
        if isinstance(node, Conv | Norm | Pool | Add | Concat | Elementwise | Gate):
            yield node


def _is_fresh(node: Node | None) -> bool:
    """Whether what a node gives is a tensor of its own, which no gradient is computed from."""
    return isinstance(node, Gate) or (isinstance(node, Conv | Norm) and node.activation is None)


def _sum(first: Map, second: Map) -> Map:
    return cast(
        Map,
        tuple(None if a is None or b is None else a + b for a, b in zip(first, second, strict=True)),
    )


def _clips(x: Tensor, frames: int) -> Tensor:
    """Maps (B T, C, H, W) of single frames as (B, C, T, H, W)."""
    return torch.unflatten(x, 0, (-1, frames)).transpose(1, 2)


def _inverse(order: Sequence[int] | None) -> tuple[int, ...] | None:
    """For each channel the place at which `order` has it."""
    return None if order is None else tuple(sorted(range(len(order)), key=order.__getitem__))
