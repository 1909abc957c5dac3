"""Data from elsewhere: a folder or an archive named by an fsspec URI is fetched once a machine.

    $OCTNAS_DATA/fetched/KEY/files/NAME/    the files, once all are there
    $OCTNAS_DATA/fetched/KEY/complete.json  says so
    $OCTNAS_DATA/fetched/KEY/part/          those of a fetch that is under way, or was cut off
    $OCTNAS_DATA/fetched/KEY/lock           held by the process that fetches; others wait for it

What is there is taken as it is: remove KEY to fetch anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from upath import UPath

from octnas.data.archive import is_archive, stem_of, unpack, unsafe
from octnas.errors import DataError, OctnasError
from octnas.storage import OBJECT_STORES, is_uri, place, reason_of, shown

__all__ = ["default_root", "fetched", "files_elsewhere", "home_of", "local_source"]

AT_ONCE = 16
"""Files of a folder that are fetched at a time: small ones wait more than they are sent.

A client of a file server has one connection, which takes one file at a time.
"""
_CHUNK = 16 * 2**20
_SHOW_PROGRESS = 64 * 2**20
"""Bytes from which a bar is shown."""
_ROOTS = frozenset({"train", "val", "test"})
"""Names of a folder in an archive that are part of the layout, and no wrapping."""


def default_root() -> Path:
    """Where public sets are looked for and downloaded to: $OCTNAS_DATA, or ~/.cache/octnas/data."""
    chosen = os.environ.get("OCTNAS_DATA")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "octnas" / "data"


def local_source(name: str) -> str:
    """The folder of a set that is named by a URI, or is an archive; any other name as it is.

    Raises DataError and RunError, see `fetched`.
    """
    if is_uri(name):
        found = place(name)
        if isinstance(found, UPath):
            return str(fetched(name))
        name = str(found)
    return str(fetched(name)) if is_archive(name) and Path(name).expanduser().is_file() else name


def files_elsewhere(name: str) -> Iterator[list[str]] | None:
    """Names of the files below a folder that a URI names, folder by folder, without fetching them.

    None for an archive, a folder of this machine, and any other name.

    Raises DataError and RunError, see `fetched`; the first as names are asked for.
    """
    if not is_uri(name) or is_archive(name):
        return None
    where = place(name)
    return _walk(name, where) if isinstance(where, UPath) else None


def _walk(name: str, where: UPath) -> Iterator[list[str]]:
    with _in_words(name, default_root() / "fetched"):
        for files in _folders(where):
            yield [below.rpartition("/")[2] for below in files]


def _folders(where: UPath) -> Iterator[dict[str, int | None]]:
    """Names and sizes of the files of each folder, below `where`. Raises whatever the client does.

    The client's own walk leaves out what it may not read.
    """
    fs, top = where.fs, where.path.rstrip("/")
    todo = [top]
    while todo:
        folder = todo.pop()
        files, folders = {}, []
        for info in fs.ls(folder or where.path, detail=True):
            path = str(info["name"]).rstrip("/")
            if path == folder or not path.startswith(f"{top}/"):
                continue
            if info["type"] == "directory":
                folders.append(path)
            else:
                files[path[len(top) :].lstrip("/")] = info.get("size")
        yield files
        todo += reversed(folders)


def fetched(source: str, *, step_in: bool = True) -> Path:
    """The folder on this machine that holds the files of `source`, which are fetched if they are not here.

    Args:
        source: an fsspec URI of a folder or of an archive (tar or zip), or the path of an archive.
        step_in: whether a folder that wraps all the files is stepped into.

    Raises:
        DataError: there are no files, they cannot be read or written, arrive damaged, or an archive is not
            safe.
        RunError: the URI holds credentials, or its client is not installed.
    """
    with _in_words(source, default_root() / "fetched"):
        home = home_of(source)
        found = _complete(home)
        if found is None:
            home.mkdir(parents=True, exist_ok=True)
            with FileLock(home / "lock"):
                found = _complete(home) or _fetch(source, home)
        return _within(found) if step_in else found


def home_of(source: str) -> Path:
    """KEY, all that is fetched of a source; an archive of this machine that has changed is another source.

    Raises:
        OSError: an archive of this machine cannot be looked at.
    """
    if not is_uri(source):
        path = Path(source).expanduser().absolute()
        source = f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}"
    return default_root() / "fetched" / hashlib.sha256(source.encode()).hexdigest()[:16]


def _complete(home: Path) -> Path | None:
    """The folder of a fetch that is done; None where there is none."""
    try:
        said = json.loads((home / "complete.json").read_text(encoding="utf-8"))
        root = home / "files" / said["name"]
        return root if any(root.iterdir()) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _in_words(source: str, home: Path) -> Iterator[None]:
    try:
        yield
    except OctnasError:
        raise
    except Exception as error:  # each client of a store has errors of its own
        why = reason_of(error)
        if isinstance(error, FileNotFoundError) and error.strerror is None:  # of a store: the name, no more
            why = f"not found: {why}"
        raise DataError(
            f"cannot fetch {shown(source)} to {home} ({why}): check its name, your credentials "
            "and the free space there, or set OCTNAS_DATA; the same command goes on"
        ) from None


def _within(folder: Path) -> Path:
    """The folder that holds everything, where a folder holds one and nothing else."""
    inside = [each for each in folder.iterdir() if not each.name.startswith((".", "__MACOSX"))]
    alone = len(inside) == 1 and inside[0].is_dir() and inside[0].name not in _ROOTS
    return inside[0] if alone else folder


def _fetch(source: str, home: Path) -> Path:
    part, name = home / "part", stem_of(source)
    if is_archive(source):
        archive = _download(source, home) if is_uri(source) else Path(source).expanduser()
        shutil.rmtree(part, ignore_errors=True)  # half of an archive is not gone on from
        part.mkdir()
        fetched_here = archive.parent == home
        try:
            count = unpack(archive, part)
        except DataError:
            if fetched_here:
                archive.unlink()  # the next fetch must not end on the same bytes
            raise
        if fetched_here:
            archive.unlink()
    else:
        count = _download_folder(source, part)
    if not count:
        raise DataError(f"data must be files by class, but {shown(source)} has none: check its name")
    folder = home / "files" / name
    folder.parent.mkdir(exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    _write(home / "complete.json", {"source": shown(source), "files": count, "name": name})
    return folder


def _download_folder(source: str, part: Path) -> int:
    """Fetches a folder's files, but those that are there; returns how many it has."""
    where = place(source)
    assert isinstance(where, UPath)
    fs, top = where.fs, where.path.rstrip("/")
    sizes: dict[str, int] = {}
    for below, size in _files(where):
        if unsafe(below):
            raise DataError(f"names below {shown(source)} must stay there, but it has {below!r}: rename it")
        sizes[below] = int(size)

    def fetch(below: str) -> int:
        target, size = part / below, sizes[below]
        if not (target.is_file() and target.stat().st_size == size):
            target.parent.mkdir(parents=True, exist_ok=True)
            half = target.with_name(f".{target.name}.part")
            fs.get_file(f"{top}/{below}", str(half))
            if half.stat().st_size != size:
                raise DataError(
                    f"a file must arrive whole, but {source}/{below} has {size} bytes and "
                    f"{half.stat().st_size} came: the same command fetches it anew"
                )
            os.replace(half, target)
        return size

    at_once = AT_ONCE if where.protocol in OBJECT_STORES or fs.async_impl else 1
    with _bar(shown(source), sum(sizes.values())) as advance, ThreadPool(at_once) as pool:
        for size in pool.imap_unordered(fetch, sizes, chunksize=16):
            advance(size)
    return len(sizes)


def _files(where: UPath) -> Iterator[tuple[str, Any]]:
    """Names, below `where`, and sizes of all files. Raises whatever the client does."""
    if where.protocol not in OBJECT_STORES:
        for files in _folders(where):
            yield from files.items()
        return
    top = where.path.rstrip("/")
    for path, info in where.fs.find(top, detail=True).items():  # without folders: in pages of 1000 names
        below = str(path)[len(top) :].lstrip("/") if str(path).startswith(f"{top}/") else ""
        if info.get("type") != "directory" and below and not below.endswith("/"):
            yield below, info["size"]


def _download(source: str, home: Path) -> Path:
    """Fetches an archive, on from where an earlier fetch was cut off if it is still the same."""
    where = place(source)
    assert isinstance(where, UPath)
    fs, path = where.fs, where.path
    info = fs.info(path)
    size = info.get("size")
    names = ("size", "ETag", "etag", "LastModified", "updated", "mtime", "created")
    version = {name: str(info[name]) for name in names if name in info}
    archive, known = home / f"archive{_suffix(source)}", home / "archive.json"
    if archive.exists() and _read(known) != version:
        archive.unlink()
    _write(known, version)
    begun = archive.stat().st_size if archive.exists() else 0
    if size is None or begun < size:
        with _bar(shown(source), size) as advance, fs.open(path, "rb") as remote, archive.open("ab") as file:
            if begun:
                remote.seek(begun)
                advance(begun)
            while chunk := remote.read(_CHUNK):
                file.write(chunk)
                advance(len(chunk))
    came = archive.stat().st_size
    if size is not None and came != size:
        archive.unlink()
        raise DataError(
            f"an archive must arrive whole, but {shown(source)} has {size} bytes and {came} came: the same "
            "command fetches it anew"
        )
    return archive


def _suffix(source: str) -> str:
    return ".zip" if source.lower().endswith(".zip") else ".tar"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(path: Path, value: Any) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(value) + "\n", encoding="utf-8")
    os.replace(part, path)


@contextmanager
def _bar(source: str, size: int | None) -> Iterator[Any]:
    """A bar of bytes; call what is given with those that came."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    hidden = size is not None and size < _SHOW_PROGRESS
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden) as progress:
        task = progress.add_task(f"fetching {source}", total=size)
        yield lambda count: progress.advance(task, count)
