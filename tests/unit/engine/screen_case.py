"""A terminal in memory: what `progress` leaves on its screen."""

from __future__ import annotations

import io

import pyte
from rich.console import Console

__all__ = ["Screen"]


class Screen(io.StringIO):
    """A file that is a terminal of `columns` x `rows`, which keeps what scrolled out of sight."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self._stream = pyte.Stream(self._screen)
        self.looks: list[list[str]] = []
        """The screen after each write of more than control characters."""
        self.console = Console(file=self, force_terminal=True, width=columns, height=rows, color_system=None)

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))  # as a terminal's driver does
        self.looks.append(self.lines)
        return len(text)

    @property
    def lines(self) -> list[str]:
        """What can be seen, without empty lines at the end."""
        seen = [line.rstrip() for line in self._screen.display]
        while seen and not seen[-1]:
            seen.pop()
        return seen

    @property
    def scrolled(self) -> list[str]:
        """What scrolled out above."""
        columns = range(self._screen.columns)
        return ["".join(line[at].data for at in columns).rstrip() for line in self._screen.history.top]

    @property
    def cursor_hidden(self) -> bool:
        return bool(self._screen.cursor.hidden)

    def resize(self, columns: int, rows: int) -> None:
        """Another size, by a terminal that does not fold lines anew."""
        self._screen.resize(rows, columns)
        self.console.size = (columns, rows)  # type: ignore[assignment]
