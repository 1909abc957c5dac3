"""The chart of characters: where a value goes, what its axes say, how a staircase is drawn."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octnas.front.cells import Cells, Strokes, ticks

STROKES = Strokes("-", "|", "J", "r")


def _cells() -> Cells:
    cells = Cells(columns=11, rows=5, xs=(0.0, 10.0), ys=(0.0, 4.0))
    cells.upright(8.0, ":")
    cells.stairs([1.0, 5.0, 5.0, 10.0], [1.0, 1.0, 3.0, 3.0], STROKES)
    cells.mark(5.0, 3.0, "o")
    cells.mark(2.0, 4.0, "x")
    return cells


def test_a_chart_is_what_a_hand_would_draw() -> None:
    assert [line.plain for line in _cells().lines(ascii_only=True)] == [
        "4 +  x     :",
        "  |     o-----",
        "  |     |  :",
        "  |  ---J  :",
        "0 +        :",
        "  ++---------+",
        "   0        10",
    ]


def test_numbers_beside_it_may_be_of_another_unit() -> None:
    lines = [line.plain for line in _cells().lines(scale=100)]
    assert lines[0] == "400 ┤  x     :"
    assert lines[4] == "  0 ┤        :"
    assert lines[5] == "    └┴─────────┴"


def test_what_lies_outside_is_at_the_edge() -> None:
    cells = Cells(columns=7, rows=3, xs=(1.0, 2.0), ys=(0.5, 0.7))
    assert (cells.column(0.2), cells.column(1.5), cells.column(9.0)) == (0, 3, 6)
    assert (cells.row(0.9), cells.row(0.6), cells.row(0.1)) == (0, 1, 2)


def test_a_step_within_one_row_or_one_column_breaks_no_line() -> None:
    cells = Cells(columns=6, rows=3, xs=(0.0, 5.0), ys=(0.0, 2.0))
    cells.stairs([0, 2, 2, 2.1, 2.1, 5], [0, 0, 0.1, 0.1, 2, 2], STROKES)
    assert [line.plain[3:] for line in cells.lines(ascii_only=True)[:3]] == ["  r---", "  |", " -J"]


@pytest.mark.parametrize(
    ("low", "high", "most", "texts"),
    [
        (59.0, 61.0, 4, ["59", "60", "61"]),
        (0.95, 2.25, 6, ["1.0", "1.5", "2.0"]),
        (5.0, 120.0, 4, ["50", "100"]),
        (0.013, 0.0172, 4, ["0.014", "0.016"]),
        (71.23, 71.24, 4, ["71.230", "71.235", "71.240"]),
        (0.97, 1.02, 1, ["0.97", "1.02"]),  # no two round numbers: the ends
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, most: int, texts: list[str]) -> None:
    assert [text for _, text in ticks(low, high, most)] == texts


@given(
    st.floats(-1e6, 1e6, allow_subnormal=False),  # some libraries make the process flush these to zero
    st.floats(1e-6, 1e6),
    st.integers(2, 12),
)
def test_ticks_lie_inside_at_equal_steps_and_read_as_their_values(low: float, span: float, most: int) -> None:
    high = low + span
    if (high - low) / max(abs(low), abs(high)) < 1e-6:
        return  # closer than any chart's ends
    found = ticks(low, high, most)
    assert 2 <= len(found) <= max(2, most)
    assert all(low - 1e-6 * span <= value <= high + 1e-6 * span for value, _ in found)
    steps = [after - before for (before, _), (after, _) in itertools.pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-4)
    if len(found) > 2:
        assert [float(text) for _, text in found] == pytest.approx([value for value, _ in found], abs=1e-9)
    assert len({text for _, text in found}) == len(found)
