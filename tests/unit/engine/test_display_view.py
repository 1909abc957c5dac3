"""What the view of a search holds, in each size of a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace

import pytest

from octnas.architecture import Architecture
from octnas.engine.display_view import LEAST_COLUMNS, LEAST_ROWS, View
from octnas.engine.events import SearchEvent
from octnas.engine.shared_progress import SharedProgress
from octnas.engine.standing import Standing
from octnas.record import SearchHeader, TrialRecord, TrialState

PLAIN = Architecture.uniform("resnet18", alpha=0)
HEADER = SearchHeader(
    name="first", space="tiny", space_yaml="", budget_gflops=2.0, trials=30, seed=0, data="glyphs"
)


def trial(number: int, gflops: float, accuracy: float | None, **changes: object) -> TrialRecord:
    return TrialRecord(
        **{
            "id": str(number),
            "architecture": PLAIN,
            "state": TrialState.COMPLETE,
            "gflops": gflops,
            "params": 1,
            "accuracy": accuracy,
            "epochs": 9,
            "within_budget": gflops <= 2.0,
            **changes,
        }  # type: ignore[arg-type]
    )


FINAL = (
    trial(1, 1.9, 0.82, yardstick="uniform-0.25"),
    trial(2, 4.0, 0.86, yardstick="plain"),
    trial(3, 1.2, 0.70),
    trial(4, 1.589, 0.832),
    trial(5, 1.7, 0.75),
)
RUNNING = (
    trial(6, 1.734, 0.71, state=TrialState.RUNNING, epochs=4),
    trial(7, 1.8, None, state=TrialState.RUNNING, epochs=0),
    trial(8, 1.5, 0.6, state=TrialState.RUNNING, epochs=5, yardstick="uniform-0.5"),
)


def event(
    final: Iterable[TrialRecord] = FINAL, running: tuple[TrialRecord, ...] = RUNNING, **changes: object
) -> SearchEvent:
    standing = Standing(limit=2.0, header=HEADER)
    records = {each.id: each for each in (*final, *running)}
    for each in final:
        standing.finish(each)
    return replace(
        SearchEvent(
            kind="score",
            name="first",
            planned=30,
            finished=standing.finished,
            running=running,
            confirming=(),
            front=standing.front,
            best=standing.best(records),
            epochs=9,
            rungs=(1, 3),
            so_far=standing.so_far(),
            seconds=312.0,
            seconds_left=370.0,
        ),
        **changes,
    )


def shown(seen: SearchEvent | None, columns: int = 80, rows: int = 24, since: float = 0.0) -> list[str]:
    return [line.plain for line in View().lines(seen, since, columns=columns, rows=rows)]


def test_a_terminal_of_80_x_24_has_all_of_it() -> None:
    lines = shown(event())
    assert lines[:3] == [
        "━━────────── 5/30 0:05:12 about 6 min 10 s left",
        "best 83.20 % at 1.589 GFLOPs (trial 4) · front 2",
        "accuracy, % against GFLOPs",
    ]
    assert lines[-4:] == [
        "running        backbone  epoch  rung  accuracy  cost",
        "6              resnet18  4/9    2/2   71.00 %   1.734 GFLOPs",
        "7              resnet18  0/9    0/2   -         1.800 GFLOPs",
        "8 uniform-0.5  resnet18  5/9    -     60.00 %   1.500 GFLOPs",
    ]
    chart = "\n".join(lines[3:-4])
    assert "★ best, trial 4  ● front  ◆ uniform alpha  ✕ over budget  ┊ budget 2 GFLOPs" in chart
    assert [chart.count(mark) - 1 for mark in "★●◆✕"] == [1, 1, 1, 1]  # each has its key too
    assert len(lines) <= 24 - 5
    assert all(len(line) <= 80 for line in lines)


def test_the_clock_goes_on_between_events() -> None:
    assert shown(event(), since=61.5)[0] == "━━────────── 5/30 0:06:13 about 5 min 08 s left"
    assert shown(event(), since=4000.0)[0].endswith("1:11:52 about 0 s left")


@pytest.mark.parametrize(("columns", "rows"), [(LEAST_COLUMNS - 1, 50), (200, LEAST_ROWS - 1), (20, 5)])
def test_a_small_terminal_has_a_bar_in_one_line(columns: int, rows: int) -> None:
    (line,) = shown(event(), columns, rows)
    whole = (
        "━━────────── 5/30 0:05:12 about 6 min 10 s left · best 83.20 % at 1.589 GFLOPs (trial 4) · front 2"
        " · running 6:4/9, 7:0/9, 8:5/9"
    )
    assert line.removesuffix("…") == whole[: len(line.removesuffix("…"))]
    assert len(line) <= columns


@pytest.mark.parametrize("columns", [60, 80, 120, 300])
@pytest.mark.parametrize("rows", [16, 20, 24, 40, 100])
def test_it_never_fills_the_terminal_whatever_runs(columns: int, rows: int) -> None:
    many = tuple(replace(RUNNING[0], id=str(number)) for number in range(10, 1010))
    confirming = tuple(f"4.seed{1000 + number}" for number in range(50))
    for seen in (event(), event(running=many), event(running=many, confirming=confirming), event((), ())):
        lines = shown(seen, columns, rows)
        assert len(lines) <= rows - 5
        assert all(len(line) <= columns for line in lines)
        assert lines[0][0] in "━─"


def test_of_a_thousand_that_run_a_few_are_named() -> None:
    many = tuple(replace(RUNNING[0], id=str(number)) for number in range(10, 1010))
    lines = shown(event(running=many))
    named = [line for line in lines if line.endswith("1.734 GFLOPs")]
    assert lines[-1] == f"and {1000 - len(named)} more"
    assert len(named) == 4


def test_the_chart_keeps_its_height_when_less_runs() -> None:
    view = View()

    def height(seen: SearchEvent) -> int:
        lines = [line.plain for line in view.lines(seen, 0, columns=80, rows=24)]
        return next(n for n, line in enumerate(lines) if "└" in line)

    before = height(event())
    assert height(event(running=RUNNING[:1])) == before
    assert height(event(running=())) == before


def test_a_chart_is_drawn_anew_only_when_the_front_or_the_size_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view, drawn = View(), []
    module = sys.modules[View.__module__]
    monkeypatch.setattr(
        module, "FrontChart", lambda *, result, rows: drawn.append(rows) or _Chart()
    )  # the list tells how often
    seen = event()
    for _ in range(3):
        view.lines(seen, 0, columns=80, rows=24)
    view.lines(replace(seen, finished=6), 1, columns=80, rows=24)
    assert len(drawn) == 1
    view.lines(seen, 0, columns=90, rows=24)
    assert len(drawn) == 2
    view.lines(event(FINAL[:4]), 0, columns=90, rows=24)
    assert len(drawn) == 3


class _Chart:
    def lines(self, width: int, *, ascii_only: bool) -> list[object]:
        return []


def test_before_the_trials_supernets_and_scores_are_shown() -> None:
    training = SharedProgress(running=(("resnet18", 5), ("resnet26", 3)), epochs=18, to_train=36, trained=8)
    before = event((), (), so_far=None, rungs=(), planned=36, finished=8, shared=training)
    assert shown(before)[1:] == ["supernets resnet18 5/18, resnet26 3/18"]
    scoring = SharedProgress(epochs=18, to_train=36, trained=36, scored=20, to_score=60)
    assert shown(replace(before, shared=scoring))[1:] == ["scored 20/60"]
    assert shown(None) == ["starting"]


def test_without_rungs_there_is_no_column_for_them() -> None:
    assert shown(event(rungs=()))[-4].split() == ["running", "backbone", "epoch", "accuracy", "cost"]


def test_what_confirms_is_named() -> None:
    lines = shown(event(running=(), confirming=("4.seed1000", "1.seed1000")))
    assert lines[-1] == "confirming with fresh seeds: 4.seed1000, 1.seed1000"


def test_ascii_where_nothing_else_can_be_written() -> None:
    lines = View().lines(event(), 0, columns=80, rows=24, ascii_only=True)
    drawn = [line.plain for line in lines]
    assert drawn[0].startswith("##---------- 5/30")
    assert "".join(drawn).isascii()
