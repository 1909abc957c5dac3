"""The busy share where workers come and go."""

from __future__ import annotations

import pytest

from octnas.engine.busy import Busy


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_share_is_of_the_workers_that_there_were(clock: Clock) -> None:
    busy = Busy(clock, 1)
    clock.now = 150.0  # nothing is asked of them before the first training starts
    busy.started()
    clock.now = 160.0
    busy.workers = 16
    clock.now = 180.0
    busy.workers = 4
    clock.now = 190.0
    busy.trained(185.0)
    busy.ended()
    clock.now = 500.0
    busy.workers = 2
    # 1 * 10 s + 16 * 20 s + 4 * 10 s
    assert busy.statistics() == {
        "train_seconds": 185.0,
        "phase_seconds": 40.0,
        "workers": 2,
        "busy_share": 0.5,
    }


def test_before_anything_ended_there_is_no_share(clock: Clock) -> None:
    busy = Busy(clock, 2)
    assert busy.statistics()["busy_share"] is None
    busy.started()
    assert busy.statistics()["busy_share"] is None
