"""The front in a terminal: every group has its mark, in every width, with and without colours."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from front_case import mixed, result, timed, trial, whole
from rich.console import Console
from shared_run_case import shared_run

from octnas.front import SearchResult
from octnas.front.terminal import FrontChart
from octnas.front.text import result_text
from octnas.record import TrialState

MARKS = "★●○∘▽◆■✕"


def _lines(found: SearchResult, width: int = 80, rows: int = 14, *, ascii_only: bool = False) -> list[str]:
    chart = FrontChart(result=found, rows=rows)
    return [line.plain for line in chart.lines(width, ascii_only=ascii_only)]


def _counts(lines: list[str], rows: int = 14) -> dict[str, int]:
    drawn = "".join(lines[1 : rows + 1])
    return {mark: drawn.count(mark) for mark in MARKS if mark in drawn}


def test_each_group_has_its_own_mark_and_a_key() -> None:
    lines = _lines(whole())
    # trial 5 is the best, 4 beside it on the front; 6 is dominated; 7 and 9 are stopped and running
    assert _counts(lines) == {"★": 1, "●": 1, "○": 1, "▽": 2, "◆": 2, "■": 1, "✕": 1}
    assert lines[0] == "accuracy, % against GFLOPs"
    assert " ".join(lines[17:]).split("  ") == [
        "★ best, trial 5", "● front", "○ dominated", "▽ 2 below this range",
        "◆ uniform alpha ■ plain", "✕ over budget", "┊ budget 2 GFLOPs",
    ]  # fmt: skip


def test_the_more_accurate_is_higher_and_the_dearer_is_to_the_right() -> None:
    lines = _lines(whole())
    at = {
        mark: (line.index(mark), row)
        for row, line in enumerate(lines[:15])
        for mark in "★●■✕"
        if mark in line
    }
    assert at["●"][0] < at["★"][0] < at["■"][0] < at["✕"][0]
    assert at["✕"][1] < at["★"][1] < at["■"][1] < at["●"][1]
    budget = {line.index("┊") for line in lines[:15] if "┊" in line}
    assert len(budget) == 1
    assert at["■"][0] < budget.pop() < at["✕"][0]


@pytest.mark.parametrize("width", [28, 40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal_or_ends_in_spaces(width: int) -> None:
    for found in (whole(), timed(), mixed()):
        for line in _lines(found, width):
            assert len(line) <= min(width, 100)
            assert line == line.rstrip()


def test_a_terminal_too_narrow_for_a_chart_has_none() -> None:
    assert _lines(whole(), 27) == []
    assert _lines(whole(), 28) != []


def test_ascii_takes_letters() -> None:
    text = "\n".join(_lines(whole(), ascii_only=True))
    assert text.isascii()
    assert "* best, trial 5  o front  . dominated  v 2 below this range  u uniform alpha" in text
    assert "p plain  x over budget  : budget 2 GFLOPs" in text


def test_two_trials() -> None:
    lines = _lines(result(trial("1", 1.2, 0.70), trial("2", 1.5, 0.74)))
    assert _counts(lines) == {"★": 1, "●": 1}
    assert lines[17:] == ["★ best, trial 2  ● front  ┊ budget 2 GFLOPs"]
    (corner,) = [line for line in lines if "┘" in line]  # where the step to the best begins
    assert corner.startswith("70 ┤   ●──")


def test_two_hundred_trials_leave_every_member_of_the_front_that_has_a_cell_of_its_own() -> None:
    front = [trial(str(n), 1 + n / 20, 0.70 + n / 100) for n in range(10)]
    others = [trial(str(n), 1 + (n % 90) / 100, 0.60 + (n % 7) / 100) for n in range(10, 200)]
    found = result(*front, *others)
    assert [each.id for each in found.front] == [str(n) for n in range(10)]
    counts = _counts(_lines(found, 100, rows=30), rows=30)
    assert counts["★"] == 1
    assert counts["●"] == 9
    assert counts["○"] > 50


def test_equal_costs_and_equal_trials_are_drawn() -> None:
    column = _lines(result(*(trial(str(n), 1.5, 0.6 + 0.02 * n) for n in range(5))))
    assert {line.index(mark) for line in column[:15] for mark in "★○" if mark in line} == {7}
    assert _counts(column) == {"★": 1, "○": 4}
    assert _counts(_lines(result(*(trial(str(n), 1.5, 0.6) for n in range(3))))) == {"★": 1}


def test_latency_is_the_axis_where_it_is_the_objective() -> None:
    lines = _lines(timed())
    assert lines[0] == "accuracy, % against ms"
    assert lines[-1].endswith("┊ budget 24 ms")
    assert lines[16].split() == ["10", "15", "20", "25"]


def test_a_budget_that_is_not_on_the_axis_has_no_line() -> None:
    lines = _lines(timed("gflops"))
    assert not any("┊" in line for line in lines)
    assert lines[-1].endswith("budget 24 ms, not on this axis")
    assert _lines(timed(gflops=2.0, ms=24.0))[-1].endswith("┊ budget 2 GFLOPs and 24 ms")


def test_a_search_without_a_complete_trial_shows_what_is_there() -> None:
    running = trial("1", 1.2, 0.30, state=TrialState.RUNNING)
    stopped = trial("2", 1.5, 0.34, state=TrialState.STOPPED)
    lines = _lines(result(running, stopped))
    assert _counts(lines) == {"∘": 2}
    assert lines[17:] == ["∘ stopped or under way  ┊ budget 2 GFLOPs"]
    assert _lines(result(trial("1", 1.2, None, state=TrialState.RUNNING))) == []
    assert _lines(result()) == []


def test_shared_scores_are_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    found = SearchResult.of(shared_run())
    lines = _lines(found)
    assert "· on shared weights" in " ".join(lines[17:])
    assert any("·" in line for line in lines[1:15])


def _printed(found: SearchResult, **console: object) -> str:
    text = io.StringIO()
    Console(file=text, width=80, **console).print(result_text(found), markup=False)  # type: ignore[arg-type]
    return text.getvalue()


def test_a_result_is_printed_with_its_chart_above_its_table() -> None:
    shown = _printed(whole())
    assert "\x1b" not in shown  # no terminal: plain text
    assert shown.index("accuracy, % against GFLOPs") < shown.index("★") < shown.index("Front of first")
    assert _printed(whole(), force_terminal=True).count("★") == 2  # the mark and its key
    assert "accuracy, %" not in _printed(result(trial("1", 1.2, None, state=TrialState.RUNNING)))


def test_no_color_leaves_marks_and_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    colour = re.compile(r"\x1b\[(?:[\d;]*;)?(?:3[0-8]|4[0-8]|9\d|10\d)[;m]")
    assert colour.search(_printed(whole(), force_terminal=True, color_system="standard"))
    monkeypatch.setenv("NO_COLOR", "1")
    shown = _printed(whole(), force_terminal=True, color_system="standard")
    assert not colour.search(shown)
    assert "\x1b[1m★" in shown
