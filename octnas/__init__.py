"""octnas finds where a convolutional network can drop an octave.

Names are loaded on first use, so that `import octnas` and the cheap commands need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from octnas._version import __version__
from octnas.backbones import Family, find_elsewhere

if TYPE_CHECKING:
    from octnas import errors, export, nn
    from octnas.architecture import Architecture
    from octnas.costs import cost
    from octnas.engine import resume, search
    from octnas.front import SearchResult
    from octnas.nn import build
    from octnas.space import SearchSpace, load_space
    from octnas.trace import convert, plain, stays_plain

__all__ = [
    "Architecture",
    "SearchResult",
    "SearchSpace",
    "__version__",
    "build",
    "convert",
    "cost",
    "errors",
    "export",
    "load_space",
    "nn",
    "plain",
    "resume",
    "search",
    "stays_plain",
]

_HOMES = {
    "Architecture": "octnas.architecture",
    "SearchResult": "octnas.front",
    "SearchSpace": "octnas.space",
    "build": "octnas.nn",
    "convert": "octnas.trace",
    "cost": "octnas.costs",
    "load_space": "octnas.space",
    "plain": "octnas.trace",
    "resume": "octnas.engine",
    "search": "octnas.engine",
    "stays_plain": "octnas.trace",
}
_SUBPACKAGES = ("errors", "export", "nn")


def _users_family(name: str) -> Family:
    from octnas.trace.factory import family

    return family(name)


find_elsewhere(_users_family)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _SUBPACKAGES:
        return importlib.import_module(f"octnas.{name}")
    raise AttributeError(f"module 'octnas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
