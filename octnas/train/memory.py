"""The most memory that a training takes, as the system or the device counts it."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

import torch

__all__ = ["PeakMemory"]

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class PeakMemory:
    """What this process holds at most from now on: on a GPU the tensors on it, else all that is resident.

    The latter has the libraries and the data in it, as a machine must have room for them too. Where the
    system cannot start counting anew (only Linux can), the peak is that since the process began.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        with contextlib.suppress(OSError):
            _RESET.write_text("5")

    def megabytes(self) -> float:
        """The peak so far, in 10^6 bytes."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        with contextlib.suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"))
            if found is not None:
                return 1024 * int(found[1]) / 1e6
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1e6 if sys.platform == "darwin" else 1024 * most / 1e6
