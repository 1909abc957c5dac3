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
from octnas.storage import Place, make_folder, names_in, place, reason_of, remove_tree

__all__ = ["check_free", "claim", "delete_stored", "give_up", "store_of"]

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
        raise _taken(store, taken[0])


def claim(store: Place | None, name: str, created: str) -> None:
    """Writes down whose folder it is.

    In a folder one process alone can make the file. In an object store the last of two that write it has the
    place; the other one finds out if it reads its file back after that, which is likely but not certain.

    Raises:
        RunError: it cannot be written, or another run was faster.
    """
    if store is None:
        return
    file, ours = store / _OWNER, _owner(name, created)
    try:
        if isinstance(file, Path):
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_new(file, ours)
            (file.parent / "checkpoints").mkdir(exist_ok=True)
        else:
            make_folder(store)
            file.write_text(ours, encoding="utf-8")
        ours_still = file.read_text(encoding="utf-8") == ours
    except FileExistsError:
        ours_still = False
    except Exception as error:
        raise RunError(f"cannot write {store}: {reason_of(error)}; check --storage") from None
    if not ours_still:
        raise _taken(store, _OWNER)


def give_up(store: Place | None, name: str, created: str) -> None:
    """Removes a run's folder in the storage if it is the run's; where that fails it stays."""
    if store is not None:
        with contextlib.suppress(Exception):
            _remove_if_ours(store, name, created)


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
            _remove_if_ours(store, name, header.get("created", ""))
    except Exception as error:
        raise RunError(
            f"cannot remove {store}: {reason_of(error)}; permit it, or remove it by hand"
        ) from None


def _owner(name: str, created: str) -> str:
    return json.dumps({"name": name, "created": created})


def _remove_if_ours(store: Place, name: str, created: str) -> None:
    if (store / _OWNER).read_text(encoding="utf-8") == _owner(name, created):
        remove_tree(store)


def _write_new(file: Path, text: str) -> None:
    """Writes a file that no other process has made; it is there whole or not at all."""
    with file.open("x", encoding="utf-8") as new:
        try:
            new.write(text)
            new.flush()
        except BaseException:
            file.unlink(missing_ok=True)
            raise


def _taken(store: Place, first: str) -> RunError:
    """The refusal of a place that holds files; `first` is one of them, and its owner's file says more."""
    what = first
    with contextlib.suppress(Exception):
        owner = json.loads((store / _OWNER).read_text(encoding="utf-8"))
        what = f"{_OWNER} of {owner['name']!r}, created {owner['created']}"
    return RunError(
        f"{store} holds files of another search ({what}): take another --name or --storage, or remove it"
    )
