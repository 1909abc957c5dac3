"""The layer table of a user's network, whose sizes are what PyTorch says they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from octnas.backbones import LayerTable, Node, Plain
from octnas.errors import ConversionError
from octnas.trace.measure import Measured, Ruler

__all__ = ["TracedTable"]


@dataclass(frozen=True, kw_only=True)
class TracedTable(LayerTable):
    """A layer table that was read off a module. Tables of equal nodes are equal.

    `input_shape` is (C, H, W) or (C, T, H, W), at which it was read; the nodes are the same at any other.
    """

    input_shape: tuple[int, ...]
    values: Mapping[str, str] = field(repr=False, compare=False)
    """For each node, the name of its value in the graph."""
    ruler: Ruler | None = field(repr=False, compare=False)
    """None in a copy from another process, which knows the sizes that were asked for before."""
    known: dict[tuple[int, ...], Measured] = field(default_factory=dict, repr=False, compare=False)

    def sizes(self, height: int, width: int) -> dict[str, tuple[int, int]]:
        """Height and width in px of every node's (nominal) output map, (1, 1) of what is none.

        Raises:
            ConversionError: the network cannot take this size; names the layer.
        """
        found = self._shapes((*self.input_shape[:-2], height, width))
        sizes = {name: _size(shape, self.dims) for name, shape in found.items()}
        return {"input": (height, width), **sizes}

    def frames(self, frames: int) -> dict[str, int]:
        """Frames of every node's output map for clips of so many; a 2D network runs on them one by one."""
        if self.dims == 2:
            return dict.fromkeys(("input", *self.values), frames)
        channels, _, height, width = self.input_shape
        found = self._shapes((channels, frames, height, width))
        times = {name: shape[2] if len(shape) == 5 else 1 for name, shape in found.items()}
        return {"input": frames, **times}

    def plain_macs(self, input_shape: Sequence[int]) -> Mapping[str, int]:
        """Multiply-adds at batch 1 of every `Plain` node that has any, for (C, H, W) or (C, T, H, W).

        Of a 2D network, those of one frame.
        """
        shape = tuple(input_shape)
        if self.dims == 2 and len(shape) == 4:
            shape = (shape[0], *shape[2:])
        macs = self._measured(shape).macs
        counts = {node.name: macs.get(self.values[node.name], 0) for node in self.nodes if _is_plain(node)}
        return {name: count for name, count in counts.items() if count}

    @cached_property
    def own(self) -> Measured:
        """What was measured at `input_shape`."""
        return self._measured(self.input_shape)

    def truncated(self, nodes: Sequence[Node]) -> TracedTable:
        """The same table with some of its nodes, the first ones in order."""
        return replace(self, nodes=tuple(nodes))

    def _shapes(self, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        shapes = self._measured(input_shape).shapes
        return {name: shapes.get(value, ()) for name, value in self.values.items()}

    def _measured(self, shape: tuple[int, ...]) -> Measured:
        if shape not in self.known:
            if self.ruler is None:
                raise ConversionError(
                    f"the sizes of {self.backbone} at an input of {'x'.join(map(str, shape))} are not known "
                    "to this copy of it: run it at that size before it is copied, or convert it here"
                )
            self.known[shape] = self.ruler.at(shape)
        return self.known[shape]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "ruler": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> TracedTable:
        return self


def _is_plain(node: Node) -> bool:
    return isinstance(node, Plain)


def _size(shape: tuple[int, ...], dims: int) -> tuple[int, int]:
    return (shape[-2], shape[-1]) if len(shape) == dims + 2 else (1, 1)
