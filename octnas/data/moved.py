"""Sets that are read from files, found in another folder: on another machine, for instance."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from octnas.data.listing import Listing, path_fingerprint
from octnas.data.sets import ImageSet, Split
from octnas.data.streamed import StreamedSplit
from octnas.data.streamed_clips import StreamedClips, clips_listing_fingerprint

__all__ = ["files_fingerprint", "files_of", "folder_of", "moved"]


def folder_of(images: ImageSet) -> Path | None:
    """The folder whose files a set is read from; None where it lies in memory."""
    split = images.train
    return Path(split.root) if isinstance(split, StreamedSplit | StreamedClips) else None


def files_of(images: ImageSet) -> list[str]:
    """Paths, relative to `folder_of`, of all files of a set, each once."""
    paths = (path for listing in _listings(images) for path in listing.paths)
    return list(dict.fromkeys(paths))


def moved(images: ImageSet, folder: Path) -> ImageSet:
    """The set with its files in another folder; one that lies in memory as it is."""
    if folder_of(images) is None:
        return images

    def there(split: Split) -> Split:
        return split.rerooted(str(folder)) if isinstance(split, StreamedSplit | StreamedClips) else split

    test = None if images.test is None else there(images.test)
    return dataclasses.replace(images, train=there(images.train), val=there(images.val), test=test)


def files_fingerprint(images: ImageSet) -> str:
    """The fingerprint that a set which is read from files has by those in its folder: names and sizes.

    Raises:
        OSError: a file is not there.
    """
    folder = folder_of(images)
    assert folder is not None
    of_files = path_fingerprint(folder, images.classes, _listings(images))
    split = images.train
    return (
        clips_listing_fingerprint(of_files, split.sampling) if isinstance(split, StreamedClips) else of_files
    )


def _listings(images: ImageSet) -> list[Listing]:
    return [
        Listing(paths=[os.fsdecode(bytes(path)) for path in split.paths], labels=split.labels)
        for split in (images.train, images.val, images.test)
        if isinstance(split, StreamedSplit | StreamedClips)
    ]
