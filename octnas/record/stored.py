"""What a run has in its search's storage: a folder of its name, which says whose it is.

Two machines may give their searches one name and one storage. The file `octnas-run.json` in the folder has
the name and the time of creation of the run that it belongs to; no other run writes there, nor removes it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octnas.errors import RunError
from octnas.storage import Place, names_in, place, reason_of, remove_tree

__all__ = ["check_free", "claim", "delete_stored", "store_of"]

_OWNER = "octnas-run.json"


def store_of(name: str, options: Mapping[str, Any]) -> Place | None:
    """The folder of the run `name` in the storage that its header's options name; None where they name none.

    Raises:
        RunError: the storage's client is not installed here.
    """
    storage = options.get("storage")
    return None if storage is None else place(str(storage)) / name


def check_free(store: Place | None) -> None:
    """Checks that a run's folder in the storage is empty or not there.

    Raises:
        RunError: it has files, or cannot be read.
    """
    if store is None:
        return
    try:
        taken = names_in(store)
    except Exception as error:  # each client of a store has errors of its own
        raise RunError(f"cannot read {store}: {reason_of(error)}; check --storage") from None
    if taken:
        raise RunError(
            f"{store} holds files of another search ({taken[0]}): take another --name or --storage, or "
            "remove it"
        )


def claim(store: Place | None, name: str, created: str) -> None:
    """Writes down whose folder it is.

    Raises:
        RunError: it cannot be written.
    """
    if store is None:
        return
    try:
        if isinstance(store, Path):
            (store / "checkpoints").mkdir(parents=True, exist_ok=True)
        (store / _OWNER).write_text(_owner(name, created), encoding="utf-8")
    except Exception as error:
        raise RunError(f"cannot write {store}: {reason_of(error)}; check --storage") from None


def delete_stored(name: str, header: Mapping[str, Any] | None) -> None:
    """Removes a run's folder in its storage; one that is of another run stays.

    Args:
        header: the run's, as its journal has it; None where it is damaged, and nothing is removed.

    Raises:
        RunError: it cannot be removed.
    """
    options = header.get("options") if isinstance(header, Mapping) else None
    if header is None or not isinstance(options, Mapping):
        return
    try:
        store = store_of(name, options)
    except RunError as error:
        raise RunError(f"{error}; or remove the run's own folder by hand") from None
    if store is None:
        return
    try:
        with contextlib.suppress(FileNotFoundError):
            if (store / _OWNER).read_text(encoding="utf-8") == _owner(name, header.get("created", "")):
                remove_tree(store)
    except Exception as error:
        raise RunError(
            f"cannot remove {store}: {reason_of(error)}; permit it, or remove it by hand"
        ) from None


def _owner(name: str, created: str) -> str:
    return json.dumps({"name": name, "created": created})
