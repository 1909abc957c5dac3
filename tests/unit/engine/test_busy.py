"""How busy the workers are, where they come and go: on the whole, recently, and in images a second."""

from __future__ import annotations

import pytest

from octnas.engine.busy import RECENT_SECONDS, Busy
from octnas.record import EpochScore


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def score(*, train_seconds: float, seconds: float = 1.0, images_per_second: float = 0.0) -> EpochScore:
    return EpochScore(
        epoch=1, accuracy=0.5, loss=1.0, train_loss=1.0, seconds=seconds, train_seconds=train_seconds,
        images_per_second=images_per_second,
    )  # fmt: skip


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_share_is_of_the_workers_that_there_were(clock: Clock) -> None:
    busy = Busy(clock, 1)
    clock.now = 150.0  # nothing is asked of them before the first training starts
    busy.started("1")
    clock.now = 160.0
    busy.workers = 16
    clock.now = 180.0
    busy.workers = 4
    clock.now = 190.0
    busy.scored("1", score(train_seconds=185.0))
    busy.ended("1")
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
    busy.started("1")
    assert busy.statistics()["busy_share"] is None


def test_the_recent_share_forgets_what_was_before(clock: Clock) -> None:
    busy = Busy(clock, 2)
    assert busy.recent_share() is None
    busy.started("1")
    clock.now += 10
    assert busy.recent_share() is None  # no score yet: an epoch may be under way
    shares = []
    for second in range(1, 601):
        clock.now += 1
        if second <= 300:  # of two workers one trains all the time, then none does
            busy.scored("1", score(train_seconds=1.0))
        shares.append(busy.recent_share())
    assert shares[299] == pytest.approx(0.5, abs=0.01)
    assert shares[299 + int(RECENT_SECONDS / 2)] == pytest.approx(0.25, abs=0.05)
    assert shares[-1] == 0.0


def test_where_epochs_are_long_more_is_recent(clock: Clock) -> None:
    busy = Busy(clock, 1)
    busy.started("1")
    shares = []
    for minute in range(1, 121):
        clock.now += 60
        if minute % 10 == 0:  # an epoch of ten minutes, nine of them in training steps
            busy.scored("1", score(train_seconds=540.0, seconds=600.0))
        shares.append(busy.recent_share())
    settled = [each for each in shares[60:] if each is not None]
    assert len(settled) == 60
    assert 0.6 <= min(settled) <= max(settled) <= 1.0
    assert sum(settled) / 60 == pytest.approx(0.9, abs=0.05)


def test_the_recent_share_knows_that_workers_came(clock: Clock) -> None:
    busy = Busy(clock, 1)
    busy.started("1")
    for _ in range(600):
        clock.now += 1
        busy.scored("1", score(train_seconds=1.0))
        busy.recent_share()
    busy.workers = 4
    for _ in range(600):
        clock.now += 1
        busy.scored("1", score(train_seconds=1.0))
        busy.recent_share()
    assert busy.recent_share() == pytest.approx(0.25)
    assert len(busy._samples) < 20


def test_images_a_second_are_those_of_the_trainings_under_way(clock: Clock) -> None:
    busy = Busy(clock, 2)
    busy.started("1")
    busy.started("2")
    assert busy.images_per_second == 0.0
    busy.scored("1", score(train_seconds=1.0, images_per_second=100.1))
    busy.scored("2", score(train_seconds=1.0, images_per_second=200.2))
    assert busy.images_per_second == pytest.approx(300.3)
    busy.scored("1", score(train_seconds=1.0, images_per_second=0.3))
    assert busy.images_per_second == pytest.approx(200.5)
    busy.ended("2")
    busy.ended("2")
    assert busy.images_per_second == pytest.approx(0.3)
    busy.started("3")  # in the place of "2", and as fast until its first score
    assert busy.images_per_second == pytest.approx(200.5)
    busy.scored("3", score(train_seconds=1.0, images_per_second=50.0))
    assert busy.images_per_second == pytest.approx(50.3)
    busy.ended("3")
    busy.ended("1")
    assert busy.images_per_second == 0.0
