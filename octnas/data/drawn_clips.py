"""Clips that are drawn when a batch asks for them: a picture that moves over a plain background.

Shapes: N clips, B of them in a batch, C channels, T frames, H = W pixels, S side of the pictures.

A split holds its pictures and, for every frame, where the picture lies in it; nothing of it is as large as
the clips. Everything that is drawn of a clip depends on that clip's own figures alone, so it is the same bit
for bit in whatever batch it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from octnas.data.memory_clips import Clips
from octnas.data.sets import Batch, Labels, balanced_indices, batch_indices

__all__ = ["DrawnClips", "Motion", "frame_times", "placements"]

_CHUNK = 128
"""Clips drawn at a time, so that their pixels stay in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """How pictures lie in the middle of their clips, and how they move; each field is (N,).

    Lengths are in halves of the frame's side, x to the right and y down; angles are in radians, clockwise.
    What a motion changes is per clip length: a picture of `travel_x` 0.6 moves by 0.3 of the frame's side.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    angle: NDArray[np.float64]
    scale: NDArray[np.float64]
    """Side of the picture over that of the frame."""
    travel_x: NDArray[np.float64]
    travel_y: NDArray[np.float64]
    turn: NDArray[np.float64]
    growth: NDArray[np.float64]
    """Natural logarithm of the last size over the first."""


def frame_times(frames: int) -> NDArray[np.float64]:
    """When each frame is taken, (T,), with the clip from -1/2 to 1/2; exactly symmetric about 0."""
    return (2 * np.arange(frames) + 1 - frames) / (2 * frames)


def placements(motion: Motion, frames: int) -> NDArray[np.float32]:
    """(N, T, 6): the affine map from a frame's pixels to its picture, rows (x, y, 1) for x and for y."""
    u = frame_times(frames)
    x, y, angle = (
        base[:, None] + change[:, None] * u
        for base, change in (
            (motion.x, motion.travel_x),
            (motion.y, motion.travel_y),
            (motion.angle, motion.turn),
        )
    )
    scale = motion.scale[:, None] * np.exp(motion.growth[:, None] * u)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    rows = (cos, sin, -(cos * x + sin * y), -sin, cos, sin * x - cos * y)
    return np.stack(rows, axis=-1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnClips:
    """Clips drawn batch by batch; see `octnas.data.Split` for its methods, with batches (B, C, T, H, W).

    Plain arrays, as in `MemorySplit`: pickled out of band, and read back by Ray without a copy.
    """

    pictures: NDArray[np.uint8]
    """(N, S, S), black where there is nothing to see."""
    labels: Labels
    placed: NDArray[np.float32]
    """(N, T, 6), see `placements`."""
    shades: NDArray[np.float32]
    """(N, 3), in grey levels: background, white of the picture above it, deviation of the noise."""
    noise_keys: NDArray[np.uint32]
    """(N,): what the noise of each clip is made from."""
    size: int
    channels: int

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, *, order: NDArray[np.integer] | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`."""
        for picked in batch_indices(len(self), batch_size, order=order, drop_last=drop_last):
            clips = torch.from_numpy(self.draw(picked))
            yield clips.permute(0, 4, 1, 2, 3), torch.from_numpy(self.labels[picked])

    def draw(self, indices: NDArray[np.integer]) -> Clips:
        """The clips at `indices`, uint8 (B, T, H, W, C)."""
        grey = np.empty((len(indices), self.placed.shape[1], self.size, self.size), np.uint8)
        for start in range(0, len(indices), _CHUNK):
            part = slice(start, start + _CHUNK)
            grey[part] = self._draw_grey(indices[part])
        return np.repeat(grey[..., None], self.channels, axis=-1) if self.channels > 1 else grey[..., None]

    def _draw_grey(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        count, frames, size = len(indices), self.placed.shape[1], self.size
        place = torch.from_numpy(self.placed[indices]).unsqueeze(-2).unsqueeze(-2)  # (B, T, 1, 1, 6)
        along = (2 * torch.arange(size, dtype=torch.float32) + 1 - size) / size
        x, y = along.view(1, 1, 1, size), along.view(1, 1, size, 1)
        # sums of separate products: a matrix product may round otherwise in another batch
        grid = torch.empty(count, frames, size, size, 2)
        for axis in range(2):
            across, down, shift = (place[..., 3 * axis + i] for i in range(3))
            torch.add(across * x, down * y + shift, out=grid[..., axis])
        pictures = torch.from_numpy(self.pictures[indices]).to(torch.float32).unsqueeze(1)
        # the frames of a clip as one tall picture: each clip's own picture is read once
        drawn = functional.grid_sample(
            pictures, grid.view(count, frames * size, size, 2), mode="bilinear", align_corners=False
        ).view(count, -1)
        shades = torch.from_numpy(self.shades[indices])
        drawn.mul_(shades[:, 1:2] / 255).add_(shades[:, 0:1])
        noise = torch.from_numpy(_noise(self.noise_keys[indices], drawn.shape[1]))
        drawn.add_(noise.mul_(shades[:, 2:3]))
        levels = drawn.round_().clamp_(0, 255).to(torch.uint8).numpy()
        return levels.reshape(count, frames, size, size)

    def take(self, indices: NDArray[np.integer]) -> DrawnClips:
        """See `Split.take`."""
        return DrawnClips(
            pictures=self.pictures[indices],
            labels=self.labels[indices],
            placed=self.placed[indices],
            shades=self.shades[indices],
            noise_keys=self.noise_keys[indices],
            size=self.size,
            channels=self.channels,
        )

    def subset(self, count: int, seed: int) -> DrawnClips:
        """See `Split.subset`."""
        return self.take(balanced_indices(self.labels, count, seed))


def _noise(keys: NDArray[np.uint32], pixels: int) -> NDArray[np.float32]:
    """(B, pixels), mean 0 and deviation 1: hashed from key and place, so that no stream orders the clips.

    The finaliser of MurmurHash3 makes 32 bits, whose four bytes add up to nearly a Gaussian.
    """
    with np.errstate(over="ignore"):
        bits = np.arange(pixels, dtype=np.uint32) * np.uint32(0x9E3779B1) + keys[:, None]
        bits ^= bits >> np.uint32(16)
        bits *= np.uint32(0x85EBCA6B)
        bits ^= bits >> np.uint32(13)
        bits *= np.uint32(0xC2B2AE35)
        bits ^= bits >> np.uint32(16)
    pairs = (bits & np.uint32(0x00FF00FF)) + ((bits >> np.uint32(8)) & np.uint32(0x00FF00FF))
    total = ((pairs & np.uint32(0xFFFF)) + (pairs >> np.uint32(16))).astype(np.float32)
    total -= np.float32(510)  # four bytes of mean 127.5
    total *= np.float32((3 / (256**2 - 1)) ** 0.5)  # and of variance (256^2 - 1) / 12 each
    return total
