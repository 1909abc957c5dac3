"""A folder of images by class, in ImageNet's layout: with its own validation folder, or without."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from octnas.data.decode import DAMAGED, decode
from octnas.data.sets import ImageSet, Labels, MemorySplit, Split, content_fingerprint, statistics
from octnas.data.streamed import StreamedSplit, default_workers, reason
from octnas.errors import DataError

__all__ = ["load_folder"]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
SIZE, CHANNELS = 224, 3
"""Side and channels of a folder's images where the caller names none."""
VALIDATION, TEST = 0.2, 0.1
"""Shares of each class that are split off where the folder has no val/, and no val/ and no test/."""
_STATISTICS_SAMPLE = 2048
_SHOW_PROGRESS = 2000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Listing:
    """Image files below a root, sorted by class and path, with the class of each."""

    paths: list[str]
    labels: Labels

    def take(self, indices: NDArray[np.integer]) -> _Listing:
        return _Listing(paths=[self.paths[i] for i in indices], labels=self.labels[indices])


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
    classes, (train, val, test), origin = _layout(root, seed)
    listings = (train, val, test) if test else (train, val)
    splits: Sequence[Split]
    if sum(len(listing.paths) for listing in listings) * size * size * channels <= memory_limit:
        kept = [_decode_all(root, listing, size, channels) for listing in listings]
        splits, sample, fingerprint = kept, kept[0].images, content_fingerprint(classes, kept)
    else:
        streamed = [_stream(root, listing, size, channels) for listing in listings]
        splits, sample = streamed, _sample(streamed[0], seed)
        fingerprint = _path_fingerprint(root, classes, listings)
    mean, std = statistics(sample)
    return ImageSet(
        name=root.resolve().name,
        classes=classes,
        channels=channels,
        size=size,
        train=splits[0],
        val=splits[1],
        test=splits[2] if test else None,
        fingerprint=fingerprint,
        licence="as given by the owner of the images",
        origin=origin,
        flip=True,
        mean=mean,
        std=std,
    )


def _layout(root: Path, seed: int) -> tuple[tuple[str, ...], tuple[_Listing, _Listing, _Listing | None], str]:
    """Classes, the three listings, and a line that says how they were split."""
    if not (root / "train").is_dir():
        classes = _classes(root)
        everything = _list(root, "", classes)
        val, test, train = _shares(everything, classes, (VALIDATION, TEST), seed)
        origin = f"a folder; {VALIDATION:.0%} of each class is validation, {TEST:.0%} test (seed {seed})"
        return classes, (train, val, test), origin
    classes = _classes(root / "train")
    train = _list(root, "train", classes)
    official_test = _list(root, "test", classes) if _has_classes(root / "test") else None
    if (root / "val").is_dir():
        return (
            classes,
            (train, _list(root, "val", classes), official_test),
            "a folder with its own train and val",
        )
    val, train = _shares(train, classes, (VALIDATION,), seed)
    origin = f"a folder; {VALIDATION:.0%} of each class of train is validation (seed {seed})"
    return classes, (train, val, official_test), origin


def _folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _has_classes(root: Path) -> bool:
    """Whether there are folders in `root`: ImageNet's own test images, for one, have no labels."""
    return root.is_dir() and bool(_folders(root))


def _classes(root: Path) -> tuple[str, ...]:
    names = _folders(root)
    if not names:
        raise DataError(f"{root} must hold a folder of images for each class, but has no folder")
    if len(names) == 1:
        raise DataError(f"there must be two classes or more, but {root} has only {names[0]}")
    return tuple(names)


def _list(root: Path, part: str, classes: tuple[str, ...]) -> _Listing:
    """All images of root/part, paths relative to `root`."""
    base = root / part
    strangers = sorted(set(_folders(base)) - set(classes))
    if strangers:
        raise DataError(f"{base} has the class {strangers[0]}, which {root / 'train'} lacks")
    paths: list[str] = []
    sizes = []
    for name in classes:
        found = sorted(_images(base / name, root))
        if not found:
            kinds = ", ".join(sorted(SUFFIXES))
            raise DataError(f"every class needs images, but {base / name} has none ({kinds})")
        paths += found
        sizes.append(len(found))
    return _Listing(paths=paths, labels=np.repeat(np.arange(len(classes)), sizes))


def _images(folder: Path, root: Path) -> Iterator[str]:
    for where, _, files in os.walk(folder, followlinks=True):
        for file in files:
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in SUFFIXES:
                yield os.path.relpath(os.path.join(where, file), root)


def _shares(
    listing: _Listing, classes: tuple[str, ...], shares: tuple[float, ...], seed: int
) -> tuple[_Listing, ...]:
    """For each share its part of every class (one image or more), and the rest last; in listed order."""
    rng = np.random.default_rng(seed)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(len(shares) + 1)]
    for label, name in enumerate(classes):
        members = rng.permutation(np.flatnonzero(listing.labels == label))
        if len(members) <= len(shares):
            raise DataError(
                f"a class needs {len(shares) + 1} images or more to be split, but {name} has {len(members)}: "
                f"add some, or give a val folder"
            )
        counts = [max(1, int(len(members) * share)) for share in shares]
        for part, piece in zip(parts, np.split(members, np.cumsum(counts)), strict=True):
            part.append(piece)
    return tuple(listing.take(np.sort(np.concatenate(part))) for part in parts)


def _decode_all(root: Path, listing: _Listing, size: int, channels: int) -> MemorySplit:
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


def _stream(root: Path, listing: _Listing, size: int, channels: int) -> StreamedSplit:
    paths = np.array([os.fsencode(path) for path in listing.paths])
    return StreamedSplit(root=str(root), paths=paths, labels=listing.labels, size=size, channels=channels)


def _sample(split: StreamedSplit, seed: int) -> NDArray[np.uint8]:
    """Some training images, for statistics. Raises DataError above 1 % of damaged ones."""
    batches = split.subset(_STATISTICS_SAMPLE, seed).batches(64)
    return np.concatenate([images.permute(0, 2, 3, 1).numpy() for images, _ in batches])


def _path_fingerprint(root: Path, classes: tuple[str, ...], listings: Sequence[_Listing]) -> str:
    digest = hashlib.sha256("\0".join(classes).encode())
    for listing in listings:
        digest.update(b"\0split\0")
        for path in listing.paths:
            digest.update(os.fsencode(path) + b"\0%d\0" % os.path.getsize(os.path.join(root, path)))
    return digest.hexdigest()[:12]
