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
from octnas.record import SearchHeader, TrialRecord, TrialState

FINAL = st.sampled_from([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.STOPPED, TrialState.FAILED])
TRIALS = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, 6), FINAL, st.booleans(), st.integers(0, 4), st.booleans()),
    max_size=30,
)
HEADER = SearchHeader(name="x", space_yaml="", budget_gflops=5.0, trials=9, seed=0, data="glyphs")
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
    standing = Standing(limit=5.0, header=HEADER)
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
        so_far = standing.so_far()
        assert so_far is not None
        assert so_far.front == pareto_front(now, 5.0)
        assert so_far.best == best(now, 5.0)
        complete = [value for value in now if value.state is TrialState.COMPLETE]
        shown = {value.id for value in so_far.front} | {value.id for value in complete if value.yardstick}
        assert {value.id for value in so_far.records} == shown
        final = [value for value in now if value.state.final]
        assert standing.finished == len(final)
        assert standing.only_failures == all(value.state is TrialState.FAILED for value in final)
        scored = [value.seconds for value in final if value.epochs]
        assert standing.seconds == (pytest.approx(statistics.mean(scored)) if scored else None)
        complete = [value.seconds for value in final if value.state is TrialState.COMPLETE]
        assert standing.complete_seconds == (pytest.approx(statistics.mean(complete)) if complete else None)


def test_the_front_so_far_is_the_same_object_until_it_changes() -> None:
    standing = Standing(limit=5.0, header=HEADER)
    standing.finish(record(1, 3, 4, TrialState.COMPLETE, False, 1, True))
    before = standing.so_far()
    standing.finish(record(2, 4, 3, TrialState.COMPLETE, False, 1, True))  # dominated
    standing.finish(record(3, 1, 1, TrialState.STOPPED, False, 1, True))
    assert standing.so_far() is before
    standing.finish(record(4, 2, 4, TrialState.COMPLETE, False, 1, True))  # takes the place of the first
    after = standing.so_far()
    assert after is not None
    assert [each.id for each in after.records] == ["4"]
    standing.finish(record(5, 6, 6, TrialState.COMPLETE, True, 1, False))  # a yardstick over the budget
    assert [each.id for each in (standing.so_far() or after).records] == ["4", "5"]
    assert Standing(limit=5.0).so_far() is None


def test_states_are_counted_as_trials_go_from_one_to_the_next() -> None:
    standing = Standing(limit=5.0)
    assert standing.states == dict.fromkeys(TrialState, 0)
    begun = replace(record(1, 1, 1, TrialState.COMPLETE, False, 1, True), state=TrialState.RUNNING)
    other = replace(begun, id="2")
    standing.move(None, begun)
    standing.move(None, other)
    assert standing.states[TrialState.RUNNING] == 2
    standing.move(begun, replace(begun, epochs=2))  # it goes on
    paused = begun.with_state(TrialState.PAUSED)
    standing.move(begun, paused)
    standing.move(paused, paused.with_state(TrialState.STOPPED, "outside"))
    assert {state: count for state, count in standing.states.items() if count} == {
        TrialState.RUNNING: 1,
        TrialState.STOPPED: 1,
    }
