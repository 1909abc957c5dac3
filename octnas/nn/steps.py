"""The walk over a layer table: everything that can be known of it before the first image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from octnas.backbones import Activation, Add, Concat, Conv, Head, LayerTable, Node, Norm, Pool
from octnas.nn.maps import Size, half

__all__ = ["Path", "Sizes", "Step", "Walk", "reads_of", "walk_of"]

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A node of the table. Registers hold the live maps, numbers of `Sizes` the nominal sizes."""

    node: Node
    reads: tuple[int, ...]
    """Registers of the inputs."""
    writes: int
    """Register of the output; an input's own, where that is its last use."""
    frees: tuple[int, ...]
    """Registers of which this was the last use."""
    size: int
    """Nominal size of the (first) input."""
    size_out: int
    """Nominal size of the output."""
    module: Path = ()
    norm: Path = ()
    activation: Activation | None = None
    low: int = 0
    """Low channels of the output."""


class Sizes:
    """The nominal sizes that occur in a network, each computed once from an earlier one."""

    def __init__(self) -> None:
        self._rules: list[tuple[int, bool]] = []
        """Each size but the first: that it is half of, and whether rounded down."""

    def halved(self, size: int, *, floor: bool) -> int:
        """The number of the size that is half of another."""
        rule = size, floor
        if rule not in self._rules:
            self._rules.append(rule)
        return 1 + self._rules.index(rule)

    def of(self, size: Size) -> list[Size]:
        """All sizes (H, W) in px for inputs of this size, by number."""
        found = [size]
        for number, floor in self._rules:
            height, width = found[number]
            found.append((height // 2, width // 2) if floor else half((height, width)))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The steps in their order."""

    steps: tuple[Step, ...]
    registers: int
    sizes: Sizes


def reads_of(node: Node) -> tuple[str, ...]:
    """Names of the maps that a node reads."""
    return (node.reads,) if isinstance(node.reads, str) else node.reads


def walk_of(table: LayerTable, lows: Mapping[str, int]) -> Walk:
    """Orders the nodes with their registers: a map's register is free again after its last reader.

    Args:
        lows: low channels of every node's output.
    """
    last_reader = {name: i for i, node in enumerate(table.nodes) for name in reads_of(node)}
    register, size = {"input": 0}, {"input": 0}
    sizes = Sizes()
    steps: list[Step] = []
    free: list[int] = []
    used = 1
    for i, node in enumerate(table.nodes):
        reads = reads_of(node)
        frees = tuple({register[name]: None for name in reads if last_reader[name] == i})
        free += frees
        if free:
            register[node.name] = free.pop()
        else:
            register[node.name], used = used, used + 1
        size[node.name] = size[reads[0]]
        if isinstance(node, Conv | Pool) and node.stride == 2:
            floor = isinstance(node, Pool) and node.floor
            size[node.name] = sizes.halved(size[reads[0]], floor=floor)
        steps.append(
            Step(
                node=node,
                reads=tuple(register[name] for name in reads),
                writes=register[node.name],
                frees=frees,
                size=size[reads[0]],
                size_out=size[node.name],
                module=() if isinstance(node, Add | Concat) else tuple(node.name.split(".")),
                norm=tuple(node.norm.split(".")) if isinstance(node, Conv) and node.norm else (),
                activation=node.activation if isinstance(node, Conv | Norm | Add) else None,
                low=lows[node.name],
            )
        )
    assert isinstance(table.nodes[-1], Head)
    return Walk(steps=tuple(steps), registers=used, sizes=sizes)
