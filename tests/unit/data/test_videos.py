"""Videos written here, frames read back by their grey level: seeking, variable rate, sizes, damage."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from clip_files import numbers, write_video
from PIL import Image

from octnas.data.clip_file import DAMAGED, clip_reason, decode_clip
from octnas.data.sampling import Sampling
from octnas.data.video import _whole, decode_video

UNIFORM = Sampling(frames=6)
FORMATS = [
    ("a.mp4", "libx264"),
    ("b.mkv", "ffv1"),
    ("c.mpg", "mpeg2video"),
    ("d.webm", "libvpx"),
    ("e.avi", "ffv1"),
]


def why(path: Path) -> str:
    """Why `path` counts as damaged."""
    with pytest.raises(DAMAGED) as error:
        decode_clip(str(path), sampling=UNIFORM, size=16, channels=1)
    text = clip_reason(error.value)
    assert "\n" not in text
    assert str(path) not in text
    return text


@pytest.mark.parametrize(("name", "codec"), FORMATS)
@pytest.mark.parametrize("group", [1, 5, 40])
def test_frames_by_number_with_and_without_seeking(tmp_path: Path, name: str, codec: str, group: int) -> None:
    path = tmp_path / name
    write_video(path, 40, codec=codec, group=group)
    for sampling, expected in (
        (Sampling(frames=8), [2, 7, 12, 17, 22, 27, 32, 37]),
        (Sampling(frames=4, kind="dense", stride=3), [15, 18, 21, 24]),
    ):
        clip, frames = decode_video(str(path), sampling=sampling, size=16, channels=1)
        assert (clip.shape, clip.dtype, frames) == ((sampling.frames, 16, 16, 1), np.uint8, 40)
        assert numbers(clip) == expected
        for draw in (None, (1,), (2,)):
            sought, _ = decode_video(str(path), sampling=sampling, size=16, channels=1, draw=draw)
            whole, count = _whole(str(path), sampling, 16, 1, draw)
            assert np.array_equal(sought, whole)
            assert count == 40


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("b.mkv", "ffv1")])
def test_variable_frame_rate_goes_by_time(tmp_path: Path, name: str, codec: str) -> None:
    path = tmp_path / name
    stamps = [0, 40, 80, 120, 160, 1000, 1040, 1080, 3000, 3040]
    write_video(path, 10, codec=codec, stamps_ms=stamps, group=3)
    # 3.38 s in six parts: middles at 0.28, 0.84, 1.41, 1.97, 2.53 and 3.10 s
    clip, frames = decode_video(str(path), sampling=UNIFORM, size=16, channels=1)
    assert frames == 10
    assert numbers(clip) == [4, 4, 7, 7, 7, 9]


def test_one_frame_is_a_clip_of_equal_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", 1, codec="libx264", first=9)
    clip, frames = decode_video(str(tmp_path / "one.mp4"), sampling=UNIFORM, size=16, channels=1)
    assert frames == 1
    assert numbers(clip) == [9] * 6


def test_fewer_frames_than_the_clip_are_repeated_in_order(tmp_path: Path) -> None:
    write_video(tmp_path / "few.mkv", 3, codec="ffv1")
    clip, frames = decode_video(str(tmp_path / "few.mkv"), sampling=UNIFORM, size=16, channels=1)
    assert frames == 3
    assert numbers(clip) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("size", [(37, 23), (23, 37), (33, 33), (5, 9)])
@pytest.mark.parametrize("channels", [1, 3])
def test_odd_sizes_are_cropped_as_images_are(tmp_path: Path, size: tuple[int, int], channels: int) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, size[1], size[0], 3), np.uint8)
    write_video(tmp_path / "odd.mkv", codec="ffv1", pictures=pictures)
    clip, _ = decode_video(str(tmp_path / "odd.mkv"), sampling=UNIFORM, size=16, channels=channels)
    assert clip.shape == (6, 16, 16, channels)
    for mine, picture in zip(clip, pictures, strict=True):
        image = Image.fromarray(picture).convert("L" if channels == 1 else "RGB")
        width, height = (max(16, round(side * 16 / min(size))) for side in size)
        left, top = (width - 16) // 2, (height - 16) // 2
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        expected = np.asarray(resized.crop((left, top, left + 16, top + 16))).reshape(16, 16, channels)
        assert np.array_equal(mine, expected)


def test_what_is_no_video_is_damaged_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert why(tmp_path / "empty.mp4") == "it is empty (0 bytes)"
    (tmp_path / "text.mp4").write_text("no video at all\n" * 20)
    assert "Invalid data" in why(tmp_path / "text.mp4")
    (tmp_path / "noise.avi").write_bytes(np.random.default_rng(0).bytes(5000))
    assert why(tmp_path / "noise.avi")
    Image.new("RGB", (32, 32)).save(tmp_path / "picture.jpg")
    (tmp_path / "picture.jpg").rename(tmp_path / "picture.mp4")
    assert why(tmp_path / "picture.mp4") == "it is a still image"
    (tmp_path / "gone.mp4").mkdir()
    assert why(tmp_path / "gone.mp4")


def test_no_video_stream_and_no_frames_are_told_apart(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    assert why(tmp_path / "sound.mkv") == "it has no video stream"
    write_video(tmp_path / "none.mkv", 0, codec="ffv1")
    assert why(tmp_path / "none.mkv") == "it has no frames"


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "ffv1"), ("b.mkv", "ffv1"), ("c.mp4", "libx264")])
def test_a_truncated_video_is_damaged(tmp_path: Path, name: str, codec: str) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (30, 32, 32, 3), np.uint8)
    write_video(tmp_path / name, codec=codec, pictures=pictures)
    decode_clip(str(tmp_path / name), sampling=UNIFORM, size=16, channels=1)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    assert why(tmp_path / name)


def test_a_damaged_stretch_amid_a_video_is_found_or_lived_with(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (30, 32, 32, 3), np.uint8)
    write_video(tmp_path / "a.mkv", codec="ffv1", pictures=pictures, group=1)
    content = bytearray((tmp_path / "a.mkv").read_bytes())
    content[len(content) // 3 : 2 * len(content) // 3] = bytes(len(content) // 3)
    (tmp_path / "a.mkv").write_bytes(content)
    # versions of FFmpeg differ in what they conceal: a clip, or a reason, and nothing else
    try:
        clip, frames = decode_clip(str(tmp_path / "a.mkv"), sampling=UNIFORM, size=32, channels=3)
    except DAMAGED:
        return
    assert frames <= 30
    assert np.array_equal(clip[0], pictures[2])


def test_a_video_that_is_stored_on_its_side_is_put_upright(tmp_path: Path) -> None:
    pictures = np.zeros((6, 16, 32, 3), np.uint8)
    pictures[:, :, 16:] = 250  # the right half is bright
    write_video(tmp_path / "a.mp4", codec="libx264", pictures=pictures)
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    one = 1 << 16
    upright, turned = (
        struct.pack(">9i", *matrix)
        for matrix in ((one, 0, 0, 0, one, 0, 0, 0, 1 << 30), (0, one, 0, -one, 0, 0, 16 * one, 0, 1 << 30))
    )
    place = content.index(upright, content.index(b"tkhd"))
    content[place : place + len(turned)] = turned  # by a quarter, clockwise
    (tmp_path / "a.mp4").write_bytes(content)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert next(container.decode(video=0)).rotation == -90
    clip, _ = decode_video(str(tmp_path / "a.mp4"), sampling=UNIFORM, size=16, channels=1)
    bright = clip[0, ..., 0] > 128
    assert bright[8:].all()  # right became below
    assert not bright[:7].any()
