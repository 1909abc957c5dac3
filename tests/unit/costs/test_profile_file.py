"""Profiles as files: found again on the same device only, refused elsewhere, never half written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from profile_case import synthetic_profile

from octnas.costs import profile_file
from octnas.costs.latency import Correction, DeviceProfile
from octnas.costs.ops import Op
from octnas.costs.profile_file import (
    check_profile,
    check_writable,
    find_profile,
    load_profile,
    profile_folder,
    profile_path,
    save_profile,
)
from octnas.errors import OctnasError, ProfileError
from octnas.machine import device_name, runtime_versions

SHAPE = Op(kind="conv", inputs=64, outputs=64, height=28, width=28)
OTHER = Op(kind="conv", inputs=96, outputs=64, height=28, width=28)


@pytest.fixture
def here() -> DeviceProfile:
    """A profile of this very device."""
    made = synthetic_profile({SHAPE: 0.5}, Correction(factors={"conv": 1.0}))
    return dataclasses.replace(made, device=device_name("cpu"), versions=runtime_versions("onnxruntime"))


def test_what_is_saved_is_found_and_nothing_is_left_beside_it(here: DeviceProfile, tmp_path: Path) -> None:
    assert find_profile(folder=tmp_path) is None
    path = profile_path(here, tmp_path / "deeper")
    save_profile(here, path)
    save_profile(here, path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert load_profile(path) == here
    assert find_profile("onnxruntime", 1, 1, path.parent) == here
    check_profile(here, runtime="onnxruntime", threads=1, batch=1)


def test_a_row_has_a_dilation_only_where_there_is_one() -> None:
    """So that a profile of an older octnas is read, and keeps its digest."""
    dilated = dataclasses.replace(SHAPE, dilation=2)
    profile = synthetic_profile({SHAPE: 0.5, dilated: 0.25}, Correction(factors={}))
    rows = json.loads(profile.to_json())["times"]
    assert rows == [
        ["conv", 64, 64, 28, 28, 1, 1, 1, 2, 1, 1, 1, 0.5],
        ["conv", 64, 64, 28, 28, 1, 1, 1, 2, 1, 1, 1, 2, 1, 0.25],
    ]
    again = DeviceProfile.from_json(profile.to_json())
    assert again == profile
    assert again.times[dilated] == 0.25


@pytest.mark.parametrize(
    "change",
    [
        {"device": "another"},
        {"runtime": "eager"},
        {"versions": {"onnxruntime": "0.1"}},
        {"threads": 2},
        {"batch": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_cache_keeps_settings_apart(
    here: DeviceProfile, tmp_path: Path, change: dict[str, object]
) -> None:
    other = dataclasses.replace(here, **change)  # type: ignore[arg-type]
    save_profile(other, profile_path(other, tmp_path))
    assert find_profile(folder=tmp_path) is None
    save_profile(here, profile_path(here, tmp_path))
    assert find_profile(folder=tmp_path) == here
    assert len(list(tmp_path.iterdir())) == 2


def test_the_latest_profile_that_knows_the_operations_is_found(here: DeviceProfile, tmp_path: Path) -> None:
    more = dataclasses.replace(here, times={SHAPE: 0.6, OTHER: 0.7}, created="2025-01-01T00:00:00+00:00")
    for each in (here, more):
        save_profile(each, profile_path(each, tmp_path))
    assert find_profile(folder=tmp_path) == here
    assert find_profile(folder=tmp_path, ops=[OTHER]) == more
    assert find_profile(folder=tmp_path, ops=[dataclasses.replace(OTHER, kernel=3)]) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device": "a Z80, 1 core"}, ("device", "a Z80, 1 core", device_name("cpu"))),
        (
            {"versions": {"onnxruntime": "0.1"}},
            ("versions", "onnxruntime 0.1", f"onnxruntime {runtime_versions('onnxruntime')['onnxruntime']}"),
        ),
        ({"threads": 2}, ("threads", "2", "1")),
        ({"batch": 8}, ("batch", "8", "1")),
        ({"runtime": "eager"}, ("runtime", "eager", "onnxruntime")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_profile_of_another_device_or_setting_is_refused(
    here: DeviceProfile, change: dict[str, object], words: tuple[str, ...]
) -> None:
    other = dataclasses.replace(here, **change)  # type: ignore[arg-type]
    with pytest.raises(ProfileError) as error:
        check_profile(other, runtime="onnxruntime", threads=1, batch=1)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in (*words, "`octnas profile`"))
    assert isinstance(error.value, OctnasError)
    assert error.value.exit_code == 2


def test_what_is_not_asked_about_is_not_refused(here: DeviceProfile) -> None:
    other = dataclasses.replace(here, threads=7, batch=3)
    check_profile(other)
    check_profile(other, threads=7, batch=3)
    for asked in ({"threads": 1}, {"batch": 1}):
        with pytest.raises(ProfileError):
            check_profile(other, **asked)


DAMAGES = {
    "cut short": lambda text: text[: len(text) // 2],
    "no JSON": lambda _: "latency: 3",
    "a list": lambda _: "[]",
    "a key missing": lambda text: text.replace('"correction"', '"corection"'),
    "another schema": lambda text: text.replace('"schema_version":2', '"schema_version":99'),
    "a time that is none": lambda text: text.replace("0.5]", "-0.5]"),
    "an operation that is none": lambda text: text.replace('["conv",64', '["conv"'),
    "an operation unknown": lambda text: text.replace('["conv"', '["warp"'),
    "no operations": lambda text: json.dumps({**json.loads(text), "times": []}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_in_one_line(here: DeviceProfile, tmp_path: Path, damage: str) -> None:
    path = profile_path(here, tmp_path)
    text = here.to_json()
    damaged = DAMAGES[damage](text)
    assert damaged != text
    path.write_text(damaged, encoding="utf-8")
    for read in (lambda: load_profile(path), lambda: find_profile(folder=tmp_path)):
        with pytest.raises(ProfileError) as error:
            read()
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"nowhere\.json must be readable"):
        load_profile(tmp_path / "nowhere.json")


def test_a_write_that_fails_keeps_what_was_there(
    here: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.json"
    save_profile(here, path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(profile_file.os, "fsync", full)
    with pytest.raises(ProfileError, match=r"mine\.json must be writable.*No space left"):
        save_profile(dataclasses.replace(here, batch=9), path)
    assert [each.name for each in tmp_path.iterdir()] == ["mine.json"]
    assert load_profile(path) == here


def test_a_place_that_cannot_be_written_is_found_out_before(here: DeviceProfile, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "file" / "profile.json", tmp_path):
        with pytest.raises(ProfileError, match="must be writable"):
            check_writable(path)
    check_writable(tmp_path / "new" / "profile.json")
    assert list((tmp_path / "new").iterdir()) == []


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OCTNAS_CACHE", str(tmp_path))
    assert profile_folder() == tmp_path
    monkeypatch.delenv("OCTNAS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert profile_folder() == tmp_path / ".cache" / "octnas" / "profiles"
