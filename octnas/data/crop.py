"""A random crop of one image file: for trainings of many passes.

C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6, in the form in which torchvision's
`RandomResizedCrop` has it: 8 to 100 % of the area, sides in a ratio of 3:4 to 4:3, resized to a square.

JPEG files are decoded by torchvision, 1.2 times as fast as by Pillow or more, both on libjpeg-turbo; what it
cannot decode Pillow may (`benchmarks/full_training.py` has the figures).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch.nn import functional

from octnas.data.decode import opened_as

__all__ = ["Box", "decode_crop", "draw_box"]

Box = tuple[int, int, int, int]
"""Left, top, width and height in px."""
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
TRIES = 10
_JPEG = (".jpg", ".jpeg")


def draw_box(width: int, height: int, rng: np.random.Generator) -> Box:
    """The crop of an image of `width` x `height` px; its middle, as large as can be, where ten draws fail."""
    low, high = (math.log(ratio) for ratio in RATIO)
    for _ in range(TRIES):
        area, ratio = width * height * rng.uniform(*AREA), math.exp(rng.uniform(low, high))
        wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            left, top = rng.integers(width - wide + 1), rng.integers(height - tall + 1)
            return int(left), int(top), wide, tall
    wide, tall = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    return (width - wide) // 2, (height - tall) // 2, wide, tall


def decode_crop(path: str, *, size: int, channels: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random crop of the image at `path`, uint8 (size, size, channels), bilinear with antialiasing.

    Raises one of `octnas.data.decode.DAMAGED`.
    """
    if path.lower().endswith(_JPEG):
        try:
            return _by_torchvision(path, size, channels, rng)
        except (RuntimeError, ImportError):  # no JPEG whatever its name, damaged, or one of a rare kind
            pass
    with opened_as(path, channels) as opened:
        image = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
    left, top, wide, tall = draw_box(*image.size, rng)
    box = (left, top, left + wide, top + tall)
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box), np.uint8)
    return pixels.reshape(size, size, -1)


def _by_torchvision(path: str, size: int, channels: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    from torchvision.io import ImageReadMode, decode_image, read_file

    mode = ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB
    image = decode_image(read_file(path), mode=mode, apply_exif_orientation=True)
    left, top, wide, tall = draw_box(image.shape[2], image.shape[1], rng)
    part = image[None, :, top : top + tall, left : left + wide]
    small = functional.interpolate(part, (size, size), mode="bilinear", antialias=True)
    return small[0].permute(1, 2, 0).contiguous(memory_format=torch.contiguous_format).numpy()
