"""Names of clip sets and of image sets, and the kind of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from octnas.data import CLIP_SETS, IMAGE_SETS, kind_of, load_clips, load_data, load_images
from octnas.errors import DataError, UnknownNameError


def fill(root: Path, *, images: int = 0, clips: int = 0, notes: int = 0) -> str:
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for i in range(images):
            Image.new("L", (8, 8)).save(root / name / f"{i}.png")
        for i in range(clips):
            np.save(root / name / f"{i}.npy", np.zeros((4, 8, 8), np.uint8))
        for i in range(notes):
            (root / name / f"{i}.txt").write_text("note")
    return str(root)


def test_the_kind_of_names_and_folders(tmp_path: Path) -> None:
    assert {kind_of(name) for name in CLIP_SETS} == {"clips"}
    assert {kind_of(name) for name in IMAGE_SETS} == {"images"}
    assert kind_of(fill(tmp_path / "images", images=5, clips=1)) == "images"
    assert kind_of(fill(tmp_path / "clips", images=1, clips=5)) == "clips"
    with pytest.raises(
        DataError, match=r"must hold images \(\.bmp.*or videos or volumes \(\.avi.*none of them"
    ):
        kind_of(fill(tmp_path / "notes", notes=2))
    with pytest.raises(UnknownNameError, match="did you mean 'clips-motion'"):
        kind_of("clips-moton")
    with pytest.raises(DataError, match="no-such does not exist"):
        kind_of(str(tmp_path / "no-such"))


def test_load_data_gives_what_is_asked_for(tmp_path: Path) -> None:
    assert load_data("clips-motion", frames=4, size=20).fingerprint == (
        load_clips("clips-motion", frames=4, size=20).fingerprint
    )
    assert load_data("glyphs").fingerprint == load_images("glyphs").fingerprint
    assert load_data("glyphs").frames is None
    folder = fill(tmp_path / "clips", clips=4)
    assert load_data(folder, frames=3, size=8, channels=1).shape == (1, 3, 8, 8)
    assert load_data(fill(tmp_path / "images", images=4), size=8).shape == (3, 8, 8)


def test_the_other_kind_is_refused_with_the_reason(tmp_path: Path) -> None:
    clips, images = fill(tmp_path / "clips", clips=4), fill(tmp_path / "images", images=4)
    for name in ("clips-motion", clips):
        with pytest.raises(DataError, match=rf"{name} holds clips, but still images are asked for: "):
            load_data(name)
    with pytest.raises(DataError, match=r"clips-motion holds clips, but still images are asked for"):
        load_images("clips-motion")
    for name in ("glyphs", images):
        with pytest.raises(
            DataError, match=rf"{name} holds still images, but clips of 8 frames are asked for"
        ):
            load_data(name, frames=8)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"frames": 0}, "1 frame or more, but a clip length of 0 is asked for"),
        ({"frames": -3}, "a clip length of -3"),
        ({"frames": 4, "size": 0}, "size must be 1 px or more, but is 0"),
        ({"frames": 4, "channels": 2}, r"channels must be 1 .* but is 2"),
        ({"frames": 4, "sampling": "sparse"}, "sampling must be uniform or dense, but is sparse"),
        ({"frames": 4, "frame_stride": 0}, "frame_stride must be 1 or more, but is 0"),
    ],
)
def test_figures_that_make_no_sense_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=reason) as error:
        load_clips("clips-motion", **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_folder_with_nothing_in_it_is_refused_whatever_is_asked_for(tmp_path: Path) -> None:
    notes = fill(tmp_path / "notes", notes=2)
    with pytest.raises(DataError, match=r"every class needs clips, but .* has none \(\.avi"):
        load_data(notes, frames=4)
    with pytest.raises(DataError, match=r"every class needs images, but .* has none \(\.bmp"):
        load_data(notes)
