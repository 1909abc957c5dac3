"""Files by class below a folder: which are in training, validation and test, before any is opened."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octnas.data.sets import Labels
from octnas.errors import DataError

__all__ = ["FileKind", "Layout", "Listing", "find_layout", "path_fingerprint", "split_shares"]

VALIDATION, TEST = 0.2, 0.1
"""Shares of each class that are split off where the folder has no val/, and no val/ and no test/."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileKind:
    """What is looked for below a folder. `ignored` counts the suffixes of the other files met on the way."""

    noun: str
    """In the plural, as in "a folder of images"."""
    suffixes: frozenset[str]
    """In lower case, with their dot."""
    ignored: Counter[str] = field(default_factory=Counter)

    def fits(self, file: str) -> bool:
        """Whether the name `file` ends in a suffix of this kind."""
        return file.lower().endswith(tuple(self.suffixes))

    def below(self, folder: Path, root: Path) -> Iterator[str]:
        """Paths, relative to `root`, of this kind's files anywhere below `folder`, but of no hidden ones."""
        for where, _, files in os.walk(folder, followlinks=True):
            for file in files:
                if file.startswith("."):
                    continue
                if self.fits(file):
                    yield os.path.relpath(os.path.join(where, file), root)
                else:
                    self.ignored[os.path.splitext(file)[1].lower() or "no suffix"] += 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listing:
    """Files below a root, with the class of each; where folders give the class, sorted by class and path."""

    paths: list[str]
    labels: Labels

    def take(self, indices: NDArray[np.integer]) -> Listing:
        """The files at `indices`, in that order."""
        return Listing(paths=[self.paths[i] for i in indices], labels=self.labels[indices])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """The classes of a folder, its splits, and a line that says how they were split."""

    classes: tuple[str, ...]
    train: Listing
    val: Listing
    test: Listing | None
    origin: str

    @property
    def listings(self) -> tuple[Listing, ...]:
        """The splits that there are."""
        return (self.train, self.val) if self.test is None else (self.train, self.val, self.test)


def find_layout(root: Path, kind: FileKind, seed: int) -> Layout:
    """`root/train/CLASS/*` with `root/val/CLASS/*`, or `root/CLASS/*`: see `octnas.data.folder`."""
    if not (root / "train").is_dir():
        classes = _classes(root, kind)
        everything = _list(root, "", classes, kind)
        val, test, train = split_shares(everything, classes, kind, (VALIDATION, TEST), seed)
        origin = f"a folder; {VALIDATION:.0%} of each class is validation, {TEST:.0%} test (seed {seed})"
        return Layout(classes=classes, train=train, val=val, test=test, origin=origin)
    classes = _classes(root / "train", kind)
    train = _list(root, "train", classes, kind)
    test_or_none = _list(root, "test", classes, kind) if _has_classes(root / "test") else None
    if (root / "val").is_dir():
        val = _list(root, "val", classes, kind)
        origin = "a folder with its own train and val"
    else:
        val, train = split_shares(train, classes, kind, (VALIDATION,), seed)
        origin = f"a folder; {VALIDATION:.0%} of each class of train is validation (seed {seed})"
    return Layout(classes=classes, train=train, val=val, test=test_or_none, origin=origin)


def _folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _has_classes(root: Path) -> bool:
    """Whether there are folders in `root`: ImageNet's own test images, for one, have no labels."""
    return root.is_dir() and bool(_folders(root))


def _classes(root: Path, kind: FileKind) -> tuple[str, ...]:
    names = _folders(root)
    if not names:
        raise DataError(f"{root} must hold a folder of {kind.noun} for each class, but has no folder")
    if len(names) == 1:
        raise DataError(f"there must be two classes or more, but {root} has only {names[0]}")
    return tuple(names)


def _list(root: Path, part: str, classes: tuple[str, ...], kind: FileKind) -> Listing:
    """All files of the kind below root/part, paths relative to `root`."""
    base = root / part
    strangers = sorted(set(_folders(base)) - set(classes))
    if strangers:
        raise DataError(f"{base} has the class {strangers[0]}, which {root / 'train'} lacks")
    paths: list[str] = []
    sizes = []
    for name in classes:
        found = sorted(kind.below(base / name, root))
        if not found:
            known = ", ".join(sorted(kind.suffixes))
            raise DataError(f"every class needs {kind.noun}, but {base / name} has none ({known})")
        paths += found
        sizes.append(len(found))
    return Listing(paths=paths, labels=np.repeat(np.arange(len(classes)), sizes))


def split_shares(
    listing: Listing, classes: tuple[str, ...], kind: FileKind, shares: tuple[float, ...], seed: int
) -> tuple[Listing, ...]:
    """For each share its part of every class (one file or more), and the rest last; in listed order.

    Raises DataError where a class has too few files to give each part one.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(len(shares) + 1)]
    for label, name in enumerate(classes):
        members = rng.permutation(np.flatnonzero(listing.labels == label))
        if len(members) <= len(shares):
            raise DataError(
                f"a class needs {len(shares) + 1} {kind.noun} or more to be split, but {name} has "
                f"{len(members)}: add some, or give a val folder"
            )
        counts = [max(1, int(len(members) * share)) for share in shares]
        for part, piece in zip(parts, np.split(members, np.cumsum(counts)), strict=True):
            part.append(piece)
    return tuple(listing.take(np.sort(np.concatenate(part))) for part in parts)


def path_fingerprint(root: Path, classes: tuple[str, ...], listings: Sequence[Listing]) -> str:
    """12 hexadecimal digits over class names, paths and the sizes of the files."""
    digest = hashlib.sha256("\0".join(classes).encode())
    for listing in listings:
        digest.update(b"\0split\0")
        for path in listing.paths:
            digest.update(os.fsencode(path) + b"\0%d\0" % os.path.getsize(os.path.join(root, path)))
    return digest.hexdigest()[:12]
