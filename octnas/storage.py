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
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from upath import UPath

from octnas.errors import RunError

__all__ = [
    "HIDDEN",
    "OBJECT_STORES",
    "Address",
    "Place",
    "address_of",
    "check_place",
    "check_uri",
    "is_uri",
    "make_folder",
    "names_in",
    "names_secret",
    "place",
    "put_whole",
    "reason_of",
    "remove",
    "remove_tree",
    "shown",
]

Place = Path | UPath

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/{0,2})")
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory"})
"""Kinds without folders, in which a file is there only when it is whole."""
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_ENVIRONMENT = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_FORGETFUL = OBJECT_STORES | {"ftp"}
"""Kinds whose clients remember what they listed, unless told not to; others may not know the option."""
# A store that does not answer must not hold a search for long: the client tries several times.
_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 60}}}
_SECRET_WORD = re.compile(r"(?i)(?<!ssl)(?<!ssl_)key|secret|token|pass|pwd|sig|credential")
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
_OWN_PORTS = {"http": ":80", "https": ":443", "postgresql": ":5432", "mysql": ":3306"}
_LONGEST_REASON = 200

HIDDEN = "..."
"""What stands where a secret was."""


class Address(NamedTuple):
    """The parts of a URI, whose user and password may hold characters that should have been escaped."""

    scheme: str
    login: str
    """What stands before the host, with its "@"."""
    place: str
    """Host and path."""
    parameters: tuple[str, ...]
    """Of the query: "key=value" each."""
    cut: bool
    """Whether the host looks like the begin of a login that nothing ends: "s3://KEY:SECRET"."""


def address_of(uri: str) -> Address:
    """Takes a URI, which has a "://", apart. What may be a password counts as one.

    An "@" of the path ends the login if a ":" stands before the path, unless it is that of the scheme's own
    port: "http://me:20/24@host" has a password, and a path with an "@" is to be written with "%40". Where
    http has a password before its host the path is left alone, as clients ask that host. An "@" of the query
    ends the login only if what stands before path and query cannot be a host.
    """
    scheme, _, rest = uri.partition("://")
    kind = scheme.rpartition("::")[2].partition("+")[0].lower()
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    head = rest.partition("?")[0]
    user, at, host = authority.rpartition("@")
    named = re.sub(r"\[[^\]]*\]", "", authority.removesuffix(_OWN_PORTS.get(kind, "/")))
    whole = ":" not in host if kind in OBJECT_STORES else all(map(_HOST.fullmatch, host.split(",")))
    cut = not whole or (bool(at) and not host)
    open_end = ":" in named and (cut or ":" not in user or kind not in ("http", "https"))
    if open_end and "@" in head[len(authority) :]:
        end, cut = head.rfind("@") + 1, False
    elif cut and "@" in rest[len(authority) :]:
        end, cut = rest.rfind("@") + 1, False
    else:
        end = authority.rfind("@") + 1
    login = rest[:end]
    place, *parameters = re.split(r"[?&]" if "?" in login else r"\?", rest[end:], maxsplit=1)
    given = (each for part in parameters for each in part.split("&") if each)
    return Address(scheme, login, place, tuple(given), cut)


def names_secret(parameter: str) -> bool:
    """Whether a parameter of a query is named like a secret, or has one in a list: "odbc=UID=me;PWD=x"."""
    keys = re.findall(r"([^=;]*)=", unquote(parameter)) or [parameter]
    return any(_SECRET_WORD.search(key) for key in keys) or "@" in parameter.partition("=")[0]


def is_uri(text: str) -> bool:
    """Whether `text` begins with the scheme of a URI: "s3://bucket/folder"."""
    found = _SCHEME.match(text)
    return found is not None and found[2] == "//"


def shown(text: str) -> str:
    """A URI as messages may have it: without user, password and query."""
    if "://" not in text:
        return text
    found = address_of(text)
    return f"{found.scheme}://{HIDDEN if found.cut else found.place}"


def check_uri(text: str) -> None:
    """Checks that a URI holds no credentials, which would end in the journal and in the tracking store.

    Raises:
        RunError: it holds some, leads through another folder, or is several in one.
    """
    found = address_of(text)
    scheme = found.scheme.lower()
    kind = {"s3a": "s3", "gcs": "gs"}.get(scheme, scheme)
    login = ":" in found.login or (found.login and kind in _ENVIRONMENT)
    if login or found.cut or any(map(names_secret, found.parameters)):
        names = _ENVIRONMENT.get(kind, "the variables that the client of this store reads")
        raise RunError(
            f"a URI must hold no credentials, as it is written to journals and logs, but {shown(text)} was "
            f"given some: put them in the environment ({names})"
        )
    try:
        path = urlsplit(text).path
    except ValueError:  # half of an IPv6 address
        path = ".."
    if "\0" in text or ".." in path.split("/"):
        raise RunError(
            f"a URI must be one address without '..' in its path, but got {shown(text)!r}: give it outright"
        )


def place(text: str | os.PathLike[str]) -> Place:
    """The folder, as an absolute path, or the fsspec URI that `text` names; it need not exist.

    A "file://" URI is the folder it names. `str` of what is returned names the same place from anywhere.

    Raises:
        RunError: the URI holds credentials, is of an unknown kind or names no bucket, its client is not
            installed, or a server that is asked at once does not answer.
    """
    text = os.fspath(text)
    found = _SCHEME.match(text)
    if "::" in text and "://" in text:
        raise RunError(f"storage must be one address, but got {shown(text)!r}: give it outright")
    if found is None or not found[2]:
        return Path(text).expanduser().absolute()
    if found[2] == "/":
        raise RunError(f"a URI has two slashes after its scheme, but got one: {found[1]}://...")
    check_uri(text)
    scheme, parts = found[1].lower(), urlsplit(text)
    if scheme in ("file", "local"):
        if parts.netloc not in ("", "localhost"):
            raise RunError(f"a file:// URI is of this machine, but {text} names {parts.netloc}: mount it")
        return Path(unquote(parts.path)).absolute()
    if not parts.netloc and scheme in OBJECT_STORES - {"memory"}:
        raise RunError(f"storage must name a bucket, but got {text}: {scheme}://BUCKET/FOLDER")
    options = _OPTIONS.get(scheme, {})
    if scheme in _FORGETFUL:
        options = {**options, "use_listings_cache": False}
    try:
        found_place: UPath = UPath(text.rstrip("/"), **options)
        _ = found_place.fs  # the client is imported now, not at the first file, and some connect
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = f"pip install 'octnas[{extra}]'" if extra else reason_of(error)
        raise RunError(f"{scheme}:// needs a client that is not installed: {remedy}") from None
    except ValueError as error:
        raise RunError(
            f"storage must be a folder or a URI of a kind that fsspec knows (s3, gs, ...), but got "
            f"{shown(text)} ({reason_of(error)})"
        ) from None
    except Exception as error:  # each client has errors of its own
        raise RunError(
            f"{shown(text)} cannot be reached ({reason_of(error)}): check its address, and the login in the "
            "environment or in the files of its client"
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
        make_folder(where)
        probe.write_bytes(b"octnas")
        if probe.read_bytes() != b"octnas":
            raise OSError("what was written is not what is read")
        remove(probe)
    except Exception as error:  # each client has errors of its own
        if isinstance(where, Path):
            remedy = "permit it, free space, or give another folder with --storage"
        elif where.protocol not in OBJECT_STORES:
            remedy = "check its address and your rights there"
        else:
            names = _ENVIRONMENT.get(where.protocol, "what its client reads")
            remedy = f"check the bucket's name and rights, and the credentials in the environment ({names})"
        raise RunError(
            f"storage must be writable, readable and deletable, but {where} is not ({reason_of(error)}): "
            f"{remedy}"
        ) from None


def make_folder(folder: Place) -> None:
    """Makes a folder, and those above it, where the kind of place has any.

    Raises whatever the client does.
    """
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
    elif folder.protocol not in OBJECT_STORES:
        folder.fs.makedirs(folder.path, exist_ok=True)


def put_whole(file: Path, to: UPath) -> None:
    """Copies a local file to a place, where it appears whole or not at all. Raises whatever the client does.

    Of an object store a file is seen when its last byte has arrived; elsewhere it is moved into its place.
    """
    fs, target = to.fs, to.path
    if to.protocol in OBJECT_STORES:
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
