"""What a terminal shows of a search that runs: a bar, its best, a chart of the front, the trials under way.

Text for a given size, made anew at each look; nothing here knows when it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from octnas.engine.display_text import accuracy_text, duration, progress_text, shared_text
from octnas.engine.events import SearchEvent
from octnas.front import SearchResult
from octnas.front.axis import cost_words
from octnas.front.terminal import FrontChart
from octnas.record import TrialRecord

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["LEAST_COLUMNS", "LEAST_ROWS", "View"]

LEAST_COLUMNS = 60
LEAST_ROWS = 16
"""Of a terminal that shows more than a bar."""

_FOR_LINES = 5
"""Rows that stay for what is written above the view."""

_BAR = 12
_CHART_ROWS = (5, 14)
_AROUND_CHART = 5
"""Rows of its title, its axis, and of what its marks mean, with one to spare."""


class View:
    """Makes the lines of a view; keeps the chart of the front until the front or the size changes."""

    def __init__(self) -> None:
        self._chart: list[Text] = []
        self._made_of: tuple[SearchResult | None, int, int, bool] | None = None
        self._below = 0
        """The most rows that were ever below the chart; kept free, so that its height does not change."""

    def lines(
        self, event: SearchEvent | None, since: float, *, columns: int, rows: int, ascii_only: bool = False
    ) -> list[Text]:
        """At most `rows` lines, each at most `columns` wide.

        Args:
            event: the last one; None before the first.
            since: seconds that have gone by since it.
        """
        from rich.text import Text

        if event is None:
            return [Text("starting", no_wrap=True)]
        if columns < LEAST_COLUMNS or rows < LEAST_ROWS:
            bar = _bar(event, since, ascii_only, progress_text(event) or "starting")
            return [_cut(bar, columns, ascii_only)]
        room = rows - _FOR_LINES
        above = [_bar(event, since, ascii_only, _left(event, since)), *_standing(event)]
        below = _running(event, most=max(1, room // 4))
        if event.confirming:
            below.append(Text(f"confirming with fresh seeds: {', '.join(event.confirming)}"))
        self._below = max(self._below, len(below))
        height = min(room - len(above) - self._below - _AROUND_CHART, _CHART_ROWS[1])
        chart = []
        if event.so_far is not None and height >= _CHART_ROWS[0]:
            chart = self._front(event.so_far, columns, height, ascii_only)
        above, below = ([_cut(line, columns, ascii_only) for line in lines] for lines in (above, below))
        return [*above, *chart, *below][:room]

    def _front(self, result: SearchResult, columns: int, height: int, ascii_only: bool) -> list[Text]:
        made_of = self._made_of
        # by identity: to compare two fronts trial by trial would cost what drawing one does
        if made_of is None or made_of[0] is not result or made_of[1:] != (columns, height, ascii_only):
            self._chart = FrontChart(result=result, rows=height).lines(columns, ascii_only=ascii_only)
            self._made_of = result, columns, height, ascii_only
        return self._chart


def _bar(event: SearchEvent, since: float, ascii_only: bool, words: str) -> Text:
    """A bar, what is done of what is planned, the time since the search began, and `words`."""
    from rich.text import Text

    share = event.finished / event.planned if event.planned else 0.0
    done = max(0, min(_BAR, round(_BAR * share)))
    full, empty = ("#", "-") if ascii_only else ("━", "─")
    minutes, seconds = divmod(int(event.seconds + since), 60)
    line = Text(no_wrap=True)
    line.append(full * done, "green").append(empty * (_BAR - done), "dim")
    line.append(f" {event.finished}/{event.planned}", "bold")
    line.append(f" {minutes // 60}:{minutes % 60:02d}:{seconds:02d}", "dim")
    return line.append(f" {words}") if words else line


def _left(event: SearchEvent, since: float) -> str:
    """The time left, counted down since the event."""
    if event.seconds_left is None or event.finished >= event.planned:
        return ""
    return f"about {duration(max(0.0, event.seconds_left - since))} left"


def _standing(event: SearchEvent) -> list[Text]:
    """The best so far and the front's size; before the trials, supernets and scores."""
    from rich.text import Text

    if shared := shared_text(event):
        return [Text(shared)]
    if event.best is None:
        return [Text("no candidate is complete within the budget yet", "dim")]
    best = event.best
    words = f"best {accuracy_text(best)} at {cost_words(best)} (trial {best.id})"
    return [Text(words, "bold").append(f" · front {event.front}", "not bold")]


def _running(event: SearchEvent, *, most: int) -> list[Text]:
    """A row for each trial under way, below what the columns are; the rest as a number."""
    from rich.text import Text

    if not event.running:
        return []
    shown: Sequence[TrialRecord] = event.running[:most]
    head = ("running", "backbone", "epoch", *(("rung",) if event.rungs else ()), "accuracy", "cost")
    table = [head, *(_row(record, event) for record in shown)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        Text("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
        for row in table
    ]
    lines[0].stylize("dim")
    if len(event.running) > len(shown):
        lines.append(Text(f"and {len(event.running) - len(shown)} more", "dim"))
    return lines


def _row(record: TrialRecord, event: SearchEvent) -> tuple[str, ...]:
    passed = sum(record.epochs >= level for level in event.rungs)
    rung = "-" if record.yardstick else f"{passed}/{len(event.rungs)}"
    return (
        f"{record.id} {record.yardstick}" if record.yardstick else record.id,
        record.architecture.backbone,
        f"{record.epochs}/{event.epochs}",
        *((rung,) if event.rungs else ()),
        accuracy_text(record),
        cost_words(record),
    )


def _cut(line: Text, columns: int, ascii_only: bool) -> Text:
    line.no_wrap = True
    if ascii_only:
        line.plain = line.plain.replace("·", "-")
    line.truncate(columns)
    return line
