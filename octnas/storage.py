"""Where files that many machines share are kept: a folder, or an object store by its fsspec URI.

A `Place` is a `pathlib.Path` or a `upath.UPath`, which have the methods in common that are used here. Nothing
that an object store holds is remembered between two calls: another machine may have written it since.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from upath import UPath

from octnas.errors import RunError

__all__ = [
    "Place",
    "check_place",
    "check_uri",
    "is_uri",
    "names_in",
    "place",
    "put_whole",
    "reason_of",
    "remove",
    "remove_tree",
    "shown",
]

Place = Path | UPath

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/{0,2})")
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory"})
"""Kinds without folders, in which a file is there only when it is whole."""
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_ENVIRONMENT = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
# A store that does not answer must not hold a search for long: the client tries several times.
_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 60}}}
_SECRET = re.compile(r"(?i)(^|&)[^=&]*(key|secret|token|passw|sig|credential)[^=&]*=")
_LONGEST_REASON = 200


def is_uri(text: str) -> bool:
    """Whether `text` begins with the scheme of a URI: "s3://bucket/folder"."""
    found = _SCHEME.match(text)
    return found is not None and found[2] == "//"


def shown(text: str) -> str:
    """A URI as messages may have it: without user, password and query."""
    if "://" not in text:
        return text
    head, _, _ = text.partition("?")
    scheme, _, rest = head.partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{scheme}://{netloc.rpartition('@')[2]}{slash}{path}"


def check_uri(text: str) -> None:
    """Checks that a URI holds no credentials, which would end in the journal and in the tracking store.

    Raises:
        RunError: it holds some, leads through another folder, or is several in one.
    """
    scheme = text.partition("://")[0].lower()
    parts = urlsplit(text)
    user, at, _ = parts.netloc.rpartition("@")
    kind = {"s3a": "s3", "gcs": "gs"}.get(scheme, scheme)
    if ":" in user or (at and kind in _ENVIRONMENT) or _SECRET.search(parts.query):
        names = _ENVIRONMENT.get(kind, "the variables that the client of this store reads")
        raise RunError(
            f"a URI must hold no credentials, as it is written to journals and logs, but {shown(text)} was "
            f"given some: put them in the environment ({names})"
        )
    if "\0" in text or ".." in parts.path.split("/"):
        raise RunError(
            f"a URI must be one address without '..' in its path, but got {shown(text)!r}: give it outright"
        )


def place(text: str | os.PathLike[str]) -> Place:
    """The folder, as an absolute path, or the fsspec URI that `text` names; it need not exist.

    A "file://" URI is the folder it names. `str` of what is returned names the same place from anywhere.

    Raises:
        RunError: the URI holds credentials, is of an unknown kind or names no bucket, or its client is not
            installed.
    """
    text = os.fspath(text)
    found = _SCHEME.match(text)
    if "::" in text and "://" in text:
        raise RunError(f"storage must be one address, but got {shown(text)!r}: give it outright")
    if found is None or not found[2]:
        return Path(text).expanduser().absolute()
    if found[2] == "/":
        raise RunError(f"a URI has two slashes after its scheme, but got {text!r}: {found[1]}://...")
    check_uri(text)
    scheme, parts = found[1].lower(), urlsplit(text)
    if scheme in ("file", "local"):
        if parts.netloc not in ("", "localhost"):
            raise RunError(f"a file:// URI is of this machine, but {text} names {parts.netloc}: mount it")
        return Path(unquote(parts.path)).absolute()
    if not parts.netloc and scheme in _OBJECT_STORES - {"memory"}:
        raise RunError(f"storage must name a bucket, but got {text}: {scheme}://BUCKET/FOLDER")
    try:
        found_place: UPath = UPath(text.rstrip("/"), use_listings_cache=False, **_OPTIONS.get(scheme, {}))
        _ = found_place.fs  # the client is imported now, not at the first file
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = f"pip install 'octnas[{extra}]'" if extra else reason_of(error)
        raise RunError(f"{scheme}:// needs a client that is not installed: {remedy}") from None
    except ValueError as error:
        raise RunError(
            f"storage must be a folder or a URI of a kind that fsspec knows (s3, gs, ...), but got "
            f"{shown(text)} ({reason_of(error)})"
        ) from None
    return found_place


def check_place(text: str | os.PathLike[str]) -> None:
    """Checks that files can be written to a place, read back and removed, with a small one.

    Raises:
        RunError: they cannot, or `place` does not take it; one line.
    """
    where = place(text)
    if isinstance(where, UPath) and where.protocol == "memory":
        raise RunError("storage must be seen by every process, but memory:// is of one: give a folder or URI")
    probe = where / f".octnas-{uuid.uuid4().hex}"
    try:
        if isinstance(where, Path):
            where.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"octnas")
        if probe.read_bytes() != b"octnas":
            raise OSError("what was written is not what is read")
        remove(probe)
    except Exception as error:  # each client has errors of its own
        if isinstance(where, Path):
            remedy = "permit it, free space, or give another folder with --storage"
        else:
            names = _ENVIRONMENT.get(where.protocol, "what its client reads")
            remedy = f"check the bucket's name and rights, and the credentials in the environment ({names})"
        raise RunError(
            f"storage must be writable, readable and deletable, but {where} is not ({reason_of(error)}): "
            f"{remedy}"
        ) from None


def put_whole(file: Path, to: UPath) -> None:
    """Copies a local file to a place, where it appears whole or not at all. Raises whatever the client does.

    Of an object store a file is seen when its last byte has arrived; elsewhere it is moved into its place.
    """
    fs, target = to.fs, to.path
    if to.protocol in _OBJECT_STORES:
        fs.put_file(str(file), target)
        return
    folder, _, name = target.rpartition("/")
    part = f"{folder}/.{name}.{uuid.uuid4().hex[:12]}.part"
    fs.makedirs(folder, exist_ok=True)
    try:
        fs.put_file(str(file), part)
        fs.mv(part, target)
    except BaseException:
        with suppress(Exception):
            fs.rm_file(part)
        raise


def remove(path: Place) -> None:
    """Removes a file that may not exist. Raises whatever the client does."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if isinstance(path, Path):
            path.unlink()
        else:
            path.fs.rm_file(path.path)


def names_in(folder: Place) -> list[str]:
    """Names of the files and folders in a folder, sorted; none where it does not exist.

    Raises whatever the client does.
    """
    try:
        if isinstance(folder, Path):
            return sorted(os.listdir(folder))
        found = (str(path).rstrip("/").rpartition("/")[2] for path in folder.fs.ls(folder.path, detail=False))
        return sorted(found)
    except FileNotFoundError:
        return []


def remove_tree(folder: Place) -> None:
    """Removes a folder that may not exist, with all that is in it. Raises whatever the client does."""
    with suppress(FileNotFoundError):
        if isinstance(folder, Path):
            shutil.rmtree(folder)
        else:
            folder.fs.rm(folder.path, recursive=True)


def reason_of(error: BaseException) -> str:
    """One line on why the file system, or a client of a store, refused."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return str(text)[:_LONGEST_REASON] or type(error).__name__
