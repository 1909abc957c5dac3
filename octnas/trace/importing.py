"""Users' modules: imported from the working directory or the Python path, with errors of one line.

A line of the user's own code is named by its file and number ("net.py:31"), not one of what it calls.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from octnas.errors import FactoryError

__all__ = ["home_of", "imported", "modules", "place", "quiet", "raised"]

_INSTALLED = "site-packages"
_modules: list[str] = []


def modules() -> tuple[str, ...]:
    """The users' modules that factories were imported from in this process."""
    return tuple(_modules)


def imported(name: str) -> tuple[Any, object]:
    """The user's module and what a name, "package.module:factory", stands for in it.

    Raises:
        FactoryError: it is no such name, or there is no such module, or nothing of that name in it.
    """
    path, _, attribute = name.partition(":")
    file = path.endswith(".py") and Path(path).is_file()
    if file or not all(part.isidentifier() for part in (*path.split("."), *attribute.split("."))):
        near = path.removesuffix(".py").replace("/", ".").strip(".")
        hint = f": write {near}:{attribute or 'FACTORY'}" if near and near != path else ""
        raise FactoryError(f"a user's network must be package.module:factory, but got {name!r}{hint}")
    try:
        with _importable(), quiet():
            importlib.invalidate_caches()
            module = importlib.import_module(path)
    except (Exception, SystemExit) as error:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (path == missing or path.startswith(f"{missing}.")):
            raise FactoryError(
                f"{name} must be a module and a factory in it, but there is no module {missing!r} in "
                f"{os.getcwd()} or on the Python path: run octnas where it is, or set PYTHONPATH"
            ) from None
        raise FactoryError(
            f"{name} cannot be imported: {raised(error)}{place(error, _folder_of(path))}"
        ) from error
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = [each for each in vars(module) if not each.startswith("_")]
            like = difflib.get_close_matches(attribute, known, n=1, cutoff=0.5)
            hint = f"did you mean {path}:{like[0]}?" if like else "name a function or class that it has"
            raise FactoryError(f"{path} must have {attribute!r}, but has not ({module.__file__}): {hint}")
        found = getattr(found, part)
    if path not in _modules:
        _modules.append(path)
    return module, found


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """The working directory first on the Python path, and PYTHONPATH at its end; as before afterwards."""
    here = os.getcwd()
    more = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    added = [each for each in dict.fromkeys(more) if each not in sys.path]
    sys.path.insert(0, here)
    sys.path.extend(added)
    try:
        yield
    finally:
        sys.path.remove(here)
        for each in added:
            with contextlib.suppress(ValueError):
                # the last one: the user's code may have put it in front by itself
                del sys.path[len(sys.path) - 1 - sys.path[::-1].index(each)]


def quiet() -> contextlib.AbstractContextManager[Any]:
    """What the user's code prints goes to standard error: standard output is the answer's."""
    return contextlib.redirect_stdout(sys.stderr)


def home_of(module: Any) -> Path | None:
    """The folder of a module, or of the top package that it is in."""
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    file = getattr(top, "__file__", None) or getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve().parent


def _folder_of(path: str) -> Path | None:
    """Where the top package of a module that could not be imported is."""
    top = path.partition(".")[0]
    with _importable(), contextlib.suppress(Exception):
        spec = importlib.util.find_spec(top)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).resolve().parent
    return Path.cwd()


def place(error: BaseException, home: Path | None) -> str:
    """ " (net.py:31)", the last line of the user's own code that an error passed."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f" ({_shown(error.filename)}:{error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if home is not None
        and Path(frame.filename).resolve().is_relative_to(home)
        and (_INSTALLED in frame.filename) == (_INSTALLED in str(home))
    ]
    return f" ({_shown(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""


def _shown(file: str) -> str:
    """A file as a path from the working directory, where it is below it."""
    with contextlib.suppress(ValueError):
        return str(Path(file).resolve().relative_to(Path.cwd()))
    return file


def raised(error: BaseException) -> str:
    words = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
