"""What goes into a space's networks, and whether data fit them: still images or clips, 2D or 3D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from octnas.architecture import Architecture
from octnas.backbones import dims_of, is_users, layer_table
from octnas.errors import DataError
from octnas.record import networks
from octnas.space import SearchSpace

if TYPE_CHECKING:
    from octnas.data import ImageSet

__all__ = ["check_kind", "check_networks", "network_options", "shape_words"]

_CLIPS = "a data set of clips (clips-appearance, clips-motion, or a folder of videos by class)"
_STILL = "imagenet-2d or small-2d"


def shape_words(shape: Sequence[int]) -> str:
    """ "3x224x224", or "3x8x224x224" of clips."""
    return "x".join(map(str, shape))


def check_kind(space: SearchSpace) -> None:
    """Checks that the data of a space's proxy are what its backbones take; reads no image.

    Raises:
        DataError: clips in a space of still images, or still images in one of clips.
        UnknownNameError: no such data set.
    """
    from octnas.data import kind_of

    data, frames = space.proxy.data, space.proxy.frames
    if kind_of(data) == "clips":
        if frames is None:
            raise DataError(
                f"space {space.name} is of still images, but {data} holds clips: search a space of clips "
                "(clips-small or video), or give a data set of images with --data"
            )
        return
    if frames is None:
        return
    volumetric = next((name for name in space.backbones if dims_of(name) == 3), None)
    if volumetric is not None:
        raise DataError(
            f"{volumetric} is a 3D backbone and needs clips, but {data} holds still images: give --data "
            f"{_CLIPS}, or search 2D backbones in a space of still images ({_STILL})"
        )
    raise DataError(
        f"space {space.name} trains on clips of {frames} frames, but {data} holds still images: give --data "
        f"{_CLIPS}, or search a space of still images ({_STILL})"
    )


def network_options(space: SearchSpace) -> dict[str, Any]:
    """What a header's options say of a space's users' networks; nothing where it has none.

    `networks` has the fingerprint of each, which resuming must find again, `proxy_widths` the width of its
    proxy in 64ths of its own.
    """
    found = networks(space.backbones)
    widths = {name: space.proxy_of(name).width for name in found}
    return {"networks": found, "proxy_widths": widths} if found else {}


def check_networks(space: SearchSpace, images: ImageSet) -> None:
    """Checks that the users' networks of a space can be made for the images of its proxy.

    Raises:
        DataError: one has its own number of classes or of channels, which are others than the images'.
        ConversionError: its cost is not what PyTorch counts, which is a fault of octnas.
    """
    for name in filter(is_users, space.backbones):
        proxy = space.proxy_of(name)
        classes, channels = len(images.classes), images.channels
        table = layer_table(
            name, width=proxy.width, stem=proxy.stem, in_channels=channels, num_classes=classes
        )
        for has, needs, what, key in (
            (table.num_classes, classes, "classes", "num_classes"),
            (table.in_channels, channels, "channels", "in_channels"),
        ):
            if has != needs:
                raise DataError(
                    f"{name} has {has} {what}, but {space.proxy.data} has {needs}: give the factory the "
                    f"argument `{key}`, or other data with --data"
                )
        _check_cost(space.uniform(name, 0), channels, classes)


def _check_cost(plain: Architecture, channels: int, classes: int) -> None:
    """Checks the closed form of a user's network with half of its channels low; a search goes by it."""
    import torch

    from octnas.nn import ConvertedNetwork, build
    from octnas.trace import check_cost

    slots = plain.table().slots
    halves = tuple(slot.channels // slot.multiple // 2 * slot.multiple for slot in slots)
    with torch.random.fork_rng(devices=[]):
        network = build(replace(plain, low_channels=halves), num_classes=classes, in_channels=channels)
    assert isinstance(network, ConvertedNetwork)
    check_cost(network)
