"""Users' code as it travels to workers that do not see this machine's files.

What is shipped are the sources of the modules that the user's factories were imported from, of what these
imported from the same folders, and of the packages that they are in. A worker imports them from memory, where
it finds no file of that name.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from octnas.engine.process import users_folders
from octnas.errors import RunError

__all__ = ["Sources", "receive", "users_sources"]

MOST_MB = 32
"""10^6 bytes of sources that are shipped at most."""

Sources = Mapping[str, bytes]
"""By path from where Python looks for it: "package/module.py"."""


def users_sources(evaluate: str = "") -> dict[str, bytes]:
    """The users' code of this process; nothing where it has no network and no training of theirs.

    Args:
        evaluate: the name ("module:function") of what a worker calls.

    Raises:
        RunError: it is too much to be code.
    """
    found: dict[str, bytes] = {}
    for folder in map(Path, users_folders(evaluate)):
        for module in list(sys.modules.values()):
            for file in _files(module, folder):
                found[file.relative_to(folder).as_posix()] = file.read_bytes()
    if (size := sum(map(len, found.values()))) > MOST_MB * 10**6:
        raise RunError(
            f"the code of a user's networks may be {MOST_MB} MB, but is {size / 1e6:.0f} MB: move the module "
            "into a folder or package of its own"
        )
    return found


def receive(sources: Sources) -> None:
    """Lets this process import what was shipped; once, however often it is called."""
    known = [each.sources for each in sys.meta_path if isinstance(each, _InMemory)]
    if sources and sources not in known:
        sys.meta_path.append(_InMemory(sources))  # behind all that looks for files


def _files(module: ModuleType, folder: Path) -> list[Path]:
    """The sources of a module that lies in a folder; of a package all that is in it."""
    origin = getattr(module, "__file__", None)
    if not isinstance(origin, str) or not origin.endswith(".py"):
        return []
    file = Path(origin).resolve()  # some modules of PyTorch's give a name that is no file's
    if not file.is_relative_to(folder) or "site-packages" in file.parts or not file.is_file():
        return []
    return sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]


class _InMemory(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):  # type: ignore[misc]
    """Imports from sources in memory."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module, package, or folder without `__init__.py` of a name."""
        place = fullname.replace(".", "/")
        if any(each in self.sources for each in (f"{place}/__init__.py", f"{place}.py")):
            is_package = f"{place}/__init__.py" in self.sources
            return importlib.util.spec_from_loader(fullname, self, is_package=is_package)
        if any(each.startswith(f"{place}/") for each in self.sources):
            return importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        return None

    def get_filename(self, fullname: str) -> str:
        """The path that `users_sources` gave it."""
        place = fullname.replace(".", "/")
        package = f"{place}/__init__.py"
        return package if package in self.sources else f"{place}.py"

    def get_data(self, path: str | bytes) -> bytes:
        """The source at a path."""
        try:
            return self.sources[str(path)]
        except KeyError:
            raise OSError(f"no source {path!r} was shipped") from None
