"""What this machine is, what it gives to this process, and which versions run on it; no tensor library."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from octnas.counted import counted
from octnas.errors import TimingError, unknown_name

__all__ = ["device_name", "runtime_versions", "usable_cores"]

_CGROUP = Path("/sys/fs/cgroup")
_CPUINFO = Path("/proc/cpuinfo")
_DISTRIBUTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "onnxruntime": {"onnxruntime": ("onnxruntime", "onnxruntime-gpu")},
    "eager": {"torch": ("torch",)},
    "compile": {"torch": ("torch",)},
}
"""What decides how fast each runtime is, and the names under which it may be installed."""


def device_name(kind: str) -> str:
    """The model of the processor ("cpu") with the machine's cores, or of the first GPU ("cuda").

    The cores are the machine's, not this process's: a name stays the same under another affinity.

    Raises:
        UnknownNameError: another kind.
        TimingError: there is no GPU.
    """
    if kind == "cpu":
        cores = os.cpu_count() or 1
        return f"{_processor()}, {counted(cores, 'core')}"
    if kind == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise TimingError(
                "device 'cuda' needs an NVIDIA GPU and a PyTorch built for CUDA, but PyTorch "
                f"{torch.__version__} sees none: use device 'cpu'"
            )
        return str(torch.cuda.get_device_name(0))
    raise unknown_name("device", kind, ("cpu", "cuda"))


def runtime_versions(runtime: str) -> dict[str, str]:
    """The installed versions of what a runtime consists of, by name.

    Raises:
        UnknownNameError: another runtime than "onnxruntime", "eager" or "compile".
    """
    if runtime not in _DISTRIBUTIONS:
        raise unknown_name("runtime", runtime, _DISTRIBUTIONS)
    return {name: _version(names) for name, names in _DISTRIBUTIONS[runtime].items()}


def usable_cores() -> int:
    """Processor cores that this process may use: its affinity, or a container's quota where that is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(_CGROUP)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def _version(names: tuple[str, ...]) -> str:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    raise TimingError(f"{' or '.join(names)} must be installed, but is not: `pip install {names[0]}`")


def _processor() -> str:
    """The model's name; where a virtual machine leaves the number out, with its family and model."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    first: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        if colon:
            first.setdefault(key.strip(), " ".join(value.split()))
    name = first.get("model name") or platform.processor() or platform.machine() or "unknown processor"
    if not re.search(r"\d", name) and {"cpu family", "model"} <= first.keys():
        return f"{name} (family {first['cpu family']}, model {first['model']})"
    return name


def _quota(root: Path) -> float | None:
    """Cores that a control group grants (version 2, then 1), None where it sets no limit."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = " ".join((root / name).read_text(encoding="ascii") for name in files).split()
            quota, period = (float(word) for word in words)
        except (OSError, ValueError):  # there is none, or it says "max"
            continue
        if quota > 0 and period > 0:
            return quota / period
    return None
