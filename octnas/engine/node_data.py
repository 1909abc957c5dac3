"""How the machines of a cluster find the files of a set, each once, and that all of them have the same."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from octnas.errors import DataError, RunError
from octnas.storage import is_uri, place, reason_of

if TYPE_CHECKING:
    from octnas.data import ImageSet

__all__ = ["NodeData", "here", "node_data"]


PACKED = ".octnas-data"
"""The folder of a storage that packed files lie in; no search has a name that begins with a dot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeData:
    """Where a machine finds the files of a set."""

    source: str
    """The folder that every machine sees, or a URI that each fetches."""
    fingerprint: str
    """Of the set, by the names and sizes of its files."""
    archive: str | None = None
    """A tar of the files, as the driver packed it, where machines have no other way to them."""


def node_data(images: ImageSet, source: str, storage: str | None, visible: bool) -> NodeData | None:
    """How nodes find a set's files; None where it lies in memory and travels as it is.

    Where nodes do not see the files, these are packed once into STORAGE/.octnas-data.

    Args:
        source: name, folder, archive or URI that the set was loaded from.
        storage: the search's, if it has one.
        visible: whether every node sees the folder `source`.

    Raises:
        RunError: nodes have no way to the files, or they cannot be packed.
    """
    from octnas.data.archive import pack
    from octnas.data.moved import files_of, folder_of

    folder = folder_of(images)
    if folder is None:
        return None
    if is_uri(source) and not isinstance(place(source), Path):
        return NodeData(source=source, fingerprint=images.fingerprint)
    if visible and folder == Path(source).expanduser():
        return NodeData(source=str(folder), fingerprint=images.fingerprint)
    if storage is None:
        raise RunError(
            f"data in {folder} must be seen by every node: put it on a folder that all of them share, give a "
            "URI with --data, or give --storage, where it is packed for them"
        )
    to = place(storage) / PACKED / f"{images.fingerprint}.tar"
    try:
        if not to.is_file():
            pack(folder, files_of(images), to)
    except Exception as error:  # each client of a store has errors of its own
        raise RunError(f"cannot pack {folder} into {to}: {reason_of(error)}; check --storage") from None
    return NodeData(source=str(folder), fingerprint=images.fingerprint, archive=str(to))


_found: dict[NodeData, Path] = {}
"""Folders that this process has held against their fingerprint."""


def here(images: ImageSet, data: NodeData | None) -> ImageSet:
    """The set with its files where this machine has them, which fetches them if it has not.

    Once a process, names and sizes are held against the fingerprint.

    Raises:
        DataError: the files cannot be fetched, or are others than the driver's.
        RunError: the client of the URI is not installed.
    """
    from octnas.data.fetched import fetched, home_of
    from octnas.data.moved import files_fingerprint, moved

    if data is None:
        return images
    if data in _found:
        return moved(images, _found[data])
    source = data.archive or data.source
    fetches = data.archive is not None or is_uri(source)
    folder = fetched(source, step_in=data.archive is None) if fetches else Path(source)
    found = moved(images, folder)
    remedy = "mount the same folder there"
    if fetches:
        remedy = f"remove {home_of(source)} there to fetch them anew"
    wanted = f"{data.source} must be the same on all machines, fingerprint {data.fingerprint}"
    try:
        fingerprint = files_fingerprint(found)
    except OSError as error:
        raise DataError(
            f"{wanted}, but on {socket.gethostname()} {error.filename or folder} is missing "
            f"({reason_of(error)}): {remedy}"
        ) from None
    if fingerprint != data.fingerprint:
        raise DataError(f"{wanted}, but {socket.gethostname()} has {fingerprint} in {folder}: {remedy}")
    _found[data] = folder
    return found
