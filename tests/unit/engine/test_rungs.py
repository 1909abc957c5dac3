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
def test_the_best_go_on_while_there_are_places_and_never_more_than_n_over_eta(
    points: list[Point], eta: int
) -> None:
    rungs, paused, promoted = Rungs([1], eta=eta), set[str](), set[str]()
    for n, point in enumerate(points, start=1):
        best = {str(i + 1) for i in best_first(points[:n])[: n // eta]}
        places = n // eta - len(promoted)
        at_once = rungs.decide(str(n), 1, point)
        assert at_once is (places > 0 and str(n) in best)
        (promoted if at_once else paused).add(str(n))
        while (later := rungs.promote(paused)) is not None:
            assert later in best & paused
            paused.remove(later)
            promoted.add(later)
        assert len(promoted) <= n // eta
        assert len(promoted) == n // eta or best <= promoted
    assert rungs.promoted(1) == promoted


def test_a_paused_trial_is_promoted_when_a_later_arrival_makes_room() -> None:
    rungs = Rungs([1, 3], eta=2)
    assert not rungs.decide("a", 1, (0.6, 1.0))
    assert rungs.promote({"a"}) is None
    assert not rungs.decide("b", 1, (0.5, 1.0))
    assert rungs.promote({"a", "b"}) == "a"
    assert rungs.promote({"b"}) is None
    assert rungs.decide("a", 1, (0.6, 1.0))  # reported again after its worker died
    assert not rungs.decide("a", 3, (0.7, 1.0))


def test_the_highest_rung_is_served_first() -> None:
    rungs = Rungs([1, 2], eta=2)
    scores = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 0.5, "f": 0.05}
    at_once = {trial_id for trial_id, score in scores.items() if rungs.decide(trial_id, 1, (score, 1.0))}
    assert at_once == {"b", "d"}
    assert not rungs.decide("d", 2, (0.4, 1.0))
    assert not rungs.decide("b", 2, (0.2, 1.0))
    paused = set(scores)
    assert [rungs.promote(paused) for _ in range(3)] == ["d", "e", None]


def test_when_nobody_will_come_any_more_the_best_of_too_few_goes_on() -> None:
    rungs = Rungs([1, 2], eta=3)
    assert not rungs.decide("a", 1, (0.6, 1.0))
    assert not rungs.decide("b", 1, (0.7, 1.0))
    assert rungs.promote({"a", "b"}) is None
    assert rungs.promote({"a", "b"}, at_least=1) == "b"
    assert rungs.promote({"a"}, at_least=1) is None
    assert rungs.promote({"a"}, at_least=2) == "a"


def test_where_the_front_goes_on_whoever_none_dominates_does() -> None:
    rng = random.Random(4)
    rungs = Rungs([1], eta=2, front_goes_on=True)
    points: dict[str, tuple[float, float]] = {}
    for number in range(40):
        trial_id = str(number)
        points[trial_id] = rng.random(), rng.random()
        if number % 7 == 3:
            rungs.enter(trial_id, 1, points[trial_id])
            continue
        at_once = rungs.decide(trial_id, 1, points[trial_id])
        score, cost = points[trial_id]
        others = [point for each, point in points.items() if each != trial_id]
        dominated = any(other[0] >= score and other[1] <= cost for other in others)
        assert at_once or dominated
        while rungs.promote(points.keys() - rungs.promoted(1)) is not None:
            pass
    candidates = sum(number % 7 != 3 for number in range(40))
    assert len(rungs.promoted(1)) >= candidates // 2
    assert "3" not in rungs.promoted(1)
    # Whoever is dominated has to be among the best half, as everywhere.
    strict = Rungs([1], eta=2, front_goes_on=True)
    assert strict.decide("a", 1, (0.9, 1.0))
    assert strict.decide("b", 1, (0.95, 2.0))
    assert not strict.decide("c", 1, (0.5, 3.0))
    assert strict.decide("d", 1, (0.4, 0.5))
    assert not strict.decide("e", 1, (0.3, 0.6))


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
        live, history, paused = Rungs([1, 3], eta=2), [], dict[str, tuple[list[float], float, int]]()
        for number in range(rng.randint(2, 15)):
            trial_id, cost, scores = str(number), rng.random(), [rng.random() for _ in range(3)]
            paused[trial_id] = (scores, cost, 0)
            going = trial_id
            while going:
                scores, cost, reached = paused.pop(going)
                reached = 1 if reached == 0 else 3
                up = live.decide(going, reached, (scores[reached - 1], cost))
                state = TrialState.RUNNING if up else TrialState.PAUSED
                history.append(_record(going, scores[:reached], state, gflops=cost))
                paused[going] = (scores, cost, reached)
                going = going if up and reached == 1 else ""
            if (promoted := live.promote([i for i in paused if paused[i][2] == 1])) is not None:
                scores, cost, _ = paused[promoted]
                history.append(_record(promoted, scores[:1], TrialState.RUNNING, gflops=cost))
        again = Rungs([1, 3], eta=2)
        again.replay(history)
        for level in (1, 3):
            assert again.scores(level) == live.scores(level)
            assert list(again.scores(level)) == list(live.scores(level))
            assert again.promoted(level) == live.promoted(level)
        newcomer = (rng.random(), rng.random())
        assert again.decide("new", 1, newcomer) == live.decide("new", 1, newcomer)


def test_yardsticks_over_budget_are_not_compared_with() -> None:
    rungs = Rungs([1], eta=2)
    rungs.replay([_record("1", [0.9], TrialState.RUNNING, within_budget=False, yardstick="plain")])
    assert rungs.scores(1) == {}


def test_yardsticks_are_ranked_but_take_nobodys_place() -> None:
    # Each yardstick dominates the candidates; counted in, they would leave no place for any candidate.
    def with_yardsticks() -> Rungs:
        rungs = Rungs([1], eta=2)
        for number in range(4):
            rungs.enter(f"y{number}", 1, (0.9, 0.1 + number / 10))
        return rungs

    rungs = with_yardsticks()
    assert [rungs.decide(str(n), 1, (0.1 * n, 1.0)) for n in range(6)] == [False, True] * 3
    assert rungs.promoted(1) == {"1", "3", "5"}
    # Replayed, a yardstick is one still.
    again = Rungs([1], eta=2)
    again.replay(_record(f"y{n}", [0.9], TrialState.COMPLETE, yardstick="plain") for n in range(4))
    assert again.promoted(1) == set()
    assert not again.decide("a", 1, (0.5, 1.0))
    assert again.decide("b", 1, (0.6, 1.0))
