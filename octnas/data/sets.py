"""Labelled images: a set with its splits, and the split that lies in memory.

Shapes: B batch, N images of a split, C channels, H and W pixels (H = W). Images are uint8 everywhere until
`octnas.data.normalise`; a split keeps them (N, H, W, C), so a batch is channels-last without a copy more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from octnas.data.convert import Images, convert

__all__ = [
    "Batch",
    "ImageSet",
    "Images",
    "Labels",
    "MemorySplit",
    "Split",
    "balanced_indices",
    "batch_indices",
    "content_fingerprint",
    "statistics",
]

Labels = NDArray[np.int64]
Batch = tuple[torch.Tensor, torch.Tensor]


class Split(Protocol):
    """What training needs of a split, wherever its images are."""

    @property
    def labels(self) -> Labels:
        """Class of each image, int64 (N,)."""

    def __len__(self) -> int: ...

    def batches(
        self, batch_size: int, *, order: NDArray[np.integer] | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """Images uint8 (B, C, H, W) with channels-last strides and labels int64 (B,).

        `order` names the images to visit, in that order; all of them, first to last, where it is None.
        """

    def take(self, indices: NDArray[np.integer]) -> Split:
        """The images at `indices`, in that order."""

    def subset(self, count: int, seed: int) -> Split:
        """`count` images, classes in equal shares as far as they go; the same for the same seed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemorySplit:
    """Images in memory, as plain arrays: pickled out of band, and read back by Ray without a copy.

    Arrays that come back from Ray are read-only. Nothing here writes to them, and only the images of a batch
    are copied.
    """

    images: Images
    """(N, H, W, C), at the size at which they are kept."""
    labels: Labels
    size: int
    """Side of the images in a batch; they are resized batch by batch where it is not the kept side."""
    channels: int
    """Channels of the images in a batch, converted like `size`."""

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, *, order: NDArray[np.integer] | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`."""
        for picked in batch_indices(len(self), batch_size, order=order, drop_last=drop_last):
            images = convert(self.images[picked], size=self.size, channels=self.channels)
            yield torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(self.labels[picked])

    def take(self, indices: NDArray[np.integer]) -> MemorySplit:
        """See `Split.take`; a copy."""
        return MemorySplit(
            images=self.images[indices], labels=self.labels[indices], size=self.size, channels=self.channels
        )

    def subset(self, count: int, seed: int) -> MemorySplit:
        """See `Split.subset`."""
        return self.take(balanced_indices(self.labels, count, seed))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet:
    """A task on images: the splits that a search chooses by (train, val), and the one it reports (test)."""

    name: str
    classes: tuple[str, ...]
    channels: int
    size: int
    """Side of the square images, in pixels."""
    train: Split
    val: Split
    test: Split | None
    fingerprint: str
    """12 hexadecimal digits of a SHA-256 of all images and labels, or of paths and file sizes if streamed."""
    licence: str
    origin: str
    """One line: where the images are from and how they were split."""
    flip: bool
    """Whether a mirrored image keeps its label."""
    mean: tuple[float, ...]
    """Per channel, of training pixels scaled to 0..1."""
    std: tuple[float, ...]
    frames: int | None = None
    """Frames of a clip, with batches (B, C, T, H, W) of channels-last-3d strides; None: still images."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, or (C, T, H, W) of a clip."""
        time = () if self.frames is None else (self.frames,)
        return (self.channels, *time, self.size, self.size)


def batch_indices(
    count: int, batch_size: int, *, order: NDArray[np.integer] | None, drop_last: bool
) -> Iterator[NDArray[np.integer]]:
    """For each batch which of `count` samples are in it; see `Split.batches`.

    Indexing with them copies: torch must never see a read-only array.
    """
    visited = np.arange(count) if order is None else order
    end = len(visited) - len(visited) % batch_size if drop_last else len(visited)
    for start in range(0, end, batch_size):
        yield visited[start : min(start + batch_size, end)]


def balanced_indices(labels: Labels, count: int, seed: int) -> NDArray[np.int64]:
    """`count` distinct indices, shuffled, every class as often as any other where it has enough images.

    A class that is too small gives all that it has, and the others fill up in equal shares. All indices,
    shuffled, where `count` is the number of labels or more.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    in_class = labels[shuffled]
    # the rank of each image within its class, in shuffled order
    by_class = np.argsort(in_class, kind="stable")
    sizes = np.unique(in_class, return_counts=True)[1]
    rank = np.empty(len(labels), np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = shuffled[np.argsort(rank, kind="stable")[:count]]
    return rng.permutation(chosen)


def statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of (N, H, W, C), pixels scaled to 0..1."""
    values = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(images), 4096):  # bincount widens its input eightfold
            counts += np.bincount(images[start : start + 4096, ..., channel].ravel(), minlength=256)
        share = counts / counts.sum()
        mean = float(share @ values)
        means.append(mean)
        # a constant channel is divided by one grey level rather than by zero
        deviations.append(max(float(share @ (values - mean) ** 2) ** 0.5, 1 / 255))
    return tuple(means), tuple(deviations)


def content_fingerprint(classes: tuple[str, ...], splits: Sequence[MemorySplit]) -> str:
    """12 hexadecimal digits over class names, the size of batches, images and labels."""
    digest = hashlib.sha256("\0".join(classes).encode())
    for split in splits:
        digest.update(repr((split.images.shape, split.size, split.channels)).encode())
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()[:12]
