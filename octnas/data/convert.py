"""Side and channels of decoded images, (N, H, W, C) uint8 in and out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

__all__ = ["Images", "convert", "luma", "pad", "resize"]

Images = NDArray[np.uint8]

_CHUNK = 1024
"""Images resized at a time, so that the copy in float stays small."""


def convert(images: Images, *, size: int, channels: int) -> Images:
    """`images` (N, H, H, C) as (N, size, size, channels); the same array where nothing changes.

    Resizing is bilinear with antialiasing. RGB becomes grey by ITU-R 601 luma, as in Pillow; grey becomes RGB
    by repetition.
    """
    grey_out = channels == 1 and images.shape[-1] == 3
    if grey_out:
        images = luma(images)
    if images.shape[1] != size:
        images = resize(images, size)
    if channels == 3 and images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    return images


def luma(images: Images) -> Images:
    """(..., 3) to (..., 1) by ITU-R 601, in Pillow's integers."""
    weights = np.array([19595, 38470, 7471], np.uint32)
    weighted = images.astype(np.uint32) @ weights
    return ((weighted + 0x8000) >> 16).astype(np.uint8)[..., None]


def resize(images: Images, size: int) -> Images:
    """(N, H, H, C) to (N, size, size, C), bilinear with antialiasing."""
    resized = np.empty((len(images), size, size, images.shape[-1]), np.uint8)
    for start in range(0, len(images), _CHUNK):
        part = torch.from_numpy(images[start : start + _CHUNK].astype(np.float32)).permute(0, 3, 1, 2)
        part = functional.interpolate(
            part, (size, size), mode="bilinear", align_corners=False, antialias=True
        )
        resized[start : start + _CHUNK] = part.round_().clamp_(0, 255).permute(0, 2, 3, 1).numpy()
    return resized


def pad(images: Images, size: int) -> Images:
    """`images` in the middle of black squares of side `size`."""
    before = (size - images.shape[1]) // 2
    after = size - images.shape[1] - before
    return np.pad(images, ((0, 0), (before, after), (before, after), (0, 0)))
