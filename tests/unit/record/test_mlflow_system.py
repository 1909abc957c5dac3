"""What this machine does, at intervals that a long search keeps few."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

import pytest

from octnas.record.mlflow_system import Sample, SystemMetrics, sampled


class Hours:
    """A clock that goes ten seconds further each time it is read."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        self.at += 10.0
        return self.at


class Counted:
    """A collector that counts its readings; `over` is set after `most` of them."""

    def __init__(self, most: int) -> None:
        self.readings = 0
        self.since = 0
        self.most = most
        self.over = threading.Event()

    def collect_metrics(self) -> None:
        self.readings += 1
        self.since += 1
        if self.readings > self.most:
            self.over.set()
            raise OSError("that was all")

    def aggregate_metrics(self) -> dict[str, float]:
        return {"readings": float(self.since)}

    def clear_metrics(self) -> None:
        self.since = 0


def _samples(most: int) -> list[Sample]:
    counted, taken = Counted(most), []
    metrics = SystemMetrics(taken.append, seconds=0.0, collectors=lambda: [counted], clock=Hours())
    with metrics:
        assert counted.over.wait(60)
    return taken


def test_twelve_hours_are_a_few_hundred_samples_and_every_reading_is_in_one() -> None:
    taken = _samples(12 * 360)
    assert 400 < len(taken) < 500
    at = [sample.at for sample in taken]
    assert all(later - earlier >= 10_000 for earlier, later in itertools.pairwise(at))
    assert taken[0].values == {"system/readings": 1.0}
    last = taken[-1]
    assert last.values["system/readings"] == pytest.approx((last.at / 1000 - 1000) / 1000, rel=0.05)


def test_mlflows_own_collectors_tell_of_processor_memory_disk_and_network() -> None:
    taken: list[Sample] = []
    told = threading.Event()

    def take(sample: Sample) -> None:
        taken.append(sample)
        told.set()

    with SystemMetrics(take, seconds=0.01):
        assert told.wait(120)
    assert {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/disk_available_megabytes",
        "system/network_receive_megabytes",
    } <= taken[0].values.keys()
    assert taken[0].values["system/system_memory_usage_megabytes"] > 0


@pytest.mark.parametrize("value", ["false", "False", "0"])
def test_it_can_be_turned_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", value)
    asked: list[str] = []

    def collectors() -> Sequence[Counted]:
        asked.append("asked")
        return []

    with SystemMetrics(lambda sample: None, seconds=0.0, collectors=collectors):
        pass
    assert asked == []


def test_a_machine_that_tells_nothing_fails_nobody_and_the_thread_ends() -> None:
    def collectors() -> Sequence[Counted]:
        raise OSError("no /proc")

    with SystemMetrics(lambda sample: None, seconds=0.0, collectors=collectors):
        pass
    assert "octnas-system" not in {thread.name for thread in threading.enumerate()}


def test_steps_are_seconds_since_the_run_began() -> None:
    values = sampled([Sample(61_500, {"system/a": 1.0}), Sample(500, {"system/a": 2.0})], 1_000)
    assert [(value.name, value.step, value.at) for value in values] == [
        ("system/a", 60, 61_500),
        ("system/a", 0, 500),
    ]
