"""Clips as files, videos or volumes, decoded by worker processes batch by batch.

Damaged files are skipped and named, up to 1 % of those visited. Short ones are named too: their frames are
repeated.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from octnas.data.clip_file import DAMAGED, clip_reason, decode_clip
from octnas.data.reading import Decoded, read_batches
from octnas.data.sampling import Sampling
from octnas.data.sets import Batch, Labels, balanced_indices
from octnas.data.streamed import default_workers

__all__ = ["StreamedClips", "clips_listing_fingerprint"]

_Visit = tuple[int, tuple[int, ...] | None]
"""Index of a clip, and the seed of its random places."""


@dataclass(slots=True, kw_only=True, eq=False)
class StreamedClips:
    """Clips as files under `root`; see `octnas.data.Split` for its methods, with batches (B, C, T, H, W).

    A batch is short by its damaged files. Each is named once, in a warning, and kept in `damaged`; a pass in
    which more than 1 % of the files to visit are damaged (of a sample: `allowed_damaged`) raises DataError,
    naming some.
    """

    root: str
    paths: NDArray[np.bytes_]
    """Below `root`, encoded for the file system: one array, not a million strings, to be pickled."""
    labels: Labels
    sampling: Sampling
    size: int
    channels: int
    draw: int | None = None
    """Seed of random places in the videos, for training; None: the middle, the same at every visit.

    The places of a clip follow from this seed, the clip and the batch that it is in, so that a later pass, in
    another order, sees other frames, and a training that is taken up again sees those it would have seen.
    """
    workers: int = field(default_factory=default_workers)
    """Decoding processes; 0 decodes in this one."""
    drawn_from: int | None = None
    """Files of the split that this one is a sample of; None: it is no sample."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Path and reason of the files found damaged so far."""
    short: dict[str, str] = field(default_factory=dict)
    """Path and length of the files found so far to have fewer frames than a clip."""

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, *, order: NDArray[np.integer] | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`. Raises DataError above 1 % of damaged files."""
        visited = np.arange(len(self)) if order is None else np.asarray(order)
        for clips, labels in read_batches(
            _Files(self),
            list(self._visits(visited, batch_size)),
            batch_size=batch_size,
            drop_last=drop_last,
            workers=self.workers,
            root=self.root,
            noun="clip",
            files_in_set=self.drawn_from or len(self),
            damaged=self.damaged,
            odd=self.short,
        ):
            # (B, T, H, W, C) until here: workers' tensors arrive with plain strides
            yield clips.permute(0, 4, 1, 2, 3), labels

    def _visits(self, visited: NDArray[np.integer], batch_size: int) -> Iterator[_Visit]:
        for start in range(0, len(visited), batch_size):
            batch = visited[start : start + batch_size].astype(np.int64)
            seed = None if self.draw is None else (self.draw, zlib.crc32(batch.tobytes()))
            for place, index in enumerate(batch.tolist()):
                yield index, None if seed is None else (*seed, place)

    def take(self, indices: NDArray[np.integer]) -> StreamedClips:
        """See `Split.take`."""
        return StreamedClips(
            root=self.root,
            paths=self.paths[indices],
            labels=self.labels[indices],
            sampling=self.sampling,
            size=self.size,
            channels=self.channels,
            draw=self.draw,
            workers=self.workers,
            drawn_from=self.drawn_from,
            damaged=self.damaged,
            short=self.short,
        )

    def subset(self, count: int, seed: int) -> StreamedClips:
        """See `Split.subset`."""
        sample = self.take(balanced_indices(self.labels, count, seed))
        sample.drawn_from = self.drawn_from or len(self)
        return sample

    def rerooted(self, folder: str) -> StreamedClips:
        """The same split of files that lie below another folder, of which none is known to be damaged."""
        return replace(self, root=folder, damaged={}, short={})

    def file(self, index: int) -> str:
        """Full path of the clip at `index`."""
        return os.path.join(self.root, os.fsdecode(bytes(self.paths[index])))


def clips_listing_fingerprint(of_files: str, sampling: Sampling) -> str:
    """12 hexadecimal digits over the fingerprint of files and how clips are taken from them."""
    return hashlib.sha256(repr((of_files, sampling)).encode()).hexdigest()[:12]


class _Files(Dataset[Decoded]):
    """Decodes one clip."""

    def __init__(self, split: StreamedClips) -> None:
        self.split = split

    def __getitem__(self, visit: _Visit) -> Decoded:
        index, draw = visit
        split, path = self.split, self.split.file(index)
        label, asked = int(split.labels[index]), split.sampling.frames
        try:
            pixels, frames = decode_clip(
                path, sampling=split.sampling, size=split.size, channels=split.channels, draw=draw
            )
        except DAMAGED as error:
            return Decoded(pixels=None, label=label, path=path, why=clip_reason(error))
        few = f"{frames} frame{'s' if frames > 1 else ''}"
        why = "" if frames >= asked else f"is short: {few} where {asked} are asked for, so some are repeated"
        return Decoded(pixels=pixels, label=label, path=path, why=why)
