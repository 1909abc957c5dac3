"""Where in the user's code something stands: the file and the line that a message names."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from pathlib import Path
from types import FrameType, TracebackType

import torch

import octnas

__all__ = ["place_of_error", "place_of_frame", "quoted"]


def _folders(*paths: object) -> tuple[str, ...]:
    return tuple(os.path.realpath(str(path)) + os.sep for path in paths)


_OURS = _folders(Path(octnas.__file__).parent)
_TORCHS = _folders(Path(str(torch.__file__)).parent)
_PYTHONS = _folders(*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")))
_PACKAGES = _folders(*(sysconfig.get_path(name) for name in ("purelib", "platlib")))
"""Where packages are installed, which may lie in Python's own folder."""


def place_of_frame(frame: FrameType | None, outermost: str) -> str:
    """ "net.py:31" of the innermost frame from here outwards that is the user's; "" where there is none.

    Args:
        outermost: the function of octnas beyond which lies who called octnas, and no part of the network.
    """
    while frame is not None:
        file = os.path.realpath(frame.f_code.co_filename)
        if file.startswith(_OURS) and frame.f_code.co_name == outermost:
            return ""
        if _is_theirs(file):
            return f"{_shown(file)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def place_of_error(error: BaseException) -> str:
    """ "net.py:31" of the innermost frame of the user's in which an error came up; "" where there is none."""
    return next((f"{_shown(file)}:{line}" for file, line in _theirs(error.__traceback__)), "")


def quoted(error: BaseException) -> str:
    """The user's line of code in which an error came up, in backticks; "" where there is none."""
    for file, line in _theirs(error.__traceback__):
        code = linecache.getline(file, line).strip()
        return f"`{code}`" if code else ""
    return ""


def _theirs(trace: TracebackType | None) -> list[tuple[str, int]]:
    """The user's frames of a traceback, the innermost first."""
    found = []
    while trace is not None:
        file = os.path.realpath(trace.tb_frame.f_code.co_filename)
        if _is_theirs(file):
            found.append((file, trace.tb_lineno))
        trace = trace.tb_next
    return found[::-1]


def _is_theirs(file: str) -> bool:
    if file.startswith((*_OURS, *_TORCHS, "<")):
        return False
    return file.startswith(_PACKAGES) or not file.startswith(_PYTHONS)


def _shown(file: str) -> str:
    """A path from the current folder, or from where packages are installed, else the file's name."""
    for folder in (*_folders(os.getcwd()), *_PACKAGES, *_folders(*(path or "." for path in sys.path))):
        if file.startswith(folder):
            return file.removeprefix(folder)
    return Path(file).name
