"""Networks that were converted as they stand, without a factory: their tables, by their names."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from octnas.backbones import Family, Plain
from octnas.errors import ArchitectureError, FactoryError
from octnas.trace.table import TracedTable

__all__ = ["PREFIX", "known", "named", "remember"]

PREFIX = "convert:"
_TABLES: dict[str, TracedTable] = {}


def named(table: TracedTable, class_name: str) -> str:
    """The name of a network without a factory: that of its class, and a digest of its layers."""
    # not where they stand: the name stays when the user's code moves
    nodes = [replace(node, where="") if isinstance(node, Plain) else node for node in table.nodes]
    digest = hashlib.sha256(repr((nodes, table.in_channels)).encode()).hexdigest()[:8]
    return f"{PREFIX}{class_name}-{digest}"


def remember(table: TracedTable) -> None:
    """Lets the architectures of a converted network find its table, in this process."""
    _TABLES.setdefault(table.backbone, table)


def known(name: str) -> Family | None:
    """The family of a name that `named` gave; None for any other name.

    Raises:
        FactoryError: the network was converted in another process.
    """
    if not name.startswith(PREFIX):
        return None
    if name not in _TABLES:
        raise FactoryError(
            f"{name} was converted in another process, and this one does not know its layers: convert the "
            "module here, or write a factory for it and name it package.module:factory"
        )
    table = _TABLES[name]

    def only(backbone: str, **settings: Any) -> TracedTable:
        if settings.get("width", table.width) != table.width:
            raise ArchitectureError(
                f"{name} has one width: write a factory with `width` for it, package.module:factory"
            )
        return table

    def none(**settings: Any) -> Any:
        raise ArchitectureError(
            f"{name} has no factory that makes a fresh network: octnas.convert(module, architecture=...) "
            "makes others of yours, and package.module:factory can be built"
        )

    frames = table.input_shape[1] if table.dims == 3 else 1
    return Family(
        members=(name,),
        table=only,
        dims=table.dims,
        side=table.input_shape[-1],
        frames=frames,
        channels=table.in_channels,
        classes=table.num_classes,
        network=none,
        takes_width=False,
    )
