"""One volume (NumPy or NIfTI) to a clip: its slices stand for frames."""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from octnas.data.convert import luma
from octnas.data.decode import square
from octnas.data.sampling import Sampling
from octnas.errors import DataError

__all__ = ["NIFTI_SUFFIXES", "SUFFIXES", "decode_volume", "require_nibabel"]

NIFTI_SUFFIXES = frozenset({".nii", ".nii.gz"})
SUFFIXES = frozenset({".npy", ".npz"}) | NIFTI_SUFFIXES

DARKEST, BRIGHTEST = 0.5, 99.5
"""Percentiles of a volume that become black and white where its numbers are not bytes."""


def decode_volume(
    path: str, *, sampling: Sampling, size: int, channels: int, draw: Sequence[int] | None = None
) -> tuple[NDArray[np.uint8], int]:
    """The clip that `sampling` takes of a volume (D, H, W) or (D, H, W, C), and its number of slices D.

    uint8 (T, size, size, channels). Numbers other than uint8 are scaled so that the volume's own percentiles
    0.5 and 99.5 become 0 and 255; what is not finite becomes 0. NIfTI's (X, Y, Z) is read as (Z, Y, X).

    Raises OSError, ValueError, EOFError or zipfile.BadZipFile where the file cannot be read as a volume.
    """
    volume = _read_nifti(path) if path.lower().endswith(tuple(NIFTI_SUFFIXES)) else _read_numpy(path)
    if volume.ndim == 3:
        volume = volume[..., None]
    if volume.ndim != 4 or volume.shape[-1] not in (1, 3):
        raise ValueError(f"it is no (D, H, W) nor (D, H, W, 1 or 3) but {volume.shape}")
    if volume.size == 0:
        raise ValueError(f"it has no slices: {volume.shape}")
    if volume.dtype.kind not in "buif":
        raise ValueError(f"it holds {volume.dtype}, which is no real number")
    depth = len(volume)
    slices = _grey_levels(volume, sampling.choose(np.arange(depth), depth, draw))
    if channels == 1 and slices.shape[-1] == 3:
        slices = luma(slices)
    elif channels == 3 and slices.shape[-1] == 1:
        slices = np.repeat(slices, 3, axis=-1)
    flat = slices[..., 0] if channels == 1 else slices
    return np.stack([square(Image.fromarray(np.ascontiguousarray(each)), size) for each in flat]), depth


def require_nibabel(path: str) -> None:
    """Raises DataError where the library that reads `path`, a NIfTI file, is not installed."""
    if importlib.util.find_spec("nibabel") is None:
        raise DataError(
            f"NIfTI volumes such as {path} need nibabel, which is not installed: pip install octnas[volumes]"
        )


def _read_numpy(path: str) -> NDArray[np.generic]:
    if Path(path).stat().st_size == 0:
        raise ValueError("it is empty (0 bytes)")
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        if len(loaded.files) != 1:
            raise ValueError(f"an .npz file must hold one array, but it holds {len(loaded.files)}")
        return np.asarray(loaded[loaded.files[0]])


def _read_nifti(path: str) -> NDArray[np.generic]:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        stored = np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    except (ImageFileError, zlib.error) as error:
        raise ValueError(str(error)) from error
    return np.moveaxis(stored, (0, 1, 2), (2, 1, 0)) if stored.ndim >= 3 else stored


def _grey_levels(volume: NDArray[np.generic], chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The chosen slices in grey levels 0..255."""
    if volume.dtype == np.uint8:
        return np.asarray(volume[chosen], np.uint8)
    if volume.dtype == np.bool_:
        return np.asarray(volume[chosen], np.uint8) * np.uint8(255)
    values = np.asarray(volume, np.float64)
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise ValueError("none of its numbers is finite")
    low, high = np.percentile(finite, (DARKEST, BRIGHTEST))
    if high <= low:
        return np.zeros((len(chosen), *volume.shape[1:]), np.uint8)
    scaled = (values[chosen] - low) * (255 / (high - low))
    levels = np.clip(np.nan_to_num(scaled, nan=0, posinf=255, neginf=0), 0, 255)
    return np.asarray(np.rint(levels), np.uint8)
