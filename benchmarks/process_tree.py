"""Peak memory of a process and all that it started, read from /proc (Linux).

Summed is the proportional set size (PSS), which counts a page that several processes share once in all, such
as the images that the trial workers read from Ray's object store. Where the kernel does not tell it, the
resident set size stands in, which counts shared pages once for each process.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

__all__ = ["MemoryPeak", "PeakSampler"]

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPeak:
    """The largest sum over all processes that a sample saw."""

    bytes: int
    processes: int
    """Processes in that sample."""
    samples: int
    measure: str
    """"PSS" or "RSS"; the latter as soon as one process had no PSS."""


class PeakSampler:
    """Samples the tree below `root` every `interval` seconds, from entry to exit of its context."""

    def __init__(self, root: int, *, interval: float = 0.5) -> None:
        self._interval = interval
        self._known: dict[int, str] = {root: start} if (start := _stat(root)[1]) else {}
        self._peak, self._at_peak, self._samples, self._measure = 0, 0, 0, "PSS"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    @property
    def peak(self) -> MemoryPeak:
        """What the samples so far saw."""
        return MemoryPeak(
            bytes=self._peak, processes=self._at_peak, samples=self._samples, measure=self._measure
        )

    def __enter__(self) -> PeakSampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._sample()
            self._stop.wait(self._interval)

    def _sample(self) -> None:
        self._extend()
        total = 0
        for pid in self._known:
            size, is_pss = _memory(pid)
            total += size
            if size and not is_pss:
                self._measure = "RSS"
        self._samples += 1
        if total > self._peak:
            self._peak, self._at_peak = total, len(self._known)

    def _extend(self) -> None:
        """Takes up new descendants and drops the dead. A member stays one when its parent dies."""
        now = {int(entry): _stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
        self._known = {pid: start for pid, start in self._known.items() if now.get(pid, (0, ""))[1] == start}
        grown = True
        while grown:
            new = {
                pid: s for pid, (parent, s) in now.items() if parent in self._known and pid not in self._known
            }
            self._known.update(new)
            grown = bool(new)


def _stat(pid: int) -> tuple[int, str]:
    """Parent and start time of a process; (0, "") where it is gone."""
    try:
        # The name in brackets may hold spaces and brackets: what follows the last one has a fixed order.
        values = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return 0, ""
    return int(values[1]), values[19]


def _memory(pid: int) -> tuple[int, bool]:
    """Bytes of a process, and whether they are its PSS; 0 where it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024, True
    except OSError:
        pass  # no such file on this kernel, no right to read it, or the process is gone
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE, False
    except (OSError, IndexError):
        return 0, False
