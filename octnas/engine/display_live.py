"""The view of a search in a terminal, redrawn in place by a thread of its own.

An event costs the search nothing but a note of it: lines wait for the next look, and so does the view. It is
drawn four times a second where something changed, and once a second for its clock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

from octnas.engine.display_text import ended_line
from octnas.engine.display_view import View
from octnas.engine.events import SearchEvent

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["LiveView"]

_LOOKS_A_SECOND = 4


class LiveView:
    """A listener; a context manager that takes the view away at its end, and leaves the lines above it.

    Args:
        console: a terminal.
    """

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._live = Live(self, console=console, auto_refresh=False, transient=True)
        self._view = View()
        self._lines: deque[str] = deque()
        self._last: tuple[SearchEvent | None, float] = (None, time.monotonic())
        self._drawn: tuple[object, ...] = ()
        self._widths: list[int] = []
        """Of the lines that are on the screen."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw_often, name="octnas-display", daemon=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        try:
            self._draw()
        finally:
            self._live.stop()

    def __call__(self, event: SearchEvent) -> None:
        line = ended_line(event)
        if line:
            self._lines.append(line)
        self._last = event, time.monotonic()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        event, at = self._last
        columns, rows = console.size
        lines = self._view.lines(
            event, time.monotonic() - at, columns=columns, rows=rows, ascii_only=options.ascii_only
        )
        self._widths = [line.cell_len for line in lines]
        yield from lines

    def _draw_often(self) -> None:
        while not self._over.wait(1 / _LOOKS_A_SECOND):
            self._draw()

    def _draw(self) -> None:
        """Writes the lines that wait above the view and draws it again, if anything is new."""
        event, at = self._last
        size = self._console.size
        drawn = (event, size, int(time.monotonic() - at))
        if drawn == self._drawn and not self._lines:
            return
        self._fold(size.width)
        self._drawn = drawn
        if not self._lines:
            self._live.refresh()
            return
        waiting = "\n".join(self._lines.popleft() for _ in range(len(self._lines)))
        self._console.print(waiting, markup=False, highlight=False)  # which draws the view again below

    def _fold(self, columns: int) -> None:
        """Where the terminal became narrower it has folded the view's lines: takes what that added away."""
        from rich.control import Control
        from rich.segment import ControlType

        added = sum(-(-width // columns) - 1 for width in self._widths if width)
        if added:
            up = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
            self._console.control(Control(*(up * added)))
