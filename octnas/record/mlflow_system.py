"""What this machine does while a search or a training runs on it, as MLflow's System metrics tab shows it.

MLflow's own collectors are used, but not its monitor: that one ends at the first call that its store does not
take, and is waited for at the end.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol

from octnas.record.mlflow_import import import_mlflow
from octnas.record.tracking_values import Value, values_at

__all__ = ["Sample", "SystemMetrics", "sampled"]

_PREFIX = "system/"  # by which MLflow's page puts a metric into that tab
_SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"


class Sample(NamedTuple):
    """Means since the sample before; `at` is ms since 1970."""

    at: int
    values: Mapping[str, float]


def sampled(samples: Iterable[Sample], start: int) -> list[Value]:
    """The numbers of samples, at steps that are seconds since `start` (ms since 1970)."""
    values: list[Value] = []
    for sample in samples:
        values += values_at(sample.values, max(0, sample.at - start) // 1000, sample.at)
    return values


class Collector(Protocol):
    """MLflow's `BaseMetricsMonitor`."""

    def collect_metrics(self) -> object: ...

    def aggregate_metrics(self) -> dict[str, float]: ...

    def clear_metrics(self) -> object: ...


class SystemMetrics:
    """Processor, memory, disk, network and GPUs, if any, of this machine, in a thread of its own.

    It reads them every `seconds` and gives the means of the last `seconds`, or of the last hundredth of the
    time so far, so that a long search has few points too: 12 hours under 500. It fails nobody: where nothing
    can be read nothing is given. MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false turns it off.

    Args:
        take: called in the thread with each sample.
        collectors: makes what reads; default MLflow's.
    """

    def __init__(
        self,
        take: Callable[[Sample], object],
        *,
        seconds: float = 10.0,
        collectors: Callable[[], Sequence[Collector]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._take = take
        self._seconds = seconds
        self._collectors = collectors or _mlflow_collectors
        self._clock = clock
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="octnas-system", daemon=True)

    def start(self) -> None:
        """Begins, unless it is turned off."""
        if os.environ.get(_SWITCH, "").strip().lower() not in ("false", "0"):
            self._thread.start()

    def close(self) -> None:
        """Ends it, in a moment; what was read since the last sample is dropped."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def __enter__(self) -> SystemMetrics:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _work(self) -> None:
        try:
            collectors = self._collectors()
            for each in collectors:
                each.collect_metrics()  # the first share of a processor is of no time
                each.clear_metrics()
            began = told = self._clock()
            while not self._over.wait(self._seconds):
                for each in collectors:
                    each.collect_metrics()
                now = self._clock()
                if now - told < max(self._seconds, (now - began) / 100) - 0.5:
                    continue
                values: dict[str, float] = {}
                for each in collectors:
                    values.update(each.aggregate_metrics())
                    each.clear_metrics()
                told = now
                self._take(Sample(int(1000 * now), {f"{_PREFIX}{name}": values[name] for name in values}))
        except Exception:  # a machine that tells nothing of itself trains all the same
            return


def _mlflow_collectors() -> list[Collector]:
    import_mlflow()
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    kinds: list[Callable[[], Collector]] = [CPUMonitor, DiskMonitor, NetworkMonitor]
    found = [each() for each in kinds]
    gpus: Callable[[], Collector] = GPUMonitor
    with contextlib.suppress(Exception):  # no GPU, or no nvidia-ml-py, which is there where it is wanted
        found.append(gpus())
    return found
