"""Rounds, their order and their statistics, on a clock that is made up."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from octnas.timing.measure import MAX_ROUNDS, MIN_ROUNDS, Runner, Times, interleaved


class Clock:
    """Stands still but for what the runners take; remembers who ran."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[str] = []

    def __call__(self) -> float:
        return self.now

    def runner(self, name: str, *milliseconds: float) -> Runner:
        """Takes the given times in turn, the last one from then on."""

        def times() -> Iterator[float]:
            yield from milliseconds[:-1]
            while True:
                yield milliseconds[-1]

        left = times()

        def run() -> None:
            self.ran.append(name)
            self.now += next(left) / 1e3

        return run


def test_samples_are_what_a_call_takes_and_the_order_alternates() -> None:
    clock = Clock()
    # the three slow calls are the warm-up, which is not counted
    runners = {"plain": clock.runner("p", 90, 50, 50, 8, 4, 4), "octave": clock.runner("o", 70, 70, 70, 5)}
    measured = interleaved(runners, seconds=0, rounds=4, clock=clock)
    assert clock.ran == list("pppooo" + "po" + "op" + "po" + "op")
    assert measured["plain"].samples == pytest.approx((8, 4, 4, 4))
    assert measured["octave"].samples == pytest.approx((5, 5, 5, 5))


def test_a_fast_runner_is_called_several_times_a_sample() -> None:
    clock = Clock()
    measured = interleaved({"fast": clock.runner("f", 0.5)}, seconds=0, rounds=2, clock=clock)
    assert measured["fast"].samples == pytest.approx((0.5, 0.5))
    assert len(clock.ran) == 3 + 2 * 4  # a sample is 2 ms or more


@pytest.mark.parametrize(
    ("milliseconds", "seconds", "rounds"),
    [
        (10_000, 1, MIN_ROUNDS),  # far above the limit: as many as a median needs
        (20, 10, 213),  # 40 ms a round; .15 of the time is spent on warming up
        (2.5, 1e6, MAX_ROUNDS),
    ],
)
def test_the_rounds_fill_the_time(milliseconds: float, seconds: float, rounds: int) -> None:
    clock = Clock()
    runners = {name: clock.runner(name, milliseconds) for name in "ab"}
    measured = interleaved(runners, seconds=seconds if seconds < 1e6 else 100, clock=clock)
    assert abs(measured["a"].n - rounds) <= 1
    assert measured["a"].n == measured["b"].n


def test_each_runner_warms_up_for_its_share_of_the_time() -> None:
    clock = Clock()
    interleaved({"a": clock.runner("a", 100), "b": clock.runner("b", 100)}, seconds=10, rounds=1, clock=clock)
    # .15 of 10 s is .75 s for each: eight calls of .1 s, then one in the round
    assert (clock.ran.count("a"), clock.ran.count("b")) == (9, 9)


def test_statistics_of_samples() -> None:
    times = Times(samples=(5.0, 1.0, 2.0, 4.0, 3.0))
    assert (times.median, times.quartiles, times.n) == (3.0, (2.0, 4.0), 5)


def test_the_collector_rests_while_it_is_measured_and_works_again_after_a_failure() -> None:
    seen: list[bool] = []

    def fails() -> None:
        seen.append(gc.isenabled())
        raise RuntimeError("no")

    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="no"):
        interleaved({"x": fails}, rounds=1)
    assert seen == [False]
    assert gc.isenabled()
