"""Fair measurement of several things that run in turns: warm, interleaved, medians with their spread."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

__all__ = ["MIN_ROUNDS", "Runner", "Times", "interleaved"]

Runner = Callable[[], object]
Clock = Callable[[], float]

MIN_ROUNDS = 15
"""Rounds that are made however long they take."""
MAX_ROUNDS = 1000
SAMPLE_SECONDS = 2e-3
"""A sample of something faster is the mean of several calls in a row, as many as take this long."""
WARM_UP_CALLS = 3
WARM_UP_SHARE = 0.15
"""Of the time limit, spent on calls that are not counted; each runner has `WARM_UP_CALLS` or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds per call of one runner, a sample a round, in the order of the rounds."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """Half of the samples took no longer."""
        return float(np.median(self.samples))

    @property
    def quartiles(self) -> tuple[float, float]:
        """The middle half of the samples lies between these."""
        low, high = np.quantile(self.samples, (0.25, 0.75))
        return float(low), float(high)

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.samples)


def interleaved(
    runners: Mapping[str, Runner],
    *,
    seconds: float = 10.0,
    rounds: int | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, Times]:
    """Time several runners against each other.

    A round times each of them once; every other round in the reverse order, so that neither drift nor what
    the neighbour left in the caches favours one. Before the first round all are run until they are warm.

    Args:
        runners: what to time, by name; each returns when its work is done.
        seconds: of measuring in all, warm-up included; 15 rounds are made even where they take longer.
        rounds: exactly so many, whatever they take.
        clock: seconds from any start.

    Returns:
        For each name as many samples as there were rounds; those of one round have the same index.
    """
    order = list(runners)
    samples: dict[str, list[float]] = {name: [] for name in order}
    with _no_garbage_collection():
        start = clock()
        calls = _warm_up(runners, seconds * WARM_UP_SHARE, clock)
        done = 0
        while _goes_on(done, clock() - start, seconds, rounds):
            for name in order if done % 2 == 0 else reversed(order):
                samples[name].append(_sample(runners[name], calls[name], clock))
            done += 1
    return {name: Times(samples=tuple(values)) for name, values in samples.items()}


def _goes_on(done: int, elapsed: float, seconds: float, rounds: int | None) -> bool:
    if rounds is not None:
        return done < rounds
    return done < MIN_ROUNDS or (elapsed < seconds and done < MAX_ROUNDS)


def _warm_up(runners: Mapping[str, Runner], seconds: float, clock: Clock) -> dict[str, int]:
    """Run each for its share of the time; returns how many calls make a sample."""
    share = seconds / max(1, len(runners))
    calls = {}
    for name, run in runners.items():
        start = clock()
        fastest, done = math.inf, 0
        while done < WARM_UP_CALLS or clock() - start < share:
            before = clock()
            run()
            fastest = min(fastest, clock() - before)
            done += 1
        calls[name] = max(1, math.ceil(SAMPLE_SECONDS / fastest)) if fastest > 0 else 1
    return calls


def _sample(run: Runner, calls: int, clock: Clock) -> float:
    """Milliseconds of a call, as the mean of `calls` of them."""
    start = clock()
    for _ in range(calls):
        run()
    return 1e3 * (clock() - start) / calls


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """The collector would stop whoever happens to run."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
