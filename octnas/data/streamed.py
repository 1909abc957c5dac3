"""Images that do not fit in memory: decoded by worker processes, batch by batch.

Damaged files are skipped and named, up to 1 % of those visited.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from octnas.data.decode import DAMAGED, decode
from octnas.data.sets import Batch, Labels, balanced_indices
from octnas.errors import DataError
from octnas.machine import usable_cores

__all__ = ["StreamedSplit", "default_workers", "reason"]

DAMAGED_SHARE = 0.01
"""Share of damaged files among those visited above which a pass ends in an error."""


def default_workers() -> int:
    """One worker a core that this process may use, at most 4."""
    return min(4, usable_cores())


@dataclass(slots=True, kw_only=True, eq=False)
class StreamedSplit:
    """Images as files under `root`; see `octnas.data.Split` for its methods.

    A batch is short by its damaged files. Each is named once, in a warning, and kept in `damaged`; a pass in
    which more than 1 % of the files to visit are damaged raises DataError, naming some.
    """

    root: str
    paths: NDArray[np.bytes_]
    """Below `root`, encoded for the file system: one array, not a million strings, to be pickled."""
    labels: Labels
    size: int
    channels: int
    workers: int = field(default_factory=default_workers)
    """Decoding processes; 0 decodes in this one."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Path and reason of the files found damaged so far."""

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, *, order: NDArray[np.integer] | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`. Raises DataError above 1 % of damaged files."""
        visited = np.arange(len(self)) if order is None else order
        allowed = int(len(visited) * DAMAGED_SHARE)
        found: dict[str, str] = {}
        loader: DataLoader[_Item] = DataLoader(
            _Files(self),
            batch_size=batch_size,
            sampler=visited.tolist(),
            drop_last=drop_last,
            num_workers=self.workers,
            collate_fn=_collate,
            generator=torch.Generator(),  # else each pass would draw from torch's global generator
        )
        for images, labels, damaged in loader:
            found.update(damaged)
            self._report(damaged)
            if len(found) > allowed:
                named = "; ".join(f"{path} ({reason})" for path, reason in list(found.items())[:3])
                raise DataError(
                    f"at most 1 % of the images may be damaged, but {len(found)} of {len(visited)} under "
                    f"{self.root} are: {named}; replace or remove them"
                )
            if len(labels):
                # (B, H, W, C) until here: workers' tensors arrive with plain strides
                yield images.permute(0, 3, 1, 2), labels

    def take(self, indices: NDArray[np.integer]) -> StreamedSplit:
        """See `Split.take`."""
        return StreamedSplit(
            root=self.root,
            paths=self.paths[indices],
            labels=self.labels[indices],
            size=self.size,
            channels=self.channels,
            workers=self.workers,
            damaged=self.damaged,
        )

    def subset(self, count: int, seed: int) -> StreamedSplit:
        """See `Split.subset`."""
        return self.take(balanced_indices(self.labels, count, seed))

    def file(self, index: int) -> str:
        """Full path of the image at `index`."""
        return os.path.join(self.root, os.fsdecode(bytes(self.paths[index])))

    def _report(self, damaged: dict[str, str]) -> None:
        for path, reason in damaged.items():
            if path not in self.damaged:
                self.damaged[path] = reason
                warnings.warn(f"skipped the damaged image {path}: {reason}", stacklevel=3)


_Item = tuple[NDArray[np.uint8] | None, int, str, str]
_Decoded = tuple[torch.Tensor, torch.Tensor, dict[str, str]]


class _Files(Dataset[_Item]):
    """Decodes one file: the image (None if damaged), its label, its path, the reason if damaged."""

    def __init__(self, split: StreamedSplit) -> None:
        self.split = split

    def __getitem__(self, index: int) -> _Item:
        split, path = self.split, self.split.file(index)
        label = int(split.labels[index])
        try:
            return decode(path, size=split.size, channels=split.channels), label, path, ""
        except DAMAGED as error:
            return None, label, path, reason(error)


def reason(error: BaseException) -> str:
    """Why a file cannot be read, in few words; Pillow's message may repeat the path."""
    text = str(error)
    return type(error).__name__ if not text or text.startswith("cannot identify") else text


def _collate(items: list[_Item]) -> _Decoded:
    images = [image for image, _, _, _ in items if image is not None]
    labels = [label for image, label, _, _ in items if image is not None]
    damaged = {path: why for image, _, path, why in items if image is None}
    stacked = torch.from_numpy(np.stack(images)) if images else torch.empty(0, dtype=torch.uint8)
    return stacked, torch.tensor(labels, dtype=torch.int64), damaged
