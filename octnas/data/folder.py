"""A folder of images by class, in ImageNet's layout: with its own validation folder, or without."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from octnas.data.decode import DAMAGED, decode
from octnas.data.listing import FileKind, Listing, find_layout, path_fingerprint
from octnas.data.sets import ImageSet, MemorySplit, Split, content_fingerprint, statistics
from octnas.data.streamed import StreamedSplit, default_workers, reason
from octnas.errors import DataError

__all__ = ["CHANNELS", "SIZE", "SUFFIXES", "load_folder"]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
SIZE, CHANNELS = 224, 3
"""Side and channels of a folder's images where the caller names none."""
_STATISTICS_SAMPLE = 2048
_SHOW_PROGRESS = 2000


def load_folder(
    root: Path, *, size: int | None, channels: int | None, seed: int, memory_limit: int
) -> ImageSet:
    """The images under `root`: `root/train/CLASS/*` with `root/val/CLASS/*`, or `root/CLASS/*`.

    Where there is no `val`, a fifth of each class becomes validation, by `seed`, and where there is no
    `train` either, a tenth becomes test; `root/test/CLASS/*` is test where it exists. Decoded at once if that
    takes `memory_limit` bytes or less, else streamed. The order is that of class names and paths.

    Raises DataError: no images, a single class, an empty class, a class that cannot be split, classes that
    differ between the folders, and, when decoded at once, an unreadable image.
    """
    size, channels = size or SIZE, channels or CHANNELS
    layout = find_layout(root, FileKind(noun="images", suffixes=SUFFIXES), seed)
    classes, listings = layout.classes, layout.listings
    splits: Sequence[Split]
    if sum(len(listing.paths) for listing in listings) * size * size * channels <= memory_limit:
        kept = [_decode_all(root, listing, size, channels) for listing in listings]
        splits, sample, fingerprint = kept, kept[0].images, content_fingerprint(classes, kept)
    else:
        streamed = [_stream(root, listing, size, channels) for listing in listings]
        splits, sample = streamed, _sample(streamed[0], seed)
        fingerprint = path_fingerprint(root, classes, listings)
    mean, std = statistics(sample)
    return ImageSet(
        name=root.resolve().name,
        classes=classes,
        channels=channels,
        size=size,
        train=splits[0],
        val=splits[1],
        test=splits[2] if layout.test else None,
        fingerprint=fingerprint,
        licence="as given by the owner of the images",
        origin=layout.origin,
        flip=True,
        mean=mean,
        std=std,
    )


def _decode_all(root: Path, listing: Listing, size: int, channels: int) -> MemorySplit:
    """Every image decoded, by threads (Pillow lets go of the interpreter while it decodes)."""
    images = np.empty((len(listing.paths), size, size, channels), np.uint8)

    def fill(index: int) -> None:
        path = os.path.join(root, listing.paths[index])
        try:
            images[index] = decode(path, size=size, channels=channels)
        except DAMAGED as error:
            why = reason(error)
            raise DataError(f"every image must be readable, but {path} is not ({why}): remove it") from error

    with ThreadPoolExecutor(default_workers()) as pool:
        done = pool.map(fill, range(len(images)))
        for _ in track(
            done,
            "decoding",
            len(images),
            console=Console(stderr=True),
            transient=True,
            disable=len(images) < _SHOW_PROGRESS,
        ):
            pass
    return MemorySplit(images=images, labels=listing.labels, size=size, channels=channels)


def _stream(root: Path, listing: Listing, size: int, channels: int) -> StreamedSplit:
    paths = np.array([os.fsencode(path) for path in listing.paths])
    return StreamedSplit(root=str(root), paths=paths, labels=listing.labels, size=size, channels=channels)


def _sample(split: StreamedSplit, seed: int) -> NDArray[np.uint8]:
    """Some training images, for statistics. Raises DataError above 1 % of damaged ones."""
    batches = split.subset(_STATISTICS_SAMPLE, seed).batches(64)
    return np.concatenate([images.permute(0, 2, 3, 1).numpy() for images, _ in batches])
