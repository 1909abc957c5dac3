"""Volumes as clips: axes, number types, slices, and what is refused."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from octnas.data import load_clips
from octnas.data.clip_file import DAMAGED, clip_reason, decode_clip
from octnas.data.sampling import Sampling
from octnas.errors import DataError

BYTES = np.random.default_rng(0).integers(0, 256, (10, 12, 12), np.uint8)


def read(path: Path, frames: int = 5, channels: int = 1, size: int = 12) -> np.ndarray:
    return decode_clip(str(path), sampling=Sampling(frames=frames), size=size, channels=channels)[0]


def test_bytes_are_taken_as_they_are_and_slices_in_the_middle_of_their_segments(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", BYTES)
    assert np.array_equal(read(tmp_path / "v.npy")[..., 0], BYTES[[1, 3, 5, 7, 9]])
    assert np.array_equal(read(tmp_path / "v.npy", channels=3), np.repeat(BYTES[1::2, ..., None], 3, axis=-1))
    np.savez_compressed(tmp_path / "v.npz", BYTES)
    assert np.array_equal(read(tmp_path / "v.npz", frames=20)[..., 0], np.repeat(BYTES, 2, axis=0))


def test_channels_last_colour_and_its_luma(tmp_path: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (4, 12, 12, 3), np.uint8)
    np.save(tmp_path / "v.npy", colour)
    assert np.array_equal(read(tmp_path / "v.npy", frames=4, channels=3), colour)
    grey = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read(tmp_path / "v.npy", frames=4)[..., 0] - grey).max() <= 0.51


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64, np.float16, np.float32, np.float64])
def test_other_numbers_are_scaled_by_their_own_percentiles(tmp_path: Path, dtype: type) -> None:
    ramp = np.linspace(100, 1100, 8 * 100).reshape(8, 10, 10).astype(dtype)
    np.save(tmp_path / "v.npy", ramp)
    clip = read(tmp_path / "v.npy", frames=8, size=10)[..., 0]
    low, high = np.percentile(ramp.astype(np.float64), (0.5, 99.5))
    expected = np.clip((ramp.astype(np.float64) - low) / (high - low), 0, 1) * 255
    assert np.abs(clip - expected).max() <= 0.5
    assert (clip.min(), clip.max()) == (0, 255)


def test_what_is_not_finite_is_black_or_white_and_a_constant_is_black(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 400).reshape(4, 10, 10)
    values[2, 0, :3] = np.nan, np.inf, -np.inf
    np.save(tmp_path / "v.npy", values)
    assert read(tmp_path / "v.npy", frames=4, size=10)[2, 0, :3, 0].tolist() == [0, 255, 0]
    np.save(tmp_path / "c.npy", np.full((4, 10, 10), 7.5))
    assert not read(tmp_path / "c.npy").any()
    np.save(tmp_path / "b.npy", BYTES > 100)
    assert np.array_equal(read(tmp_path / "b.npy", frames=10)[..., 0], (BYTES > 100) * 255)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_is_read_slice_by_slice_along_z(tmp_path: Path, suffix: str) -> None:
    nibabel.save(nibabel.Nifti1Image(BYTES.transpose(2, 1, 0), np.eye(4)), tmp_path / f"v{suffix}")
    assert np.array_equal(read(tmp_path / f"v{suffix}", frames=10)[..., 0], BYTES)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4)), r"no \(D, H, W\) nor .* but \(4, 4\)"),
        (np.zeros((2, 4, 4, 2)), r"but \(2, 4, 4, 2\)"),
        (np.zeros((0, 4, 4)), "no slices"),
        (np.zeros((2, 4, 4), complex), "complex128, which is no real number"),
        (np.full((2, 4, 4), np.nan), "none of its numbers is finite"),
    ],
)
def test_arrays_that_are_no_volume(tmp_path: Path, array: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(DAMAGED, match=reason):
        read(tmp_path / "v.npy")


@pytest.mark.parametrize("name", ["v.npy", "v.npz", "v.nii", "v.nii.gz"])
@pytest.mark.parametrize(
    "content", [b"", b"no volume at all", b"\x93NUMPY\x01\x00", b"PK\x03\x04 and no more"]
)
def test_damaged_volumes_say_why_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DAMAGED) as error:
        read(tmp_path / name)
    assert clip_reason(error.value)
    assert "\n" not in clip_reason(error.value)


def test_pickled_and_several_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([{}, None], object), allow_pickle=True)
    with pytest.raises(DAMAGED, match="Python objects"):
        read(tmp_path / "v.npy")
    np.savez(tmp_path / "v.npz", a=BYTES, b=BYTES)
    with pytest.raises(DAMAGED, match=r"must hold one array, but it holds 2"):
        read(tmp_path / "v.npz")


def test_a_truncated_volume_is_damaged(tmp_path: Path) -> None:
    for name in ("v.npy", "v.nii", "v.nii.gz"):
        path = tmp_path / name
        if name == "v.npy":
            np.save(path, BYTES)
        else:
            nibabel.save(nibabel.Nifti1Image(BYTES, np.eye(4)), path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(DAMAGED):
            read(path)


def test_a_folder_of_volumes_by_class(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 2)):
        for label, name in enumerate(("a", "b")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                np.save(tmp_path / part / name / f"{i}.npy", np.full((6, 8, 8), 100 * label + i, np.uint8))
    data = load_clips(str(tmp_path), frames=3, size=8, channels=1)
    clips, labels = next(data.train.batches(6))
    assert clips.shape == (6, 1, 3, 8, 8)
    assert clips[:, 0, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 102]
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_nifti_without_nibabel_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            (tmp_path / name / f"{i}.nii.gz").write_bytes(b"")
    monkeypatch.setattr("octnas.data.volume.importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"need nibabel, .*: pip install octnas\[volumes\]"):
        load_clips(str(tmp_path), frames=4)
