"""The front that grows by one point at a time is the front of all points, ties included."""

from __future__ import annotations

from front_case import trial
from hypothesis import given
from hypothesis import strategies as st

from octnas.front import pareto_front
from octnas.front.staircase import Staircase

GRID = st.integers(0, 6).map(float)
POINTS = st.lists(st.tuples(GRID, GRID), max_size=40)


@given(POINTS)
def test_it_is_the_front_of_all_points_at_every_step(points: list[tuple[float, float]]) -> None:
    staircase, records, members = Staircase(), [], set[str]()
    for number, (cost, accuracy) in enumerate(points):
        name = str(number)
        records.append(trial(name, 1 + cost, accuracy / 10, budget=99.0))
        removed = staircase.add(name, 1 + cost, accuracy / 10)
        if removed is not None:
            assert set(removed) <= members
            members = (members - set(removed)) | {name}
        front = [each.id for each in pareto_front(records, 99.0)]
        assert list(staircase) == front
        assert members == set(front)
        assert len(staircase) == len(front)
    steps = [each for step in staircase.steps() for each in step]
    assert sorted(steps) == sorted(staircase)


def test_equal_points_stay_and_leave_together() -> None:
    staircase = Staircase()
    assert staircase.add("a", 1.0, 0.5) == []
    assert staircase.add("b", 1.0, 0.5) == []
    assert staircase.add("dearer", 2.0, 0.5) is None
    assert staircase.add("worse", 1.0, 0.4) is None
    assert staircase.add("c", 0.5, 0.5) == ["a", "b"]
    assert list(staircase) == ["c"]
