"""What the adapter does before a job reaches a worker; the rest needs a Ray (tests/integration)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octnas.engine.ray_adapter import _Asking, _reported
from octnas.engine.ray_faults import Faults
from octnas.record import EpochScore


@dataclass(frozen=True)
class Job:
    id: str
    threads: int = 1
    initial: Path | None = None


class Driver:
    """Hands out the jobs that it is given."""

    workers = 1
    fault: BaseException | None = None
    interrupted = halted = overdue = False
    has_work = True

    def __init__(self, *jobs: Job) -> None:
        self.jobs = list(jobs)
        self.failed: dict[str, str] = {}
        self.running: tuple[str, ...] = ()

    def next_job(self) -> Job | None:
        return self.jobs.pop(0) if self.jobs else None

    def fail(self, job_id: str, reason: str, traceback: str = "") -> None:
        self.failed[job_id] = reason

    def report(self, job_id: str, value: Any) -> bool:
        return False

    def ended(self, job_id: str) -> None: ...
    def stop_running(self, reason: str) -> None: ...
    def interrupt(self) -> None: ...
    def note(self, text: str, kind: Any = "note") -> None: ...


def test_a_job_whose_weights_are_gone_fails_and_the_next_begins(tmp_path: Path) -> None:
    driver = Driver(Job("1", initial=tmp_path / "gone.safetensors"), Job("2"))
    asked = _Asking(driver, set(), Faults(driver, None)).suggest("tune-1")
    assert (asked["job"].id, asked["initial"]) == ("2", None)
    assert list(driver.failed) == ["1"]
    assert "cannot read" in driver.failed["1"]
    assert "gone.safetensors: No such file" in driver.failed["1"]
    assert driver.fault is None


def test_what_a_driver_raises_is_its_fault_and_nothing_of_tunes() -> None:
    class Broken(Driver):
        def next_job(self) -> Job | None:
            raise RuntimeError("a full disk")

    driver = Broken()
    _Asking(driver, set(), Faults(driver, None)).suggest("tune-1")
    assert str(driver.fault) == "a full disk"


def test_lists_and_scores_come_out_as_they_went_in() -> None:
    values = [[0.5, None], [1, "text"]]
    assert _reported({"value": values, "done": False}) == values
    score = EpochScore(
        epoch=1, accuracy=0.5, loss=1.0, train_loss=1.0, seconds=2.0, train_seconds=1.0,
        images_per_second=3.0,
    )  # fmt: skip
    flat = {f"score/{name}": value for name, value in score.to_dict().items()}
    assert _reported({**flat, "training_iteration": 3}) == score
