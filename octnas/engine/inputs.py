"""What goes into a space's networks, and whether data fit them: still images or clips, 2D or 3D."""

from __future__ import annotations

from collections.abc import Sequence

from octnas.backbones import dims_of
from octnas.errors import DataError
from octnas.space import SearchSpace

__all__ = ["check_kind", "shape_words"]

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
