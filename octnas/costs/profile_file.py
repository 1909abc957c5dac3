"""Profiles of devices as files: where they are kept, found again, and refused on another device."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from octnas.costs.latency import SCHEMA_VERSION, DeviceProfile
from octnas.costs.ops import Op
from octnas.errors import ProfileError
from octnas.machine import device_name, runtime_versions

__all__ = [
    "check_profile",
    "check_writable",
    "find_profile",
    "load_profile",
    "profile_folder",
    "profile_path",
    "save_profile",
]


def profile_folder() -> Path:
    """$OCTNAS_CACHE, or ~/.cache/octnas/profiles; it need not exist."""
    chosen = os.environ.get("OCTNAS_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "octnas" / "profiles"


def profile_path(profile: DeviceProfile, folder: Path | None = None) -> Path:
    """Where a profile is cached: a file for each device, runtime, versions, threads, batch and set of ops."""
    setting = _setting(profile.device, profile.runtime, profile.versions, profile.threads, profile.batch)
    ops = _digest([repr(op) for op in sorted(profile.times)])
    return (folder or profile_folder()) / f"{setting}-{ops}.json"


def find_profile(
    runtime: str = "onnxruntime",
    threads: int = 1,
    batch: int = 1,
    folder: Path | None = None,
    *,
    device: str = "cpu",
    ops: Iterable[Op] = (),
) -> DeviceProfile | None:
    """The latest cached profile of this device with the installed versions; None where there is none.

    Args:
        device: kind of device, "cpu" or "cuda".
        ops: operations that it must have measured.

    Raises:
        ProfileError: a file under its name is damaged.
        TimingError: there is no such device.
    """
    setting = _setting(device_name(device), runtime, runtime_versions(runtime), threads, batch)
    wanted = tuple(ops)
    found = [load_profile(path) for path in sorted((folder or profile_folder()).glob(f"{setting}-*.json"))]
    fitting = [profile for profile in found if profile.covers(wanted)]
    return max(fitting, key=lambda profile: profile.created, default=None)


def load_profile(path: Path | str) -> DeviceProfile:
    """The profile of a file, made on whatever device.

    Raises:
        ProfileError: it cannot be read or is no profile; the message names it.
    """
    try:
        return DeviceProfile.from_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(
            f"profile {path} must be readable, but is not: {error.strerror or error}"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        fault = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ProfileError(
            f"{path} must be a profile of this octnas, but is damaged or another file ({fault}): "
            "delete it and run `octnas profile`"
        ) from error


def save_profile(profile: DeviceProfile, path: Path) -> None:
    """Write a profile whole or not at all; folders are made.

    Raises:
        ProfileError: the file cannot be written.
    """
    _write(path, profile.to_json())


def check_writable(path: Path) -> None:
    """Find out before a measurement whether `save_profile` can write there; folders are made.

    Raises:
        ProfileError: it cannot.
    """
    _write(path, None)


def _write(path: Path, text: str | None) -> None:
    """Write `text` beside the file and move it there; with None write nothing and move nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with part.open("w", encoding="utf-8") as file:
                file.write(text or "")
                file.flush()
                os.fsync(file.fileno())
            if text is not None:
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ProfileError(
            f"profile {path} must be writable, but is not: {error.strerror or error}; choose another place "
            "with `octnas profile --to FILE` or OCTNAS_CACHE"
        ) from error


def check_profile(
    profile: DeviceProfile,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    batch: int | None = None,
) -> None:
    """Refuse a profile whose figures say nothing about this device.

    Args:
        runtime, threads, batch: what it must have been made for; None: whatever it was.

    Raises:
        ProfileError: another device, other versions of its runtime, or another setting. One line, with both
            and the remedy.
        TimingError: there is no device of its kind here.
    """
    wanted_runtime = profile.runtime if runtime is None else runtime
    pairs = (
        ("device", profile.device, device_name(profile.kind)),
        ("runtime", profile.runtime, wanted_runtime),
        ("versions", _words(profile.versions), _words(runtime_versions(wanted_runtime))),
        ("threads", profile.threads, profile.threads if threads is None else threads),
        ("batch", profile.batch, profile.batch if batch is None else batch),
    )
    for name, made, here in pairs:
        if made != here:
            raise ProfileError(
                f"a profile must be of the {name} it is used for, but this one is of {made} and here is "
                f"{here}: run `octnas profile`"
            )


def _setting(device: str, runtime: str, versions: Mapping[str, str], threads: int, batch: int) -> str:
    return _digest([SCHEMA_VERSION, device, runtime, sorted(versions.items()), threads, batch])


def _digest(document: object) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:12]


def _words(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(versions.items()))
