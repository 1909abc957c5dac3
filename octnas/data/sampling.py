"""Which frames of a video, or slices of a volume, become the T frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sampling", "SamplingKind"]

SamplingKind = Literal["uniform", "dense"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """T frames chosen by the times at which frames are shown, so that a variable frame rate does no harm.

    "uniform" cuts the whole video into T equal segments and takes a frame from each (Wang et al. 2016,
    temporal segment networks); "dense" takes T frames at a stride in one place of it.
    """

    frames: int
    kind: SamplingKind = "uniform"
    stride: int = 2
    """Frames from one taken frame to the next where the kind is "dense"."""

    def choose(
        self, starts: NDArray[np.number], end: float, draw: Sequence[int] | None = None
    ) -> NDArray[np.int64]:
        """Indices (T,), never falling, of the frames to take.

        A video with fewer frames gives some of them several times.

        Args:
            starts: when each frame begins to be shown, rising, in any unit.
            end: when the last one ends.
            draw: seed of random places (training); None takes the middle of each segment, or of the video.
        """
        rng = None if draw is None else np.random.default_rng(draw)
        count, length = len(starts), end - float(starts[0])
        steps = np.arange(self.frames)
        if self.kind == "uniform":
            places = np.full(self.frames, 0.5) if rng is None else rng.random(self.frames)
            times = (steps + places) * length / self.frames
        else:
            spare = max(0, count - ((self.frames - 1) * self.stride + 1))
            first = spare // 2 if rng is None else int(rng.integers(spare + 1))
            times = (first + steps * self.stride + 0.5) * length / count
        shown = np.searchsorted(starts, float(starts[0]) + times, side="right") - 1
        return np.clip(shown, 0, count - 1)
