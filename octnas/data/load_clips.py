"""`load_clips`: a clip set by its name, or from a folder; `load_data`: that, or still images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from octnas.data.clip_sets import CLIP_SETS
from octnas.data.fetched import files_elsewhere, local_source
from octnas.data.load import IMAGE_SETS, load_images
from octnas.data.sampling import Sampling, SamplingKind
from octnas.data.sets import ImageSet
from octnas.errors import DataError, unknown_name

__all__ = ["DataKind", "kind_of", "load_clips", "load_data"]

DataKind = Literal["images", "clips"]

_LOOKED_AT = 1000
"""Files of a known kind by which a folder is judged."""


def load_clips(
    name: str,
    *,
    frames: int,
    size: int | None = None,
    channels: int | None = None,
    sampling: SamplingKind = "uniform",
    frame_stride: int = 2,
    seed: int = 0,
    fold: int = 1,
    memory_limit: int = 2**30,
) -> ImageSet:
    """The clip set `name`: one of `CLIP_SETS`, or a folder of videos or volumes by class, or such a
    folder as an archive or by its fsspec URI (`octnas.data.fetched`).

    Args:
        name: a folder is laid out as `root/train/CLASS/*` and `root/val/CLASS/*` (and `test`), as
            `root/CLASS/*` (then split by `seed`), or by split files: those of UCF-101 or Kinetics, or lists
            of "path class".
        frames: T, of every clip.
        size: side in px; a named set gives 24, a folder 224 where it is None.
        channels: 1 (grey) or 3 (RGB); a named set gives 1, a folder 3 where it is None.
        sampling: "uniform", over the whole video, or "dense", at a stride in one place. Of no bearing for
            named sets, which are drawn with as many frames as are asked for.
        frame_stride: from one taken frame to the next where the sampling is dense.
        seed: of the drawn sets, of validation shares, and of the places that training frames are taken from.
        fold: which of UCF-101's three lists.
        memory_limit: bytes; a folder whose clips take no more is decoded once, at the places of validation,
            and kept, else streamed from its files with random places in training.

    Raises:
        DataError: a figure that makes no sense, still images, or a folder that is not laid out as above or
            has more than 1 % of damaged or missing files.
        UnknownNameError: a name that is neither a set nor a folder.
    """
    if frames < 1:
        raise DataError(f"a clip must have 1 frame or more, but a clip length of {frames} is asked for")
    if size is not None and size < 1:
        raise DataError(f"size must be 1 px or more, but is {size}")
    if channels not in (None, 1, 3):
        raise DataError(f"channels must be 1 (grey) or 3 (RGB), but is {channels}")
    if sampling not in get_args(SamplingKind):
        raise DataError(f"sampling must be uniform or dense, but is {sampling}")
    if frame_stride < 1:
        raise DataError(f"frame_stride must be 1 or more, but is {frame_stride}")
    loader = CLIP_SETS.get(name)
    if loader is not None:
        return loader(frames, size, channels, seed)
    name = local_source(name)
    if _kind_or_none(name) == "images":
        raise DataError(
            f"{name} holds still images, but clips of {frames} frames are asked for: "
            f"name a clip set ({', '.join(CLIP_SETS)}), a folder of videos or volumes, or no clip length"
        )
    from octnas.data.clip_folder import load_clip_folder  # PyAV is loaded only where there are videos

    return load_clip_folder(
        Path(name).expanduser(),
        sampling=Sampling(frames=frames, kind=sampling, stride=frame_stride),
        size=size,
        channels=channels,
        seed=seed,
        memory_limit=memory_limit,
        fold=fold,
    )


def load_data(
    name: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    frames: int | None = None,
    sampling: SamplingKind = "uniform",
    frame_stride: int = 2,
    seed: int = 0,
    root: Path | None = None,
    memory_limit: int = 2**30,
) -> ImageSet:
    """Clips of `frames` frames by `load_clips`, or still images by `load_images` where `frames` is None.

    Raises DataError where the set holds the other kind, and what those two raise.
    """
    name = name if name in (*CLIP_SETS, *IMAGE_SETS) else local_source(name)
    if frames is not None:
        return load_clips(
            name,
            frames=frames,
            size=size,
            channels=channels,
            sampling=sampling,
            frame_stride=frame_stride,
            seed=seed,
            memory_limit=memory_limit,
        )
    if name in CLIP_SETS or (Path(name).expanduser().is_dir() and _kind_or_none(name) == "clips"):
        raise DataError(
            f"{name} holds clips, but still images are asked for: give a clip length, or name an image set "
            f"({', '.join(IMAGE_SETS)}) or a folder of images"
        )
    return load_images(name, size=size, channels=channels, seed=seed, root=root, memory_limit=memory_limit)


def kind_of(name: str) -> DataKind:
    """Whether the set or folder `name` holds still images or clips; most of a folder's files decide.

    Raises DataError for a folder with neither, UnknownNameError for a name that is no set and no folder.
    """
    kind = _kind_or_none(name)
    if kind is None:
        images, clips = _suffixes()
        raise DataError(
            f"a data set must hold images ({', '.join(sorted(images))}) or videos or volumes "
            f"({', '.join(sorted(clips))}), but {name} has none of them"
        )
    return kind


def _kind_or_none(name: str) -> DataKind | None:
    if name in CLIP_SETS:
        return "clips"
    if name in IMAGE_SETS:
        return "images"
    files = files_elsewhere(name)
    if files is not None:
        return _most_of(files)
    name = local_source(name)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if os.sep in name or name.startswith("."):
            raise DataError(f"the folder {name} does not exist; give one that holds a folder a class")
        raise unknown_name("data set (and no such folder)", name, [*CLIP_SETS, *IMAGE_SETS])
    return _most_of(files for _, _, files in os.walk(folder, followlinks=True))


def _most_of(folders: Iterable[Iterable[str]]) -> DataKind | None:
    """What most of the first files are, by the names in each folder."""
    images, clips = _suffixes()
    seen = {"images": 0, "clips": 0}
    for files in folders:
        for file in files:
            if not file.startswith("."):
                seen["images"] += file.lower().endswith(tuple(images))
                seen["clips"] += file.lower().endswith(tuple(clips))
        if sum(seen.values()) >= _LOOKED_AT:
            break
    if not sum(seen.values()):
        return None
    return "clips" if seen["clips"] >= seen["images"] else "images"


def _suffixes() -> tuple[frozenset[str], frozenset[str]]:
    from octnas.data.clip_file import SUFFIXES as OF_CLIPS
    from octnas.data.folder import SUFFIXES as OF_IMAGES

    return OF_IMAGES, OF_CLIPS
