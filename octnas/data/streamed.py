"""Images that do not fit in memory: decoded by worker processes, batch by batch.

Damaged files are skipped and named, up to 1 % of those visited.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from octnas.data.crop import decode_crop
from octnas.data.decode import DAMAGED, decode
from octnas.data.reading import Decoded, read_batches
from octnas.data.sets import Batch, Labels, balanced_indices
from octnas.machine import usable_cores

__all__ = ["StreamedSplit", "default_workers", "reason"]


def default_workers() -> int:
    """One worker a core that this process may use, at most 4."""
    return min(4, usable_cores())


@dataclass(slots=True, kw_only=True, eq=False)
class StreamedSplit:
    """Images as files under `root`; see `octnas.data.Split` for its methods.

    A batch is short by its damaged files. Each is named once, in a warning, and kept in `damaged`; a pass in
    which more than 1 % of the files to visit are damaged (of a sample: `allowed_damaged`) raises DataError,
    naming some.
    """

    root: str
    paths: NDArray[np.bytes_]
    """Below `root`, encoded for the file system: one array, not a million strings, to be pickled."""
    labels: Labels
    size: int
    channels: int
    workers: int = field(default_factory=default_workers)
    """Decoding processes; 0 decodes in this one."""
    crops: int | None = None
    """Random crops, drawn by this seed and the index of the image; None: the centre square."""
    drawn_from: int | None = None
    """Files of the split that this one is a sample of; None: it is no sample."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Path and reason of the files found damaged so far."""

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, *, order: NDArray[np.integer] | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`. Raises DataError above 1 % of damaged files."""
        visited = np.arange(len(self)) if order is None else order
        for images, labels in read_batches(
            _Files(self),
            visited.tolist(),
            batch_size=batch_size,
            drop_last=drop_last,
            workers=self.workers,
            root=self.root,
            noun="image",
            files_in_set=self.drawn_from or len(self),
            damaged=self.damaged,
            odd={},
        ):
            # (B, H, W, C) until here: workers' tensors arrive with plain strides
            yield images.permute(0, 3, 1, 2), labels

    def cropped(self, seed: int) -> StreamedSplit:
        """The same images, of each a random crop that the seed draws."""
        return replace(self, crops=seed)

    def take(self, indices: NDArray[np.integer]) -> StreamedSplit:
        """See `Split.take`."""
        return replace(self, paths=self.paths[indices], labels=self.labels[indices])

    def subset(self, count: int, seed: int) -> StreamedSplit:
        """See `Split.subset`."""
        sample = self.take(balanced_indices(self.labels, count, seed))
        sample.drawn_from = self.drawn_from or len(self)
        return sample

    def rerooted(self, folder: str) -> StreamedSplit:
        """The same split of files that lie below another folder, of which none is known to be damaged."""
        return replace(self, root=folder, damaged={})

    def file(self, index: int) -> str:
        """Full path of the image at `index`."""
        return os.path.join(self.root, os.fsdecode(bytes(self.paths[index])))


class _Files(Dataset[Decoded]):
    """Decodes one image."""

    def __init__(self, split: StreamedSplit) -> None:
        self.split = split

    def __getitem__(self, index: int) -> Decoded:
        split, path = self.split, self.split.file(index)
        label = int(split.labels[index])
        try:
            if split.crops is None:
                pixels = decode(path, size=split.size, channels=split.channels)
            else:
                rng = np.random.default_rng([split.crops, index])
                pixels = decode_crop(path, size=split.size, channels=split.channels, rng=rng)
            return Decoded(pixels=pixels, label=label, path=path)
        except DAMAGED as error:
            return Decoded(pixels=None, label=label, path=path, why=reason(error))


def reason(error: BaseException) -> str:
    """Why a file cannot be read, in few words; Pillow's message may repeat the path."""
    text = str(error)
    return type(error).__name__ if not text or text.startswith("cannot identify") else text
