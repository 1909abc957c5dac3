"""A layer table without what does nothing in evaluation mode: what deployed networks are made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from octnas.backbones import Elementwise, LayerTable, Node

__all__ = ["still"]

_IDENTITIES = {
    "AlphaDropout",
    "DropPath",
    "Dropout",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
    "Identity",
    "StochasticDepth",
    "alpha_dropout",
    "dropout",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
}
"""What an `Elementwise` calls that gives in evaluation mode what it reads."""


def still(table: LayerTable, keep: Collection[str] = ()) -> LayerTable:
    """The table whose nodes read what stands before a dropout and the like; those are not there.

    Args:
        keep: names of nodes that stay, as does the last one.
    """
    source: dict[str, str] = {}
    nodes: list[Node] = []
    for i, node in enumerate(table.nodes):
        here = _reading(node, source)
        free = here.name not in keep and i < len(table.nodes) - 1
        if free and isinstance(here, Elementwise) and here.what in _IDENTITIES:
            source[here.name] = here.reads
        else:
            nodes.append(here)
    return replace(table, nodes=tuple(nodes)) if source else table


def _reading(node: Node, source: Mapping[str, str]) -> Node:
    if isinstance(node.reads, str):
        return replace(node, reads=source[node.reads]) if node.reads in source else node
    if not any(name in source for name in node.reads):
        return node
    return replace(node, reads=tuple(source.get(name, name) for name in node.reads))  # type: ignore[arg-type]
