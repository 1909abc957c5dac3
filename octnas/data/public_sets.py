"""Public image sets through torchvision: Fashion-MNIST, CIFAR-10 and CIFAR-100.

A validation split, classes in equal shares, is taken out of the official training images by seed; test is
the official test split. Nothing is downloaded where the files are there already. torchvision is imported
only by the set that needs it: it takes seconds.
"""

from __future__ import annotations

import contextlib
import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np

from octnas.data.raw import RawImages, RawSplit
from octnas.data.sets import balanced_indices
from octnas.errors import DataError

__all__ = ["load_cifar10", "load_cifar100", "load_fashion_mnist"]

VALIDATION = 10_000
"""Images taken out of the official training split, or a fifth of it where that is fewer."""

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""


def load_fashion_mnist(root: Path, seed: int) -> RawImages:
    """Fashion-MNIST whole: 50,000 / 10,000 / 10,000 images at 28 px, from `root` or from Debian's package."""
    from torchvision import datasets

    if DEBIAN_FASHION.is_dir() and not (root / "FashionMNIST").is_dir():
        official, test = _idx_pair("train"), _idx_pair("t10k")
        classes = tuple(datasets.FashionMNIST.classes)
    else:
        source = datasets.FashionMNIST
        found, test_set = _fetch("fashion-mnist", source, root, "FashionMNIST/raw", source.mirrors[0])
        official, test = _arrays(found), _arrays(test_set)
        classes = tuple(found.classes)
    return _split(classes, official, test, licence="MIT", source="Fashion-MNIST", seed=seed, pad_to=32)


def load_cifar10(root: Path, seed: int) -> RawImages:
    """CIFAR-10: 40,000 / 10,000 / 10,000 RGB images at 32 px."""
    from torchvision import datasets

    return _cifar("cifar10", "CIFAR-10", datasets.CIFAR10, root, seed)


def load_cifar100(root: Path, seed: int) -> RawImages:
    """CIFAR-100: 40,000 / 10,000 / 10,000 RGB images at 32 px."""
    from torchvision import datasets

    return _cifar("cifar100", "CIFAR-100", datasets.CIFAR100, root, seed)


def _cifar(name: str, title: str, source: Any, root: Path, seed: int) -> RawImages:
    found, test_set = _fetch(name, source, root, source.base_folder, source.url)
    official, test = _arrays(found), _arrays(test_set)
    licence = "none stated by its authors; made for research"
    return _split(tuple(found.classes), official, test, licence=licence, source=title, seed=seed)


def _fetch(name: str, source: Any, root: Path, place: str, url: str) -> tuple[Any, Any]:
    """torchvision's training and test set, downloaded into `root` only where they are not there."""

    def open_both(download: bool) -> tuple[Any, Any]:
        training, test = (source(str(root), train=train, download=download) for train in (True, False))
        return training, test

    with contextlib.suppress(RuntimeError):  # torchvision's word for "not there, or not whole"
        return open_both(download=False)
    try:
        # standard output belongs to --json
        with contextlib.redirect_stdout(sys.stderr):
            return open_both(download=True)
    except (OSError, RuntimeError, EOFError) as error:  # urllib's errors are OSErrors
        raise DataError(
            f"{name} is not under {root} and could not be downloaded ({error}): "
            f"place the files of {url} in {root / place}, or set OCTNAS_DATA to a folder that has them"
        ) from error


def _arrays(source: Any) -> RawSplit:
    """A torchvision set's images as (N, H, W, C) and its labels."""
    images = np.asarray(source.data)
    if images.ndim == 3:
        images = images[..., None]
    return RawSplit(images=images, labels=np.asarray(source.targets, np.int64))


def _idx_pair(prefix: str) -> RawSplit:
    """One official split from Debian's gzipped IDX files: headers of 16 and 8 bytes, then the values."""
    images = gzip.decompress((DEBIAN_FASHION / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((DEBIAN_FASHION / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
    return RawSplit(
        images=np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1),
        labels=np.frombuffer(labels, np.uint8, offset=8).astype(np.int64),
    )


def _split(
    classes: tuple[str, ...],
    official: RawSplit,
    test: RawSplit,
    *,
    licence: str,
    source: str,
    seed: int,
    pad_to: int | None = None,
) -> RawImages:
    count = min(VALIDATION, len(official.labels) // 5)
    held_out = np.sort(balanced_indices(official.labels, count, seed))
    kept = np.setdiff1d(np.arange(len(official.labels)), held_out)
    train, val = (
        RawSplit(images=official.images[part], labels=official.labels[part]) for part in (kept, held_out)
    )
    return RawImages(
        classes=classes,
        train=train,
        val=val,
        test=test,
        licence=licence,
        flip=True,
        pad_to=pad_to,
        origin=f"{source}: {count} of the official training images are validation (seed {seed})",
    )
