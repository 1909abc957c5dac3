"""One image file to pixels: short side to `size`, then the centre square."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["DAMAGED", "decode", "opened_as", "square"]

DAMAGED: Final = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for files that it cannot read (SyntaxError is its word for a broken PNG)."""


def decode(path: str, *, size: int, channels: int) -> NDArray[np.uint8]:
    """The image at `path`, uint8 (size, size, channels), upright by its EXIF orientation.

    Bilinear (Pillow's, which antialiases), the short side to `size`, then the centre. 16-bit greys keep their
    high byte; transparency is dropped. Raises one of DAMAGED.
    """
    with opened_as(path, channels, draft=2 * size) as opened:
        image = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
    return square(image, size)


@contextmanager
def opened_as(path: str, channels: int, *, draft: int = 0) -> Iterator[Image.Image]:
    """The image at `path`, of 8 bits a channel; not yet of so many channels, nor upright.

    `draft` px are enough for both of its sides. Raises one of DAMAGED.
    """
    with Image.open(path) as opened:
        if draft:
            # JPEG can be decoded at 1/2, 1/4 or 1/8: while twice the wanted side remains, nothing is lost
            opened.draft("L" if channels == 1 else "RGB", (draft, draft))
        image: Image.Image = opened
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        yield image


def square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """A grey or RGB image as uint8 (size, size, C): short side to `size`, bilinear, then the centre."""
    width, height = image.size
    short = min(width, height)
    if short != size:
        width, height = (max(size, round(side * size / short)) for side in (width, height))
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)
    return pixels.reshape(size, size, -1)
