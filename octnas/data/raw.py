"""What a source of small images gives, before size and channels are chosen: plain arrays and facts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octnas.data.convert import convert, pad
from octnas.data.sets import ImageSet, MemorySplit, content_fingerprint, statistics

__all__ = ["RawImages", "RawSplit", "to_image_set"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawSplit:
    """Images uint8 (N, H, H, C) as the source has them, and labels int64 (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawImages:
    """A source's splits and facts; see `ImageSet` for the fields of the same name."""

    classes: tuple[str, ...]
    train: RawSplit
    val: RawSplit
    test: RawSplit
    licence: str
    origin: str
    flip: bool
    pad_to: int | None = None
    """Side to which the images are padded with black, unless they are wanted at the side that they have."""


def to_image_set(
    name: str, raw: RawImages, *, size: int | None, channels: int | None, memory_limit: int
) -> ImageSet:
    """`raw` at `size` and `channels` (its own where None).

    Converted once, here, unless that would take more than `memory_limit` bytes: then batch by batch.
    """
    native = raw.train.images.shape[1]
    padded = raw.pad_to or native
    size = size or padded
    channels = channels or raw.train.images.shape[-1]
    count = sum(len(split.labels) for split in (raw.train, raw.val, raw.test))
    eager = count * size * size * channels <= memory_limit

    def finish(split: RawSplit) -> MemorySplit:
        images = pad(split.images, padded) if size != native else split.images
        images = convert(images, size=size, channels=channels) if eager else images
        return MemorySplit(
            images=np.ascontiguousarray(images), labels=split.labels, size=size, channels=channels
        )

    train, val, test = finish(raw.train), finish(raw.val), finish(raw.test)
    mean, std = statistics(train.images if eager else convert(train.images, size=padded, channels=channels))
    return ImageSet(
        name=name,
        classes=raw.classes,
        channels=channels,
        size=size,
        train=train,
        val=val,
        test=test,
        fingerprint=content_fingerprint(raw.classes, (train, val, test)),
        licence=raw.licence,
        origin=raw.origin,
        flip=raw.flip,
        mean=mean,
        std=std,
    )
