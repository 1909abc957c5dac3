"""The registry of backbones: which family has which name, and for which input it is published."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from octnas.backbones.densenet import DENSENETS, densenet_table
from octnas.backbones.mobilenet import MOBILENETS_V1, MOBILENETS_V2, mobilenet_v1_table, mobilenet_v2_table
from octnas.backbones.nodes import Dims
from octnas.backbones.resnet import RESNETS, resnet_table
from octnas.backbones.table import LayerTable, Stem
from octnas.backbones.video import CLIP_RESNETS, NON_LOCAL, clip_resnet_table, non_local_table
from octnas.errors import unknown_name

__all__ = [
    "Family",
    "default_input",
    "dims_of",
    "family_of",
    "find_elsewhere",
    "is_users",
    "layer_table",
    "names",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Backbones that one function builds."""

    members: Iterable[str]
    """Names, torchvision's where torchvision has them."""
    table: Callable[..., LayerTable]
    """(name, width=, stem=, in_channels=, num_classes=) to the layer table."""
    dims: Dims = 2
    side: int = 224
    """Side in px of the input behind the ImageNet stem."""
    frames: int = 8
    """Frames of a clip, where `dims` is 3."""
    channels: int = 3
    """Input channels."""
    classes: int = 1000
    """Classes of the published network; of a user's, its factory's default."""
    network: Callable[..., Any] | None = None
    """Of a user's network: (width=, in_channels=, num_classes=) to a fresh module of theirs."""
    takes_width: bool = True
    """Whether there are narrower networks of the same form."""


SMALL_SIDE = 32
"""Side in px of the input behind the small-image stem."""

_FAMILIES: tuple[Family, ...] = (
    Family(members=RESNETS, table=resnet_table),
    Family(members=DENSENETS, table=densenet_table),
    Family(members=MOBILENETS_V1, table=mobilenet_v1_table),
    Family(members=MOBILENETS_V2, table=mobilenet_v2_table),
    Family(members=NON_LOCAL, table=non_local_table, dims=3),
    Family(members=CLIP_RESNETS, table=clip_resnet_table, dims=3, side=112, frames=16),
)
_BY_NAME: dict[str, Family] = {name: family for family in _FAMILIES for name in family.members}
_elsewhere: list[Callable[[str], Family]] = []


def is_users(name: str) -> bool:
    """Whether a backbone's name is that of a user's network: "package.module:factory"."""
    return ":" in name


def find_elsewhere(find: Callable[[str], Family]) -> None:
    """Says how the family of a user's network is found by its name; nothing here can import one."""
    _elsewhere[:] = [find]


def names(dims: Dims | None = None) -> tuple[str, ...]:
    """The backbones that can be built, all or those of 2D or 3D; torchvision's names where it has them."""
    return tuple(name for name, family in _BY_NAME.items() if dims in (None, family.dims))


def family_of(name: str) -> Family:
    """The family of a backbone.

    Raises:
        UnknownNameError: there is no such backbone.
        FactoryError: a user's network that cannot be made or read.
    """
    if is_users(name) and _elsewhere:
        return _elsewhere[0](name)
    if name not in _BY_NAME:
        raise unknown_name("backbone", name, _BY_NAME)
    return _BY_NAME[name]


def dims_of(name: str) -> Dims:
    """2 for a backbone of images, which takes a clip frame by frame; 3 for one of clips and volumes."""
    return family_of(name).dims


def default_input(name: str, stem: Stem = "imagenet", *, channels: int | None = None) -> tuple[int, ...]:
    """The input that a backbone is meant for: (channels, H, W), or (channels, T, H, W) where it is 3D."""
    family = family_of(name)
    channels = family.channels if channels is None else channels
    side = family.side if stem == "imagenet" else SMALL_SIDE
    return (channels, side, side) if family.dims == 2 else (channels, family.frames, side, side)


def layer_table(
    name: str, *, width: int = 64, stem: Stem = "imagenet", in_channels: int = 3, num_classes: int = 1000
) -> LayerTable:
    """The layer table of a backbone.

    Args:
        name: a member of `names()`.
        width: 64 is the published network, 16 has a quarter of its channels everywhere. In a ResNet it is the
            number of channels of the first stage.
        stem: "imagenet" as published, or "small" for small images: without the first two halvings of the map.

    Raises:
        UnknownNameError: there is no such backbone.
        ArchitectureError: a layer would have no whole number of channels at this width.
    """
    return _built(name, width, stem, in_channels, num_classes)


@lru_cache(maxsize=512)
def _built(name: str, width: int, stem: Stem, in_channels: int, num_classes: int) -> LayerTable:
    return family_of(name).table(
        name, width=width, stem=stem, in_channels=in_channels, num_classes=num_classes
    )
