"""Backbones as layer tables. Nothing here imports a tensor library."""

from __future__ import annotations

from collections.abc import Callable

from octnas.backbones.resnet import RESNETS, resnet_table
from octnas.backbones.table import Add, Conv, Head, LayerTable, MaxPool, Node, Slot, Stem
from octnas.errors import unknown_name

__all__ = ["Add", "Conv", "Head", "LayerTable", "MaxPool", "Node", "Slot", "Stem", "layer_table", "names"]

_FAMILIES: dict[str, Callable[..., LayerTable]] = dict.fromkeys(RESNETS, resnet_table)


def names() -> tuple[str, ...]:
    """The backbones that can be built, by torchvision's names where torchvision has them."""
    return tuple(_FAMILIES)


def layer_table(
    name: str, *, width: int = 64, stem: Stem = "imagenet", in_channels: int = 3, num_classes: int = 1000
) -> LayerTable:
    """The layer table of a backbone.

    Args:
        name: a member of `names()`.
        width: channels of the first stage; 64 is the published network, 16 a quarter of its width.
        stem: "imagenet" (7x7, stride 2, max-pool) or "small" (3x3, stride 1).

    Raises:
        UnknownNameError: there is no such backbone.
    """
    if name not in _FAMILIES:
        raise unknown_name("backbone", name, _FAMILIES)
    return _FAMILIES[name](name, width=width, stem=stem, in_channels=in_channels, num_classes=num_classes)
