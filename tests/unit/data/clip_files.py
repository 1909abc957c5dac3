"""Small videos written on the spot, whose frames carry their number as grey level."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["STEP", "numbers", "write_video"]

STEP = 5
"""Grey levels from one frame to the next; the first is STEP itself."""


def write_video(
    path: Path,
    frames: int = 12,
    *,
    codec: str = "mpeg4",
    size: tuple[int, int] = (32, 32),
    stamps_ms: Sequence[int] | None = None,
    group: int = 4,
    first: int = 0,
    pictures: np.ndarray | None = None,
) -> None:
    """A video of grey `frames` (or of `pictures`, (T, H, W, 3)), shown at `stamps_ms` or 25 a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pictures is None:
        levels = (STEP * (1 + first + np.arange(frames)) % 256).astype(np.uint8)
        pictures = np.broadcast_to(levels[:, None, None, None], (frames, size[1], size[0], 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        stream.codec_context.gop_size = group
        if stamps_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        container.start_encoding()  # writes a header even where no frame follows
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if stamps_ms is not None:
                frame.pts, frame.time_base = stamps_ms[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def numbers(clip: np.ndarray) -> list[int]:
    """The number of each frame of a clip (T, H, W, C), by its grey level."""
    return [round(float(level) / STEP) - 1 for level in clip.mean(axis=(1, 2, 3))]
