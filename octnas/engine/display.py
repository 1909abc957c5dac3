"""Live progress of a search on standard error: a view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from octnas.engine.display_text import confirmed_text, duration, progress_text, supernet_line, trial_text
from octnas.engine.events import Listener, SearchEvent

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["moves", "progress"]


@contextlib.contextmanager
def progress(console: Console | None = None) -> Iterator[Listener]:
    """A listener for `search` and `resume` that shows how far they are, on standard error.

    In a notebook it writes plain lines below the cell, on standard output.

    Args:
        console: another place to write to.
    """
    from rich.console import Console

    # A notebook paints standard error as a fault, and a display of its own for each line would never end.
    shown = console or Console(stderr=not Console().is_jupyter, force_jupyter=False)
    if not (moves(shown) if console is None else shown.is_terminal and not shown.is_dumb_terminal):
        yield _Lines(shown)
        return
    from octnas.engine.display_live import LiveView

    with LiveView(shown) as view:
        yield view


def moves(console: Console) -> bool:
    """Whether what is on standard error can be drawn over.

    `FORCE_COLOR` is about colours and makes no terminal of a file. The logs of continuous integration keep
    every line, whatever they are written to.
    """
    moves = console.is_terminal and console.is_interactive and not console.is_dumb_terminal
    return moves and sys.stderr.isatty() and not os.environ.get("CI")


class _Lines:
    """One line for each trial that ended, each epoch of a supernet, each tenth of what is scored, and what
    else is told."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tenths = 0

    def __call__(self, event: SearchEvent) -> None:
        if event.kind == "finished" and event.trial is not None:
            line = f"[{event.finished}/{event.planned} {duration(event.seconds)}] {trial_text(event.trial)}"
            left = progress_text(event)
            self._write(f"{line} | {left}" if left else line)
        elif event.kind == "confirmed" and event.trial is not None:
            self._write(confirmed_text(event.trial))
        elif event.supernet is not None:
            self._write(self._with_time(supernet_line(event.supernet, event.epochs), event))
        elif event.kind == "scored" and event.shared is not None:
            tenths = 10 * event.shared.scored // event.shared.to_score
            if tenths > self._tenths:
                self._tenths = tenths
                scored = f"{event.shared.scored}/{event.shared.to_score} architectures scored"
                self._write(self._with_time(scored, event))
        elif event.kind in ("begin", "note", "end") and event.text:
            self._write(event.text)

    def _with_time(self, line: str, event: SearchEvent) -> str:
        left = "" if event.seconds_left is None else f" | about {duration(event.seconds_left)} left"
        return f"[{duration(event.seconds)}] {line}{left}"

    def _write(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
