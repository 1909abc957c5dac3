"""One file, a video or a volume, to a clip."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from octnas.data import video, volume
from octnas.data.sampling import Sampling

__all__ = ["DAMAGED", "SUFFIXES", "clip_reason", "decode_clip"]

SUFFIXES = video.SUFFIXES | volume.SUFFIXES

DAMAGED: Final = (OSError, ValueError, EOFError, zipfile.BadZipFile, av.FFmpegError)
"""What PyAV, NumPy, nibabel and the readers here raise for files that they cannot read."""


def decode_clip(
    path: str, *, sampling: Sampling, size: int, channels: int, draw: Sequence[int] | None = None
) -> tuple[NDArray[np.uint8], int]:
    """A clip of the file at `path`, uint8 (T, size, size, channels), and how many frames or slices it has.

    `draw` is the seed of random places, see `Sampling.choose`. Raises one of DAMAGED.
    """
    # a list may name videos of any suffix
    read = volume.decode_volume if path.lower().endswith(tuple(volume.SUFFIXES)) else video.decode_video
    return read(path, sampling=sampling, size=size, channels=channels, draw=draw)


def clip_reason(error: BaseException) -> str:
    """Why a file cannot be read, in few words on one line; a whole message may repeat the path."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__
