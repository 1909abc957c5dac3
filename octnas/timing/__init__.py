"""Clocks: how long networks and operations take on this device, in each runtime.

Everything is loaded when it is first used. The functions `latency` and `profile` stand in the modules of
their names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octnas.timing.latency import Latency, plain_twin
    from octnas.timing.measure import Times, interleaved
    from octnas.timing.runtimes import DEVICES, RUNTIMES, make_runner

__all__ = ["DEVICES", "RUNTIMES", "Latency", "Times", "interleaved", "make_runner", "plain_twin"]

_HOMES = {
    "DEVICES": "octnas.timing.runtimes",
    "Latency": "octnas.timing.latency",
    "RUNTIMES": "octnas.timing.runtimes",
    "Times": "octnas.timing.measure",
    "interleaved": "octnas.timing.measure",
    "make_runner": "octnas.timing.runtimes",
    "plain_twin": "octnas.timing.latency",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'octnas.timing' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
