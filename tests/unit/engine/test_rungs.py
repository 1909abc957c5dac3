"""Rungs against a naive reference written here, and the promises of early stopping."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octnas.architecture import Architecture
from octnas.engine.rungs import Point, Rungs, best_first, crowding, pareto_ranks, rung_levels
from octnas.record import EpochScore, TrialRecord, TrialState

GRID = st.integers(0, 6).map(float)
POINTS = st.lists(st.tuples(GRID, GRID), min_size=1, max_size=25)


def naive_ranks(points: list[Point]) -> list[int]:
    """The length of the longest chain of points, each dominating the next, that ends at a point."""

    def dominates(a: Point, b: Point) -> bool:
        no_worse = a[0] >= b[0] and a[1] <= b[1]
        return no_worse and (a[0] > b[0] or a[1] < b[1])

    def rank(point: Point) -> int:
        return max((1 + rank(other) for other in set(points) if dominates(other, point)), default=0)

    return [rank(point) for point in points]


@given(POINTS)
def test_ranks_equal_the_longest_dominating_chain(points: list[Point]) -> None:
    assert pareto_ranks(points) == naive_ranks(points)


def test_crowding_is_the_normalised_side_sum_of_the_cuboid() -> None:
    # one front: score and cost rise together; sides over (10 - 0) and (20 - 0)
    points = [(0.0, 0.0), (2.0, 10.0), (7.0, 12.0), (10.0, 20.0)]
    assert crowding(points) == [math.inf, 7 / 10 + 12 / 20, 8 / 10 + 10 / 20, math.inf]


def test_best_first_puts_rank_before_crowding_and_the_uncrowded_before_the_crowded() -> None:
    points = [(0.0, 0.0), (0.1, 0.1), (1.0, 1.0), (0.5, 0.7), (0.4, 0.9)]
    # (0.4, 0.9) is dominated by (0.5, 0.7); (0.1, 0.1) is closer to its neighbours than (0.5, 0.7)
    assert best_first(points) == [0, 2, 3, 1, 4]


@given(POINTS, st.integers(2, 4))
def test_a_trial_goes_on_exactly_when_it_is_in_the_best_share(points: list[Point], eta: int) -> None:
    rungs = Rungs([1], eta=eta)
    for n, point in enumerate(points, start=1):
        expected = n - 1 in best_first(points[:n])[: max(1, n // eta)]
        assert rungs.decide(str(n), 1, point) is expected


def test_the_first_arrival_goes_on_and_a_dominated_second_stops() -> None:
    rungs = Rungs([1, 3], eta=3)
    assert rungs.decide("a", 1, (0.6, 1.0))
    assert not rungs.decide("b", 1, (0.5, 1.0))
    assert rungs.decide("a", 3, (0.7, 1.0))


@pytest.mark.parametrize(
    ("min_epochs", "eta", "max_epochs", "levels"),
    [(1, 3, 9, (1, 3)), (1, 3, 10, (1, 3, 9)), (2, 2, 8, (2, 4)), (1, 3, 1, ()), (3, 3, 3, ())],
)
def test_rungs_lie_below_the_whole_training(
    min_epochs: int, eta: int, max_epochs: int, levels: tuple[int, ...]
) -> None:
    assert rung_levels(min_epochs=min_epochs, eta=eta, max_epochs=max_epochs) == levels


def test_nan_is_refused_before_it_can_spoil_the_ranking() -> None:
    rungs = Rungs([1], eta=2)
    with pytest.raises(ValueError, match="must be finite"):
        rungs.decide("a", 1, (math.nan, 1.0))
    assert rungs.scores(1) == {}


def _record(trial_id: str, accuracies: list[float], state: TrialState, **more: object) -> TrialRecord:
    scores = tuple(
        EpochScore(
            epoch=epoch,
            accuracy=accuracy,
            loss=1 - accuracy,
            train_loss=1.0,
            seconds=1.0,
            train_seconds=1.0,
            images_per_second=1.0,
        )
        for epoch, accuracy in enumerate(accuracies, start=1)
    )
    architecture = Architecture.uniform("resnet18", alpha=0)
    values = {
        "accuracy": accuracies[-1] if state is not TrialState.FAILED else None,
        "loss": None,
        "reason": "x" if state is TrialState.FAILED else None,
        "epochs": len(scores),
        "gflops": 1.0,
        **more,
    }
    return TrialRecord(id=trial_id, architecture=architecture, state=state, params=1, scores=scores, **values)  # type: ignore[arg-type]


def test_a_replay_decides_as_the_rungs_that_never_died() -> None:
    rng = random.Random(3)
    for _ in range(30):
        live, records = Rungs([1, 3], eta=3), []
        for number in range(rng.randint(2, 15)):
            cost = rng.random()
            scores = [rng.random() for _ in range(3)]
            reached = 1
            if live.decide(str(number), 1, (scores[0], cost)):
                reached = 3
                live.decide(str(number), 3, (scores[2], cost))
            state = TrialState.STOPPED if reached == 1 else TrialState.RUNNING
            records.append(_record(str(number), scores[:reached], state, gflops=cost))
        again = Rungs([1, 3], eta=3)
        again.replay(records)
        assert all(again.scores(level) == live.scores(level) for level in (1, 3))
        newcomer = (rng.random(), rng.random())
        assert again.decide("new", 1, newcomer) == live.decide("new", 1, newcomer)
        passed = [record.id for record in records if record.epochs > 1]
        assert all(again.decide(trial_id, 1, (0.0, 9.0)) for trial_id in passed)


def test_yardsticks_over_budget_are_not_compared_with() -> None:
    rungs = Rungs([1], eta=2)
    rungs.replay([_record("1", [0.9], TrialState.RUNNING, within_budget=False, yardstick="plain")])
    assert rungs.scores(1) == {}


def test_yardsticks_are_ranked_but_take_nobodys_place() -> None:
    # Each yardstick dominates the candidates; counted in, they would leave room for none but the first.
    rungs = Rungs([1], eta=3)
    for number in range(4):
        rungs.enter(f"y{number}", 1, (0.9, 0.1 + number / 10))
    goes_on = [rungs.decide(str(number), 1, (0.1 * number, 1.0)) for number in range(6)]
    assert goes_on == [True] * 6  # each is the best candidate so far
    assert not rungs.decide("worse", 1, (0.05, 2.0))
    # Replayed, a yardstick is one still.
    again = Rungs([1], eta=3)
    again.replay([_record("y", [0.9], TrialState.COMPLETE, yardstick="plain", gflops=0.1)])
    again.replay([_record(str(n), [0.5], TrialState.STOPPED, gflops=1.0) for n in range(4)])
    assert again.decide("new", 1, (0.6, 1.0))
    assert not again.decide("worst", 1, (0.4, 1.0))
