"""What this machine gives to this process."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["usable_cores"]

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Processor cores that this process may use: its affinity, or a container's quota where that is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(_CGROUP)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


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
