"""One pass over files that worker processes decode: damaged ones are skipped, named and counted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from octnas.data.sets import Batch
from octnas.errors import DataError, DataWarning

__all__ = ["DAMAGED_SHARE", "Decoded", "allowed_damaged", "read_batches"]

DAMAGED_SHARE = 0.01
"""Share of damaged files among those visited above which a pass ends in an error."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """What became of one file: its pixels (None if it is damaged), and why it is damaged or what is odd."""

    pixels: NDArray[np.uint8] | None
    label: int
    path: str
    why: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class _Pile:
    """The files of one batch."""

    pixels: torch.Tensor
    labels: torch.Tensor
    damaged: dict[str, str] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)

    def pin_memory(self) -> _Pile:
        """What PyTorch's loader calls in the process that takes the batches."""
        return replace(self, pixels=self.pixels.pin_memory(), labels=self.labels.pin_memory())


def read_batches(
    files: Dataset[Decoded],
    visits: Sequence[Any],
    *,
    batch_size: int,
    drop_last: bool,
    workers: int,
    root: str,
    noun: str,
    files_in_set: int,
    damaged: dict[str, str],
    odd: dict[str, str],
) -> Iterator[Batch]:
    """Batches of the files that `visits` (keys of `files`) name, pixels stacked as they are decoded.

    A file that is damaged, or odd (a video that is too short), is named in a warning unless `damaged` or
    `odd` has it from an earlier pass. `noun` is what a file is called. Raises DataError above 1 % of
    damaged files; of a sample of the set (`allowed_damaged`), above what a set with 1 % shows.
    """
    allowed = allowed_damaged(len(visits), files_in_set)
    found: dict[str, str] = {}
    loader: DataLoader[Decoded] = DataLoader(
        files,
        batch_size=batch_size,
        sampler=visits,
        drop_last=drop_last,
        num_workers=workers,
        collate_fn=_collate,
        # A GPU copies from pinned memory while it computes. At most two batches a worker wait to be taken.
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=2 if workers else None,
        generator=torch.Generator(),  # else each pass would draw from torch's global generator
    )
    for pile in loader:
        found.update(pile.damaged)
        for path, why in pile.damaged.items():
            if path not in damaged:
                damaged[path] = why
                warnings.warn(f"skipped the damaged {noun} {path}: {why}", DataWarning, stacklevel=3)
        fresh = {path: why for path, why in pile.odd.items() if path not in odd}
        if fresh:
            odd.update(fresh)
            warnings.warn(_named(fresh), DataWarning, stacklevel=3)
        if len(found) > allowed:
            named = "; ".join(f"{path} ({reason})" for path, reason in list(found.items())[:3])
            raise DataError(
                f"at most 1 % of the {noun}s may be damaged, but {len(found)} of {len(visits)} read under "
                f"{root} are: {named}; replace or remove them"
            )
        if len(pile.labels):
            yield pile.pixels, pile.labels


def allowed_damaged(visited: int, of: int) -> int:
    """How many of `visited` files may be damaged: 1 % where all are visited.

    A sample may have four standard deviations more than its 1 %, by the hypergeometric distribution: else
    one of many samples of a set with fewer would be refused by chance.
    """
    mean = visited * DAMAGED_SHARE
    left_out = max(0.0, 1 - visited / of) if of else 0.0
    return int(mean + 4 * math.sqrt(mean * (1 - DAMAGED_SHARE) * left_out))


def _named(files: dict[str, str]) -> str:
    """All files of a batch in one line: a set of short videos must not print a line for each."""
    shown = "; ".join(f"{path} {why}" for path, why in list(files.items())[:5])
    return shown if len(files) <= 5 else f"{shown}; and {len(files) - 5} more like these"


def _collate(items: list[Decoded]) -> _Pile:
    pixels = [item.pixels for item in items if item.pixels is not None]
    return _Pile(
        pixels=torch.from_numpy(np.stack(pixels)) if pixels else torch.empty(0, dtype=torch.uint8),
        labels=torch.tensor([item.label for item in items if item.pixels is not None], dtype=torch.int64),
        damaged={item.path: item.why for item in items if item.pixels is None},
        odd={item.path: item.why for item in items if item.pixels is not None and item.why},
    )
