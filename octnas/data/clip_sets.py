"""The two clip tasks that are drawn from the embedded garments: what is shown, and how it moves.

In both, one garment moves over a plain background. A motion is a path over the whole clip, in relative time
from -1/2 to 1/2: more frames sample the same path more densely. The pose in the middle of the clip and the
shades are drawn from the same distribution whatever the class.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from octnas.data.convert import resize
from octnas.data.drawn_clips import DrawnClips, Motion, placements
from octnas.data.embedded_sets import load_fashion_sample
from octnas.data.memory_clips import clip_statistics
from octnas.data.raw import RawSplit
from octnas.data.sets import ImageSet, Labels, balanced_indices

__all__ = ["CLIP_SETS", "GARMENTS", "MOTIONS", "load_appearance", "load_motion"]

MOTIONS: Final = ("left", "right", "up", "down", "clockwise", "counterclockwise", "grow", "shrink")
"""Classes of clips-motion. Each pair is one motion and its reversal in time."""
GARMENTS: Final = ("T-shirt/top", "Trouser", "Pullover", "Sandal", "Bag", "Ankle boot")
"""Classes of clips-appearance: garments that 20 px tell apart."""

FRAMES, SIZE = 8, 24
"""Frames and side of the clips where the caller names none."""
HELD_OUT = 4_000
"""Clips of validation, and of test where there are as many garments."""

OFF_CENTRE = 0.12
"""Reach of the middle pose from the frame's centre, in halves of the side."""
TILT = math.radians(15)
SCALE = (0.58, 0.72)
TRAVEL = (0.52, 0.80)
"""Length of the way over the clip, in halves of the side: 6 to 10 of 24 px."""
TURN = (math.radians(55), math.radians(90))
GROWTH = (math.log(1.6), math.log(2.1))
BACKGROUND, INK, NOISE = (0.0, 60.0), (120.0, 190.0), (2.0, 8.0)
"""Ranges, in grey levels, of each clip's background, of white above it, and of the noise's deviation."""

_STATISTICS_SAMPLE = 1000
_MOTION, _APPEARANCE = 1, 2
_VERSION = 1
"""To be counted up when the drawing changes: it is part of the fingerprint."""


def load_motion(frames: int, size: int | None, channels: int | None, seed: int) -> ImageSet:
    """clips-motion: which of `MOTIONS` a garment makes; which garment it is has no bearing.

    10,000 / 4,000 / 4,000 clips, each of its own garment, drawn by `seed`.

    A network that looks at each frame by itself and averages over them is right on at most half of the clips
    (by the luck of a finite split a little more): the reversal in time of "left" is "right" at the same speed
    from the same middle pose, and so in each pair. The frames of a clip, taken as a set, therefore have the
    same distribution for both classes of a pair. They can tell the axis, never the direction.
    """

    def draw(labels: Labels, rng: np.random.Generator) -> tuple[Labels, Motion]:
        moved = rng.permutation(np.arange(len(labels)) % len(MOTIONS))
        return moved, motion_paths(moved, rng)

    return _clip_set("clips-motion", MOTIONS, _MOTION, draw, frames, size, channels, seed, flip=False)


def load_appearance(frames: int, size: int | None, channels: int | None, seed: int) -> ImageSet:
    """clips-appearance: which of `GARMENTS` is shown; how it drifts, turns and grows has no bearing.

    6,000 / 4,000 / 3,600 clips, each of its own garment, drawn by `seed`. A single frame tells the class, so
    that a network without time loses nothing.
    """

    def draw(labels: Labels, rng: np.random.Generator) -> tuple[Labels, Motion]:
        return labels, drift_paths(len(labels), rng)

    return _clip_set("clips-appearance", GARMENTS, _APPEARANCE, draw, frames, size, channels, seed, flip=True)


CLIP_SETS: dict[str, Callable[[int, int | None, int | None, int], ImageSet]] = {
    "clips-appearance": load_appearance,
    "clips-motion": load_motion,
}
"""Name of each clip set that is not a folder, with its loader: (frames, size, channels, seed) to a set."""


def motion_paths(labels: Labels, rng: np.random.Generator) -> Motion:
    """Paths of the motions that `labels` (indices of `MOTIONS`) name."""
    count = len(labels)
    pose = _middle_poses(count, rng)
    speeds = {kind: rng.uniform(*bounds, count) for kind, bounds in (("go", TRAVEL), ("turn", TURN))}
    growth = rng.uniform(*GROWTH, count)

    def signed(speed: NDArray[np.float64], forwards: str, backwards: str) -> NDArray[np.float64]:
        sign = np.where(labels == MOTIONS.index(forwards), 1, 0) - (labels == MOTIONS.index(backwards))
        return np.asarray(sign * speed)

    return Motion(
        **pose,
        travel_x=signed(speeds["go"], "right", "left"),
        travel_y=signed(speeds["go"], "down", "up"),
        turn=signed(speeds["turn"], "clockwise", "counterclockwise"),
        growth=signed(growth, "grow", "shrink"),
    )


def drift_paths(count: int, rng: np.random.Generator) -> Motion:
    """Paths that mix all motions: in a random direction, up to as fast as those of clips-motion."""
    pose = _middle_poses(count, rng)
    way, direction = rng.uniform(0, TRAVEL[1], count), rng.uniform(0, 2 * math.pi, count)
    return Motion(
        **pose,
        travel_x=way * np.cos(direction),
        travel_y=way * np.sin(direction),
        turn=rng.uniform(-TURN[0], TURN[0], count),
        growth=rng.uniform(-GROWTH[0], GROWTH[0], count) / 2,
    )


def _middle_poses(count: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    x, y = rng.uniform(-OFF_CENTRE, OFF_CENTRE, (2, count))
    return {"x": x, "y": y, "angle": rng.uniform(-TILT, TILT, count), "scale": rng.uniform(*SCALE, count)}


def _clip_set(
    name: str,
    classes: tuple[str, ...],
    task: int,
    draw: Callable[[Labels, np.random.Generator], tuple[Labels, Motion]],
    frames: int,
    size: int | None,
    channels: int | None,
    seed: int,
    *,
    flip: bool,
) -> ImageSet:
    """A split of clips from each split of the garments, so that no garment is in two of them."""
    garments = load_fashion_sample(Path(), seed)
    size, channels = size or SIZE, channels or 1
    splits = []
    for position, raw in enumerate((garments.train, garments.val, garments.test)):
        rng = np.random.default_rng([seed, task, position])
        if task == _APPEARANCE:
            raw = _only(raw, tuple(garments.classes.index(each) for each in classes))
        chosen = balanced_indices(raw.labels, HELD_OUT if position else len(raw.labels), seed)
        labels, motion = draw(raw.labels[chosen], rng)
        shades = np.stack([rng.uniform(*each, len(labels)) for each in (BACKGROUND, INK, NOISE)], axis=1)
        splits.append(
            DrawnClips(
                # at the side that it has in a clip: a picture that is read at every other pixel would flicker
                pictures=resize(raw.images[chosen], _picture_side(size, raw.images.shape[1]))[..., 0],
                labels=labels,
                placed=placements(motion, frames),
                shades=shades.astype(np.float32),
                noise_keys=rng.integers(0, 2**32, len(labels), np.uint32),
                size=size,
                channels=channels,
            )
        )
    train, val, test = splits
    mean, std = clip_statistics(train.draw(np.arange(_STATISTICS_SAMPLE)))
    return ImageSet(
        name=name,
        classes=classes,
        channels=channels,
        size=size,
        frames=frames,
        train=train,
        val=val,
        test=test,
        fingerprint=_fingerprint((name, frames, size, channels, seed), splits),
        licence=garments.licence,
        origin=f"garments of Fashion-MNIST drawn as clips, no garment in two splits (seed {seed})",
        flip=flip,
        mean=mean,
        std=std,
    )


def _only(raw: RawSplit, wanted: tuple[int, ...]) -> RawSplit:
    """The images of the classes `wanted`, which are numbered anew in that order."""
    kept = np.flatnonzero(np.isin(raw.labels, wanted))
    number = np.zeros(max(wanted) + 1, np.int64)
    number[list(wanted)] = np.arange(len(wanted))
    return RawSplit(images=raw.images[kept], labels=number[raw.labels[kept]])


def _picture_side(size: int, native: int) -> int:
    return min(native, max(1, round(size * sum(SCALE) / 2)))


def _fingerprint(facts: tuple[object, ...], splits: list[DrawnClips]) -> str:
    """Of what decides the drawing: the last digits of the drawn figures may differ between machines."""
    digest = hashlib.sha256(repr((_VERSION, *facts)).encode())
    for split in splits:
        digest.update(split.labels.tobytes())
    return digest.hexdigest()[:12]
