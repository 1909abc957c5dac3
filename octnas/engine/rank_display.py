"""Live progress of a ranking on standard error: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from octnas.engine.display import moves
from octnas.engine.display_text import duration
from octnas.engine.ranking import RankEvent, RankListener

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["rank_progress", "rank_text"]


@contextlib.contextmanager
def rank_progress(console: Console | None = None) -> Iterator[RankListener]:
    """A listener for `rank` that shows how far it is, on standard error.

    Args:
        console: another place to write to.
    """
    from rich.console import Console

    shown = console or Console(stderr=True)
    if not (moves(shown) if console is None else shown.is_terminal):
        yield lambda event: _line(shown, event)
        return
    with _bar(shown) as listener:
        yield listener


def rank_text(event: RankEvent) -> str:
    """Time left and what is running, in one line."""
    parts = []
    if event.seconds_left is not None and event.finished < event.planned:
        parts.append(f"about {duration(event.seconds_left)} left")
    if event.running:
        parts.append(f"running {', '.join(event.running)}")
    return " · ".join(parts)


def _line(console: Console, event: RankEvent) -> None:
    if not event.text:
        return
    line = event.text
    if event.kind == "finished":
        line = f"[{event.finished}/{event.planned} {duration(event.seconds)}] {line}"
        left = rank_text(event)
        line = f"{line} | {left}" if left else line
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _bar(console: Console) -> Iterator[RankListener]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    def fixed() -> Column:
        return Column(no_wrap=True, min_width=7)  # else a long description leaves no room for it

    with Progress(
        BarColumn(bar_width=12, table_column=Column(min_width=12)),
        MofNCompleteColumn(table_column=fixed()),
        TimeElapsedColumn(table_column=fixed()),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
        console=console,
        expand=True,
    ) as shown:
        task = shown.add_task("starting", total=None)

        def listener(event: RankEvent) -> None:
            text = rank_text(event) or "starting"
            shown.update(task, total=event.planned, completed=event.finished, description=text)
            if event.text:
                shown.console.print(event.text, markup=False, highlight=False)

        yield listener
