"""One video file to the frames of a clip, by PyAV: only what is needed of it is decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from octnas.data.decode import square
from octnas.data.sampling import Sampling

__all__ = ["SUFFIXES", "decode_video"]

SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
WHOLE = 0.9
"""Share of its declared frames, or of its declared length, below which a video counts as truncated."""


class _UntimedError(Exception):
    """The packets of a video do not say when its frames are shown, or it cannot be sought in."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Times:
    """When the frames of a video are shown, in the unit of its stream."""

    starts: NDArray[np.int64]
    end: float
    keys: NDArray[np.int64]
    """Times of the frames that can be decoded without another one."""


def decode_video(
    path: str, *, sampling: Sampling, size: int, channels: int, draw: Sequence[int] | None = None
) -> tuple[NDArray[np.uint8], int]:
    """The clip that `sampling` takes of the video at `path`, and how many frames the video has.

    uint8 (T, size, size, channels). Each frame is upright, its short side to `size`, then its
    centre, as `octnas.data.decode` does with images. `draw` is the seed of random places, see
    `Sampling.choose`. Pixels are taken to be square.

    Raises ValueError or av.FFmpegError where the file cannot be read, holds no frames, or is truncated.
    """
    try:
        return _by_packets(path, sampling, size, channels, draw)
    except _UntimedError:
        return _whole(path, sampling, size, channels, draw)
    except av.EOFError as error:
        raise ValueError("it has no frames") from error


def _by_packets(
    path: str, sampling: Sampling, size: int, channels: int, draw: Sequence[int] | None
) -> tuple[NDArray[np.uint8], int]:
    """Times from the packets, which are not decoded; then each frame sought from the key frame before it."""
    with _opened(path) as (container, stream):
        times = _packet_times(container, stream)
        chosen = times.starts[sampling.choose(times.starts, times.end, draw)]
        interval = (times.end - times.starts[0]) / len(times.starts)
        clip = np.empty((sampling.frames, size, size, channels), np.uint8)
        decoded: Iterator[VideoFrame] = iter(())
        frame: VideoFrame | None = None
        shown = -np.inf
        for position, wanted in enumerate(chosen):
            key = int(times.keys[np.searchsorted(times.keys, wanted, side="right") - 1])
            # what lies between here and there need not be decoded if a key frame lies between, too
            sought = frame is None or key > shown
            if sought:
                container.seek(key, stream=stream)
                decoded, frame = container.decode(stream), None
            before = frame
            while frame is None or shown < wanted:
                following = next(decoded, None)
                if following is None:
                    break
                if following.pts is None or (sought and frame is None and following.pts > wanted):
                    raise _UntimedError
                frame, shown = following, following.pts
            if frame is None or wanted - shown > 2 * interval:
                raise ValueError("part of its frames cannot be decoded: it is damaged or truncated")
            if position and frame is before:
                clip[position] = clip[position - 1]
            else:
                clip[position] = _pixels(frame, size, channels)
    return clip, len(times.starts)


def _whole(
    path: str, sampling: Sampling, size: int, channels: int, draw: Sequence[int] | None
) -> tuple[NDArray[np.uint8], int]:
    """Everything decoded twice, for the times and for the frames: whole videos would not fit in memory."""
    with _opened(path) as (container, stream):
        stamps = [frame.pts for frame in container.decode(stream)]
    if not stamps:
        raise ValueError("it has no frames")
    timed = [stamp for stamp in stamps if stamp is not None]
    starts = np.array(timed if len(timed) == len(stamps) else range(len(stamps)), np.float64)
    if (np.diff(starts) <= 0).any():  # stamps that jump back say nothing: count frames
        starts = np.arange(len(stamps), dtype=np.float64)
    end = starts[-1] + (starts[-1] - starts[0]) / max(1, len(starts) - 1)
    chosen = sampling.choose(starts, max(end, starts[-1] + 1), draw)
    clip = np.empty((sampling.frames, size, size, channels), np.uint8)
    with _opened(path) as (container, stream):
        for index, frame in enumerate(container.decode(stream)):
            places = np.flatnonzero(chosen == index)
            if len(places):
                clip[places] = _pixels(frame, size, channels)
            if index >= chosen[-1]:
                break
    return clip, len(stamps)


@contextmanager
def _opened(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its stream of pictures that move, decoded by one thread: clips go side by side."""
    if os.path.getsize(path) == 0:
        raise ValueError("it is empty (0 bytes)")
    with av.open(path) as container:
        if container.format.name.endswith("_pipe") or container.format.name == "image2":
            raise ValueError("it is a still image")
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise ValueError("it has no video stream")
        streams[0].codec_context.thread_count = 1
        yield container, streams[0]


def _packet_times(container: InputContainer, stream: VideoStream) -> _Times:
    """Raises ValueError where there are no frames, or clearly fewer than declared."""
    stamps: list[tuple[int, bool]] = []
    longest, untimed = 0, False
    for packet in container.demux(stream):
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.pts is None:
            untimed = True
        else:
            stamps.append((packet.pts, packet.is_keyframe))
            longest = max(longest, packet.duration or 0)
    if untimed:
        raise _UntimedError
    if not stamps:
        raise ValueError("it has no frames")
    starts, place = np.unique(np.array([stamp for stamp, _ in stamps], np.int64), return_index=True)
    keyed = np.array([key for _, key in stamps])[place]
    keyed[0] = True  # a video may begin amid a group of frames
    last = float(starts[-1] - starts[0]) / (len(starts) - 1) if len(starts) > 1 else 0.0
    end = float(starts[-1]) + (last or longest or 1)
    _check_whole(container, stream, len(starts), end - float(starts[0]))
    return _Times(starts=starts, end=end, keys=starts[keyed])


def _check_whole(container: InputContainer, stream: VideoStream, count: int, length: float) -> None:
    if stream.frames:
        if count < WHOLE * stream.frames:
            raise ValueError(f"it is truncated: {count} of {stream.frames} frames are there")
    elif container.duration and len(container.streams) == 1 and stream.time_base is not None:
        seconds, declared = length * float(stream.time_base), container.duration / av.time_base
        if seconds < WHOLE * declared:
            raise ValueError(f"it is truncated: {seconds:.1f} of {declared:.1f} s are there")


def _pixels(frame: VideoFrame, size: int, channels: int) -> NDArray[np.uint8]:
    """One frame upright, uint8 (size, size, channels)."""
    image = frame.to_image()  # type: ignore[no-untyped-call]
    if frame.rotation:
        image = image.rotate(frame.rotation, expand=True)
    return square(image.convert("L" if channels == 1 else "RGB"), size)
