"""What a search needs of its own process: folders that vanish with it, signals, what workers inherit."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

import octnas

__all__ = ["environment", "import_folders", "interruptible", "new_folder", "short_folder", "users_folders"]


@contextlib.contextmanager
def new_folder(place: str, kind: str) -> Iterator[Path]:
    """A folder `octnas-KIND-...` in `place` that is there inside the context only.

    It is locked meanwhile; those whose process was killed are not, and are removed here.
    """
    for old in Path(place).glob(f"octnas-{kind}-*"):
        _remove_unless_locked(old)
    folder = Path(tempfile.mkdtemp(prefix=f"octnas-{kind}-", dir=place))
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_unless_locked(folder: Path) -> None:
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return  # another user's, or just being made
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return
    finally:
        os.close(lock)


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables, for processes that are started inside the context."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


@contextlib.contextmanager
def interruptible(on_signal: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `on_signal` and nothing else; a second Ctrl-C raises `KeyboardInterrupt`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def halt(number: int, frame: FrameType | None) -> None:
        on_signal()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in before:
        signal.signal(number, halt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def import_folders(evaluate: str) -> list[str]:
    """Where workers find octnas, the function, and users' networks, also in a checkout not installed."""
    folders = [str(Path(octnas.__file__).resolve().parent.parent), *_folder_of(evaluate)]
    before = os.environ.get("PYTHONPATH")
    folders += before.split(os.pathsep) if before else []
    return list(dict.fromkeys([*folders, *users_folders()]))


def users_folders(evaluate: str = "") -> list[str]:
    """The folders from which users' networks were imported in this process, and what trains where that is
    a user's: what has to be shipped to workers that do not see this machine's files."""
    importing = sys.modules.get("octnas.trace.importing")  # else nobody asked for one
    names = () if importing is None else importing.modules()
    own = () if evaluate.partition(".")[0] == "octnas" else (evaluate,)
    folders = [each for name in (*names, *own) for each in _folder_of(name)]
    installed = tuple(sysconfig.get_path(key) for key in ("purelib", "platlib", "stdlib"))
    return [each for each in dict.fromkeys(folders) if each not in installed]


def _folder_of(name: str) -> list[str]:
    """Where the top package of an imported "module:function" lies, in a list; nowhere: an empty one."""
    top = sys.modules.get(name.partition(":")[0].partition(".")[0])
    origin = getattr(top, "__file__", None)
    if top is not None and origin is None:  # a namespace package
        origin = next(iter(getattr(top, "__path__", ())), None)
        return [str(Path(origin).resolve().parent)] if origin else []
    if origin is None:
        return []
    place = Path(origin).resolve()
    return [str(place.parent.parent if place.name == "__init__.py" else place.parent)]


def short_folder() -> str:
    """Ray's sockets lie in its folder, and a socket's path may have 107 bytes."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 30 or not os.access("/tmp", os.W_OK) else "/tmp"
