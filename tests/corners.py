"""A task that a tiny network learns in seconds: bright squares in one of four corners of 16 px images."""

from __future__ import annotations

import numpy as np

from octnas.architecture import Architecture
from octnas.data import ImageSet, MemorySplit

__all__ = ["corner_split", "corners_set", "tiny_architecture"]


def corner_split(count: int, seed: int) -> MemorySplit:
    """`count` images, their labels the corners in turn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    images = rng.integers(0, 90, (count, 16, 16, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[8 * row + 2 : 8 * row + 6, 8 * column + 2 : 8 * column + 6] += np.uint8(120)
    return MemorySplit(images=images, labels=labels.astype(np.int64), size=16, channels=1)


def corners_set() -> ImageSet:
    """200, 80 and 40 images."""
    return ImageSet(
        name="corners",
        classes=("a", "b", "c", "d"),
        channels=1,
        size=16,
        train=corner_split(200, 0),
        val=corner_split(80, 1),
        test=corner_split(40, 2),
        fingerprint="0" * 12,
        licence="none",
        origin="test",
        flip=False,
        mean=(0.2,),
        std=(0.15,),
    )


def tiny_architecture() -> Architecture:
    """A ResNet-18 of width 4, half of it an octave lower."""
    return Architecture.uniform(
        "resnet18", alpha=0.5, width=4, stem="small", input_size=32, downsample="pooled"
    )
