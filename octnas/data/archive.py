"""Archives of files by class: unpacked without trust in what they hold, and packed for other machines."""

from __future__ import annotations

import lzma
import os
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

from rich.console import Console
from rich.progress import track
from upath import UPath

from octnas.errors import DataError
from octnas.storage import Place, make_folder, reason_of

__all__ = ["is_archive", "pack", "stem_of", "unpack", "unsafe"]

_T = TypeVar("_T")

# A zip that needs a password raises RuntimeError, one that is packed in an unknown way NotImplementedError.
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    RuntimeError,
    ValueError,
)
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
_SHOW_PROGRESS = 2000
_UPLOAD_BLOCK = 64 * 2**20
"""Bytes of a part of an upload: stores take 10,000 parts at most, so 640 GB in all."""


def is_archive(name: str) -> bool:
    """Whether the name of a file ends as an archive's does."""
    return name.lower().endswith(SUFFIXES)


def stem_of(name: str) -> str:
    """The name of a file or folder without its folders, and without an archive's suffix."""
    name = name.rstrip("/").rpartition("/")[2]
    suffix = next((each for each in SUFFIXES if name.lower().endswith(each)), "")
    name = name[: len(name) - len(suffix)]
    return name if name not in ("", ".", "..") else "data"


def unsafe(name: str) -> bool:
    """Whether a name, relative to a folder, leads out of it or is none."""
    return name.startswith(("/", "\\")) or "\0" in name or ".." in name.replace("\\", "/").split("/")


def unpack(file: Path, folder: Path) -> int:
    """Unpacks an archive into a folder; returns how many files it holds.

    Raises:
        DataError: it is damaged, or holds links out of the folder, devices, or names that lead out of it.
        OSError: the folder cannot be written.
    """
    try:
        return _unzip(file, folder) if file.name.lower().endswith(".zip") else _untar(file, folder)
    except _DAMAGED as error:
        damage: Exception = error
    except OSError as error:
        if error.errno is not None:  # of the disk; those of gzip and bz2 have no number
            raise
        damage = error
    raise DataError(f"an archive must be whole and safe, but {file} is not: {reason_of(damage)}")


def _untar(file: Path, folder: Path) -> int:
    if not hasattr(tarfile, "data_filter"):
        raise DataError(f"unpacking {file} needs Python 3.11.4 or newer, whose tarfile checks names: update")
    with tarfile.open(file) as archive:
        members = archive.getmembers()
        for member in _shown(members, "unpacking"):
            if unsafe(member.name):
                raise DataError(f"names in an archive must stay within it, but {file} has {member.name!r}")
            archive.extract(member, folder, filter="data")
        while archive.fileobj is not None and archive.fileobj.read(2**20):
            pass  # to the checksum at the end of a compressed one
    return sum(member.isfile() for member in members)


def _unzip(file: Path, folder: Path) -> int:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in _shown(members, "unpacking"):
            if unsafe(member.filename):
                raise DataError(
                    f"names in an archive must stay within it, but {file} has {member.filename!r}"
                )
            archive.extract(member, folder)
    return sum(not member.is_dir() for member in members)


def pack(root: Path, paths: Sequence[str], to: Place) -> None:
    """Writes the files at `paths`, relative to `root`, to a tar, which appears whole or not at all.

    Raises whatever the file system or the client of a store does.
    """
    with _written(to) as file, tarfile.open(fileobj=file, mode="w|", dereference=True) as archive:
        for path in _shown(paths, "packing"):
            archive.add(os.path.join(root, path), arcname=path, recursive=False)


@contextmanager
def _written(to: Place) -> Iterator[IO[bytes]]:
    part = to.parent / f".{to.name}.{uuid.uuid4().hex[:12]}.part"
    try:
        make_folder(to.parent)
        if isinstance(part, UPath) and isinstance(to, UPath):
            # What an error leaves of an upload is a file of its own, which is removed below.
            with part.fs.open(part.path, "wb", block_size=_UPLOAD_BLOCK) as file:
                yield file
            part.fs.mv(part.path, to.path)
        else:
            with part.open("wb") as file:
                yield file
            os.replace(str(part), str(to))
    except BaseException:
        with suppress(Exception):
            part.unlink()
        raise


def _shown(items: Sequence[_T], what: str) -> Iterable[_T]:
    return track(
        items,
        what,
        len(items),
        console=Console(stderr=True),
        transient=True,
        disable=len(items) < _SHOW_PROGRESS,
    )
