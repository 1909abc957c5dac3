"""What the operations of a node depend on: the slots that split what it reads, and its output's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from octnas.backbones import Add, Concat, Conv, LayerTable, Node, Plain

__all__ = ["Touched", "all_reads", "lows_of", "split_reads", "touched"]


class Touched(NamedTuple):
    """The slots on which a node's operations depend."""

    sources: tuple[int, ...]
    """Those that split what it reads, ascending, as often as it reads their channels; it matters how many low
    channels they have together."""
    own: int | None
    """Its output's; None where that is never split or has the partition of what is read."""
    tied: bool = False
    """Whether what is written has the low channels of what is read."""

    def low_out(self, low_in: int, own: int) -> int:
        """Low channels of the output, of those that are read and those of its own slot."""
        return low_in if self.tied else own


def touched(table: LayerTable, node: Node) -> Touched:
    """The slots on which the operations of a node depend."""
    own: int | None = None
    match node:
        case Add():
            body, slots = (table.source_slots(name) for name in node.reads)
            if len(body) > 1:  # its shortcut is split in the same way
                return Touched(tuple(sorted(body)), None, tied=True)
            own = body[0] if body else None
        case Concat():
            slots = table.source_slots(node.name)
        case Conv():
            slots, own = table.source_slots(node.reads), node.slot
        case _:
            slots = tuple(slot for name in split_reads(node) for slot in table.source_slots(name))
    return Touched(tuple(sorted(slots)), own, tied=slots == (own,))


def all_reads(node: Node) -> tuple[str, ...]:
    """Names of all that a node reads."""
    return (node.reads,) if isinstance(node.reads, str) else node.reads


def split_reads(node: Node) -> tuple[str, ...]:
    """The maps on whose low channels the operations of a node depend that is no sum."""
    if isinstance(node, Plain):
        return node.reads if node.lifts else ()
    return all_reads(node)[:1]


def lows_of(table: LayerTable, node: Node, lows: Mapping[str, int]) -> tuple[int, int]:
    """Low channels of what a node reads and writes, as `node_ops` takes them."""
    match node:
        case Add():
            return lows[node.reads[1]], lows[node.reads[0]]
        case Concat():
            return lows[node.name], lows[node.name]
        case _:
            return sum(lows[name] for name in split_reads(node)), lows[node.name]
