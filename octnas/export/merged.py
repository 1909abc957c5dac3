"""The steps of a deployed network: which sums are part of a layer, and until when a map is needed."""

from __future__ import annotations

from dataclasses import dataclass

from octnas.backbones import Add, Concat, Conv, Elementwise, Excite, Head, LayerTable, Node, Norm, Plain, Pool
from octnas.costs.plans import is_inside
from octnas.nn.steps import reads_of

__all__ = ["Merged", "merged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A node of a layer table, with the residual sum that is part of its layer where there is one."""

    node: Node
    add: Add | None = None
    owned: bool = False
    """Whether nothing reads the shortcut afterwards, so that the sum may be written to it."""
    frees: tuple[str, ...] = ()
    """Maps and values that nothing reads afterwards."""

    @property
    def writes(self) -> str:
        """Name of what comes out."""
        return self.node.name if self.add is None else self.add.name

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of all that goes in, the shortcut last."""
        return reads_of(self.node) if self.add is None else (*reads_of(self.node), self.add.reads[1])


def merged(table: LayerTable) -> list[Merged]:
    """The nodes but a head in order; a layer with its block's sum inside stands where the sum is.

    What a sum adds is there by then. A sum that is inside no layer (`is_inside`) stands by itself.
    """
    named = {node.name: node for node in table.nodes}
    ends = {node.reads[0]: node for node in table.nodes if isinstance(node, Add) and is_inside(table, node)}
    inside = {add.name for add in ends.values()}
    found: list[Merged] = []
    for node in table.nodes:
        if isinstance(node, Add) and node.name in inside:
            found.append(Merged(node=named[node.reads[0]], add=node))
        elif not isinstance(node, Head) and node.name not in ends:
            found.append(Merged(node=node))
    return _with_ends(table, found)


def _with_ends(table: LayerTable, steps: list[Merged]) -> list[Merged]:
    """The steps with what each is the last to read; the last step's output is read by the caller."""
    last = {name: i for i, step in enumerate(steps) for name in step.reads}
    frees: list[list[str]] = [[] for _ in steps]
    for name, i in last.items():
        frees[i].append(name)
    own = _own_memory(table)
    return [
        Merged(
            node=step.node,
            add=step.add,
            owned=step.add is not None and step.add.reads[1] in own and step.add.reads[1] in gone,
            frees=tuple(gone),
        )
        for step, gone in zip(steps, frees, strict=True)
    ]


def _own_memory(table: LayerTable) -> set[str]:
    """The maps in memory that no other map or value may lie in."""
    own = {
        node.name
        for node in table.nodes
        if isinstance(node, Conv | Norm | Add | Concat | Excite)
        or (isinstance(node, Pool) and node.kernel * node.kernel_time > 1)
    }
    for node in table.nodes:
        if isinstance(node, Plain | Elementwise):
            own.difference_update(reads_of(node))  # a call may give what it reads, or a part of it
    return own
