"""Running sums against what they stand for, worked out from all records."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octnas.architecture import Architecture
from octnas.engine.standing import Standing
from octnas.front import best, pareto_front
from octnas.record import TrialRecord, TrialState

FINAL = st.sampled_from([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.STOPPED, TrialState.FAILED])
TRIALS = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, 6), FINAL, st.booleans(), st.integers(0, 4), st.booleans()),
    max_size=30,
)
PLAIN = Architecture.uniform("resnet18", alpha=0)


def record(
    number: int, gflops: int, accuracy: int, state: TrialState, yardstick: bool, epochs: int, within: bool
) -> TrialRecord:
    failed = state is TrialState.FAILED
    return TrialRecord(
        id=str(number),
        architecture=PLAIN,
        state=state,
        gflops=float(gflops),
        params=1,
        reason="it broke" if failed else None,
        accuracy=None if failed else accuracy / 10,
        epochs=epochs,
        seconds=1.5 * epochs,
        yardstick="plain" if yardstick else None,
        within_budget=within,
    )


@given(TRIALS, st.randoms(use_true_random=False))
def test_the_front_the_best_and_the_means_are_those_of_all_records(trials: list, order) -> None:  # type: ignore[no-untyped-def, type-arg]
    records = {str(n): record(n, *values) for n, values in enumerate(trials)}
    standing = Standing(limit=5.0)
    ended = list(records)
    order.shuffle(ended)  # trials end in another order than they start in
    for number, each in enumerate(ended, start=1):
        standing.finish(records[each])
        # what has not ended runs still
        seen = {
            key: value if key in ended[:number] else replace(value, state=TrialState.RUNNING, reason=None)
            for key, value in records.items()
        }
        now = list(seen.values())
        assert standing.front == len(pareto_front(now, 5.0))
        assert standing.best(seen) == best(now, 5.0)
        final = [value for value in now if value.state.final]
        assert standing.finished == len(final)
        assert standing.only_failures == all(value.state is TrialState.FAILED for value in final)
        scored = [value.seconds for value in final if value.epochs]
        assert standing.seconds == (pytest.approx(statistics.mean(scored)) if scored else None)
        complete = [value.seconds for value in final if value.state is TrialState.COMPLETE]
        assert standing.complete_seconds == (pytest.approx(statistics.mean(complete)) if complete else None)
