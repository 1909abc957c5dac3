"""What a figure was measured on, for the tables of these scripts."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["gpus", "memory_gib", "processor", "versions"]


def processor() -> str:
    """The processor's model, as the system names it."""
    return _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def memory_gib() -> float | None:
    """The machine's memory; None where the system does not say."""
    text = _first("/proc/meminfo", "MemTotal")
    return None if text is None else int(text.split()[0]) / 2**20


def gpus() -> list[str]:
    """Models of the NVIDIA GPUs that the driver shows; loads no tensor library."""
    found = [
        _first(str(path), "Model") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    ]
    return [model for model in found if model]


def versions(*packages: str) -> str:
    """ "Python 3.12.1, torch 2.9.0, ..."."""
    parts = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"{package} (not installed)")
    return ", ".join(parts)


def _first(path: str, key: str) -> str | None:
    """The value of the first line "key : value" of a file under /proc."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    values = [
        line.split(":", 1)[1].strip() for line in lines if ":" in line and line.split(":")[0].strip() == key
    ]
    return values[0] if values else None
