"""The two image sets that are inside the package: a sample of Fashion-MNIST, and look-alike characters.

Made by `benchmarks/embedded_fashion.py` and `benchmarks/embedded_glyphs.py`; the JSON file beside each one
records its seed, its sources and their licences.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octnas.data.raw import RawImages, RawSplit

__all__ = ["FOLDER", "load_fashion_sample", "load_glyphs", "record", "spoil", "unpack"]

FOLDER = Path(__file__).with_name("embedded")

BACKGROUND = (0.0, 50.0)
INK = (130.0, 255.0)
NOISE = (3.0, 16.0)
"""Ranges, in grey levels, from which each glyph's background, ink and deviation of noise are drawn."""

_CHUNK = 1000


def record(name: str) -> dict[str, Any]:
    """What is recorded of the embedded set `name` ("fashion" or "glyphs")."""
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document


def load_fashion_sample(root: Path, seed: int) -> RawImages:
    """10,000 / 14,000 / 6,000 images of Fashion-MNIST at 28 px, split once for all; `root`, `seed` unused."""
    facts = record("fashion")
    with np.load(FOLDER / "fashion.npz", allow_pickle=False) as arrays:
        train, val, test = (
            RawSplit(
                images=arrays[f"{split}_images"][..., None], labels=arrays[f"{split}_labels"].astype(np.int64)
            )
            for split in ("train", "val", "test")
        )
    return RawImages(
        classes=tuple(facts["classes"]),
        train=train,
        val=val,
        test=test,
        licence=facts["licence"],
        flip=True,
        origin=f"a sample of Fashion-MNIST, no image twice (seed {facts['seed']})",
        pad_to=32,
    )


def load_glyphs(root: Path, seed: int) -> RawImages:
    """12,000 / 8,000 / 8,000 characters at 32 px; contrast and noise are drawn by `seed`. `root` is unused.

    Validation and test are written in fonts that are in no other split.
    """
    facts = record("glyphs")
    parts = []
    with np.load(FOLDER / "glyphs.npz", allow_pickle=False) as arrays:
        for position, split in enumerate(("train", "val", "test")):
            clean = unpack(arrays[f"{split}_images"])
            images = spoil(clean, np.random.default_rng([seed, position]))
            parts.append(
                RawSplit(images=images[..., None], labels=arrays[f"{split}_labels"].astype(np.int64))
            )
    licences = sorted({font["licence"] for font in facts["fonts"]})
    return RawImages(
        classes=tuple(facts["characters"]),
        train=parts[0],
        val=parts[1],
        test=parts[2],
        flip=False,
        licence=f"renderings of fonts under: {'; '.join(licences)}",
        origin=f"look-alike characters, each split in its own fonts (seed {facts['seed']}, noise {seed})",
    )


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W / 2) with two pixels of 4 bits a byte to (N, H, W) with levels 0..15."""
    count, height, half = packed.shape
    levels = np.empty((count, height, half, 2), np.uint8)
    np.right_shift(packed, 4, out=levels[..., 0])
    np.bitwise_and(packed, 15, out=levels[..., 1])
    return levels.reshape(count, height, 2 * half)


def spoil(levels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Levels 0..15 (N, H, W) as grey images, each with its own background, ink and Gaussian noise."""
    count = len(levels)
    background, ink, noise = (
        rng.uniform(*bounds, (count, 1, 1)).astype(np.float32) for bounds in (BACKGROUND, INK, NOISE)
    )
    images = np.empty(levels.shape, np.uint8)
    for start in range(0, count, _CHUNK):  # in order, so the stream of numbers is the same for any chunk
        part = slice(start, start + _CHUNK)
        grey = rng.standard_normal(levels[part].shape, dtype=np.float32)
        grey *= noise[part]
        grey += levels[part] * ((ink[part] - background[part]) / np.float32(15))
        grey += background[part]
        images[part] = np.clip(np.rint(grey, out=grey), 0, 255, out=grey)
    return images
