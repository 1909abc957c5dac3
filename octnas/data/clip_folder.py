"""A folder of clips by class, videos or volumes, laid out by folders or by split files."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from octnas.counted import counted
from octnas.data import volume
from octnas.data.clip_file import SUFFIXES
from octnas.data.folder import CHANNELS, SIZE
from octnas.data.listing import FileKind, Layout, Listing, find_layout, path_fingerprint
from octnas.data.memory_clips import MemoryClips, clip_statistics, clips_fingerprint
from octnas.data.sampling import Sampling
from octnas.data.sets import ImageSet, Split
from octnas.data.split_files import find_listed_layout
from octnas.data.streamed_clips import StreamedClips, clips_listing_fingerprint
from octnas.errors import DataWarning

__all__ = ["load_clip_folder"]

_STATISTICS_SAMPLE = 256
_DECODED_AT_ONCE = 16
_DECODED_HERE = 64
"""Clips up to which starting processes would take longer than decoding."""
_SHOW_PROGRESS = 200


def load_clip_folder(
    root: Path,
    *,
    sampling: Sampling,
    size: int | None,
    channels: int | None,
    seed: int,
    memory_limit: int,
    fold: int,
) -> ImageSet:
    """The clips under `root`: as its split files say, else `root/train/CLASS/*` or `root/CLASS/*`.

    Clips whose decoded pixels take `memory_limit` bytes or less are decoded once, at the places of validation
    (the middle); larger sets are streamed, with random places in training. See `find_listed_layout` for split
    files and `octnas.data.folder.load_folder` for folders.

    Raises DataError: no clips, a layout that does not give every class its clips, more than 1 % of missing or
    damaged files, NIfTI volumes without nibabel.
    """
    size, channels = size or SIZE, channels or CHANNELS
    layout = _find(root, seed, fold)
    streamed = [
        _stream(root, listing, sampling, size, channels, seed if position == 0 else None)
        for position, listing in enumerate(layout.listings)
    ]
    count = sum(len(split) for split in streamed)
    splits: Sequence[Split]
    if count * sampling.frames * size * size * channels <= memory_limit:
        kept = [_decode_all(split, name) for split, name in zip(streamed, _NAMES, strict=False)]
        splits, sample, fingerprint = kept, kept[0].clips, clips_fingerprint(layout.classes, kept)
    else:
        sample = _decode_all(streamed[0].subset(_STATISTICS_SAMPLE, seed), "").clips
        splits, fingerprint = streamed, _fingerprint(root, layout, sampling)
    mean, std = clip_statistics(sample)
    return ImageSet(
        name=root.resolve().name,
        classes=layout.classes,
        channels=channels,
        size=size,
        frames=sampling.frames,
        train=splits[0],
        val=splits[1],
        test=splits[2] if layout.test else None,
        fingerprint=fingerprint,
        licence="as given by the owner of the clips",
        origin=f"{layout.origin}; {sampling.frames} frames, {sampling.kind}",
        flip=not _sided(layout.classes),
        mean=mean,
        std=std,
    )


_NAMES = ("training", "validation", "test")


def _find(root: Path, seed: int, fold: int) -> Layout:
    kind = FileKind(noun="clips", suffixes=SUFFIXES)
    layout = find_listed_layout(root, kind, seed, fold)
    if layout is None:
        layout = find_layout(root, kind, seed)
        if kind.ignored:
            kinds = ", ".join(suffix for suffix, _ in kind.ignored.most_common(5))
            files = counted(kind.ignored.total(), "file")
            warnings.warn(
                f"ignored {files} under {root}, neither video nor volume ({kinds})", DataWarning, stacklevel=4
            )
    for listing in layout.listings:
        for path in listing.paths:
            if path.lower().endswith(tuple(volume.NIFTI_SUFFIXES)):
                volume.require_nibabel(path)
                return layout
    return layout


def _stream(
    root: Path, listing: Listing, sampling: Sampling, size: int, channels: int, draw: int | None
) -> StreamedClips:
    return StreamedClips(
        root=str(root),
        paths=np.array([os.fsencode(path) for path in listing.paths]),
        labels=listing.labels,
        sampling=sampling,
        size=size,
        channels=channels,
        draw=draw,
    )


def _decode_all(split: StreamedClips, name: str) -> MemoryClips:
    """Every clip decoded at the places of validation, less the damaged ones."""
    fixed = split.take(np.arange(len(split)))
    fixed.draw = None
    if len(split) <= _DECODED_HERE:
        fixed.workers = 0
    shape = (len(split), split.sampling.frames, split.size, split.size, split.channels)
    clips, labels, filled = np.empty(shape, np.uint8), np.empty(len(split), np.int64), 0
    for batch, of_batch in track(
        fixed.batches(_DECODED_AT_ONCE),
        f"decoding {name} clips",
        -(-len(split) // _DECODED_AT_ONCE),
        console=Console(stderr=True),
        transient=True,
        disable=len(split) < _SHOW_PROGRESS,
    ):
        part = slice(filled, filled + len(of_batch))
        clips[part], labels[part] = batch.permute(0, 2, 3, 4, 1).numpy(), of_batch.numpy()
        filled = part.stop
    return MemoryClips(clips=clips[:filled], labels=labels[:filled])


def _fingerprint(root: Path, layout: Layout, sampling: Sampling) -> str:
    return clips_listing_fingerprint(path_fingerprint(root, layout.classes, layout.listings), sampling)


def _sided(classes: tuple[str, ...]) -> bool:
    """Whether classes speak of left and right, which a mirrored clip would confuse."""
    words = re.compile(r"(?<![a-z])(left|right|(counter|anti)?clockwise)(?![a-z])")
    return any(words.search(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()) for name in classes)
