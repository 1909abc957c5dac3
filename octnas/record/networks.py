"""Users' networks of a run: their tables as they were when it began, which resuming must find again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from octnas.backbones import LayerTable, is_users, layer_table
from octnas.errors import ConversionError, RunError

__all__ = ["check_networks", "fingerprint", "networks"]

_SAID = (
    "name",
    "reads",
    "in_channels",
    "out_channels",
    "channels",
    "kernel",
    "kernel_time",
    "stride",
    "stride_time",
    "dilation",
    "dilation_time",
    "groups",
    "layout",
    "slot",
    "activation",
    "what",
    "how",
)
"""What a fingerprint has of a node; not the line in the user's file, which moves with a comment."""


def fingerprint(table: LayerTable) -> str:
    """12 hexadecimal digits that are equal for equal layers in equal order."""
    nodes = [
        [
            type(node).__name__,
            *([key, getattr(node, key)] for key in _SAID if getattr(node, key, None) is not None),
        ]
        for node in table.nodes
    ]
    return hashlib.sha256(json.dumps(nodes).encode()).hexdigest()[:12]


def networks(backbones: Iterable[str]) -> dict[str, str]:
    """The fingerprint of each user's network among some backbones, as its factory makes it by itself."""
    return {name: fingerprint(layer_table(name)) for name in backbones if is_users(name)}


def check_networks(run: str, header: Mapping[str, Any]) -> None:
    """The users' networks of a run are those that it began with.

    Args:
        header: the values of its header.

    Raises:
        RunError: one cannot be made any more, or the user's code now makes another.
    """
    for name, before in (header.get("options") or {}).get("networks", {}).items():
        try:
            now = networks([name])[name]
        except ConversionError as error:
            raise RunError(f"run {run!r} needs the network {name}: {error}") from None
        if now != before:
            raise RunError(
                f"{name} must be the network that {run!r} began with, fingerprint {before}, but its code "
                f"now makes another, {now}: restore it, or search under another name"
            )
