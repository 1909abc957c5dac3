"""Cells: a chart of characters, with marks, staircases and axes, that any terminal or pipe takes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Cells", "Strokes", "ticks"]

_LETTERS = 12
"""Columns for each number below the chart."""

_ROWS = 3
"""Rows for each number beside it."""


@dataclass(frozen=True, slots=True)
class Strokes:
    """What a staircase is drawn with: along, up, and the corners where a step ends and where one begins."""

    along: str
    up: str
    end: str
    begin: str


class Cells:
    """A chart of `columns` x `rows` characters, without its axes.

    Args:
        xs: value in the middle of the first and of the last column.
        ys: value in the middle of the lowest and of the highest row.
    """

    def __init__(self, *, columns: int, rows: int, xs: tuple[float, float], ys: tuple[float, float]) -> None:
        self.columns = columns
        self.rows = rows
        self._xs = xs
        self._ys = ys
        self._cells: list[list[tuple[str, str]]] = [[(" ", "")] * columns for _ in range(rows)]

    def column(self, x: float) -> int:
        """The column of a value; one outside is in the first or the last."""
        return _cell(x, self._xs, self.columns)

    def row(self, y: float) -> int:
        """The row of a value, from above; one outside is in the first or the last."""
        return self.rows - 1 - _cell(y, self._ys, self.rows)

    def mark(self, x: float, y: float, glyph: str, style: str = "") -> None:
        """Puts one character, over what is there."""
        self._put(self.column(x), self.row(y), glyph, style)

    def upright(self, x: float, glyph: str, style: str = "") -> None:
        """A line at a value from below to above."""
        for row in range(self.rows):
            self._put(self.column(x), row, glyph, style)

    def stairs(self, xs: Sequence[float], ys: Sequence[float], strokes: Strokes, style: str = "") -> None:
        """A line through corners that goes to the right and up only; the cell of the first stays as it is."""
        corners = [(self.column(x), self.row(y)) for x, y in zip(xs, ys, strict=True)]
        for (left, row), (right, above) in itertools.pairwise(corners):
            if above == row:
                for column in range(left + 1, right + 1):
                    self._put(column, row, strokes.along, style)
                continue
            for between in range(above + 1, row):
                self._put(right, between, strokes.up, style)
            self._put(right, row, strokes.end, style)
            self._put(right, above, strokes.begin, style)

    def lines(self, *, ascii_only: bool = False, scale: float = 1.0) -> list[Text]:
        """The chart with its axes, from above; no line ends in spaces.

        Args:
            ascii_only: draw the axes without box characters.
            scale: numbers beside the chart are so many times the values.
        """
        from rich.text import Text

        beside, below = self._beside(scale), self._below()
        margin = max(map(len, beside.values()), default=0)
        side, tick, corner, along, under = "|++-+" if ascii_only else "│┤└─┴"
        drawn = []
        for row, cells in enumerate(self._cells):
            line = Text(f"{beside.get(row, ''):>{margin}} ", style="dim", no_wrap=True)
            line.append(tick if row in beside else side)
            for style, run in itertools.groupby(cells, key=lambda cell: cell[1]):
                # "not dim": else what has no style of its own would be as faint as the axis
                line.append(
                    "".join(glyph for glyph, _ in run), style if style == "dim" else f"not dim {style}"
                )
            line.rstrip()
            drawn.append(line)
        axis = "".join(under if column in below else along for column in range(self.columns))
        drawn.append(Text(f"{'':>{margin}} {corner}{axis}", style="dim", no_wrap=True))
        numbers = [" "] * (margin + 2 + self.columns)
        for column, text in below.items():
            start = min(margin + 2 + column - len(text) // 2, len(numbers) - len(text))
            numbers[start : start + len(text)] = text
        drawn.append(Text("".join(numbers).rstrip(), style="dim", no_wrap=True))
        return drawn

    def _put(self, column: int, row: int, glyph: str, style: str) -> None:
        self._cells[row][column] = glyph, style

    def _beside(self, scale: float) -> dict[int, str]:
        """Numbers by row."""
        low, high = (scale * each for each in self._ys)
        values = ticks(low, high, max(2, self.rows // _ROWS))
        return {self.row(value / scale): text for value, text in values}

    def _below(self) -> dict[int, str]:
        """Numbers by column."""
        values = ticks(*self._xs, max(2, self.columns // _LETTERS))
        return {self.column(value): text for value, text in values}


def ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """At most `most` round numbers from `low` to `high` at equal steps, with their texts of equal decimals.

    Where not two of them fit, the two ends.
    """
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    factors = (1, 2, 5, 10, 20)
    for factor in factors:
        first, last = math.ceil(low / (factor * step) - 1e-9), math.floor(high / (factor * step) + 1e-9)
        if last - first < most:
            step *= factor
            break
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    values = [number * step for number in range(first, last + 1)] if last > first else [low, high]
    return [(value, f"{value:.{decimals}f}") for value in values]


def _cell(value: float, ends: tuple[float, float], count: int) -> int:
    share = (value - ends[0]) / (ends[1] - ends[0])
    return max(0, min(count - 1, round(share * (count - 1))))
