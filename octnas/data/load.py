"""`load_images`: an image set by its name, or from a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from octnas.data.clip_sets import CLIP_SETS
from octnas.data.embedded_sets import load_fashion_sample, load_glyphs
from octnas.data.fetched import default_root, local_source
from octnas.data.folder import load_folder
from octnas.data.public_sets import load_cifar10, load_cifar100, load_fashion_mnist
from octnas.data.raw import RawImages, to_image_set
from octnas.data.sets import ImageSet
from octnas.errors import DataError, unknown_name

__all__ = ["IMAGE_SETS", "load_images"]

IMAGE_SETS: dict[str, Callable[[Path, int], RawImages]] = {
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "fashion-mnist": load_fashion_mnist,
    "fashion-sample": load_fashion_sample,
    "glyphs": load_glyphs,
}
"""Name of each set that is not a folder, with its loader: (root of public sets, seed) to raw images."""


def load_images(
    name: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    root: Path | None = None,
    memory_limit: int = 2**30,
) -> ImageSet:
    """The image set `name`: one of `IMAGE_SETS`, or a folder that holds a folder of images a class, or such a
    folder as an archive or by its fsspec URI (`octnas.data.fetched`).

    `size` is the side in pixels and `channels` is 1 or 3; where None, a named set keeps its own (28 px images
    are padded to 32) and a folder gives 224 px RGB. `seed` draws what the source leaves open: the validation
    share of public sets and folders, the noise of glyphs. `root` holds public sets (default: $OCTNAS_DATA, or
    ~/.cache/octnas/data). Decoded images that take more than `memory_limit` bytes are not kept: a folder is
    streamed from its files, another set is resized batch by batch.

    Raises DataError where files are missing, damaged or not laid out by class, UnknownNameError for a name
    that is neither a set nor a folder.
    """
    if size is not None and size < 1:
        raise DataError(f"size must be 1 px or more, but is {size}")
    if channels not in (None, 1, 3):
        raise DataError(f"channels must be 1 (grey) or 3 (RGB), but is {channels}")
    loader = IMAGE_SETS.get(name)
    if loader is None:
        name = local_source(name)
        folder = Path(name).expanduser()
        if folder.is_dir():
            return load_folder(folder, size=size, channels=channels, seed=seed, memory_limit=memory_limit)
        if os.sep in name or name.startswith("."):
            raise DataError(
                f"the folder of images {name} does not exist; give one that holds a folder a class"
            )
        if name in CLIP_SETS:
            raise DataError(
                f"{name} holds clips, but still images are asked for: give a clip length or an image set"
            )
        raise unknown_name("data set (and no such folder)", name, IMAGE_SETS)
    raw = loader(root or default_root(), seed)
    return to_image_set(name, raw, size=size, channels=channels, memory_limit=memory_limit)
