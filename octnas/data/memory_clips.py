"""Clips kept in memory, as one plain array.

Shapes: N clips, B of them in a batch, C channels, T frames, H and W pixels. Clips are uint8 and kept
(N, T, H, W, C), so a batch (B, C, T, H, W) has channels-last-3d strides without a copy more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from octnas.data.sets import Batch, Labels, balanced_indices, batch_indices, statistics

__all__ = ["Clips", "MemoryClips", "clip_statistics", "clips_fingerprint"]

Clips = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemoryClips:
    """Clips in memory; see `octnas.data.Split` for its methods, with batches (B, C, T, H, W).

    As with `MemorySplit`, arrays may be read-only: only the clips of a batch are copied.
    """

    clips: Clips
    """(N, T, H, W, C), as they are in a batch."""
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, *, order: NDArray[np.integer] | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`."""
        for picked in batch_indices(len(self), batch_size, order=order, drop_last=drop_last):
            clips = torch.from_numpy(self.clips[picked])
            yield clips.permute(0, 4, 1, 2, 3), torch.from_numpy(self.labels[picked])

    def take(self, indices: NDArray[np.integer]) -> MemoryClips:
        """See `Split.take`; a copy."""
        return MemoryClips(clips=self.clips[indices], labels=self.labels[indices])

    def subset(self, count: int, seed: int) -> MemoryClips:
        """See `Split.subset`."""
        return self.take(balanced_indices(self.labels, count, seed))


def clip_statistics(clips: Clips) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of (N, T, H, W, C), pixels scaled to 0..1."""
    return statistics(clips.reshape(-1, *clips.shape[2:]))


def clips_fingerprint(classes: tuple[str, ...], splits: Sequence[MemoryClips]) -> str:
    """12 hexadecimal digits over class names, clips and labels."""
    digest = hashlib.sha256("\0".join(classes).encode())
    for split in splits:
        digest.update(repr(split.clips.shape).encode())
        digest.update(np.ascontiguousarray(split.clips).data)
        digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()[:12]
