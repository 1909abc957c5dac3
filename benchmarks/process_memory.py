"""What this process holds in memory now."""

from __future__ import annotations

import resource
from pathlib import Path

__all__ = ["memory_mb"]


def memory_mb() -> float:
    """Resident memory in MB (10^6 bytes), on Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 1e6
