"""The front of a search in a terminal: accuracy against cost, drawn with characters.

The groups of trials are told apart by their marks, with or without colours. Where the output takes ASCII
only, letters stand for the marks; where it is no terminal, rich writes the same text without any escape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from octnas.front.axis import budget_note, budget_words
from octnas.front.cells import Cells, Strokes
from octnas.front.layers import Layers, sort_layers, staircase
from octnas.front.result import SearchResult

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

__all__ = ["LEAST_COLUMNS", "FrontChart"]

LEAST_COLUMNS = 28
"""Of a terminal that a chart is drawn in."""

_MOST_COLUMNS = 100
_MARGIN = 8
"""Columns that the axis and its numbers take at most."""


class _Glyph(NamedTuple):
    """How a group of trials or a line is drawn; `plain` where the output takes ASCII only."""

    drawn: str
    plain: str
    style: str


# Weights and the colours that both dark and light terminals show well; no two groups share a mark.
_BEST = _Glyph("★", "*", "bold green")
_FRONT = _Glyph("●", "o", "bold")
_DOMINATED = _Glyph("○", ".", "dim")
_EARLY = _Glyph("∘", ",", "dim")
_BELOW = _Glyph("▽", "v", "dim")
_UNIFORM = _Glyph("◆", "u", "magenta")
_PLAIN = _Glyph("■", "p", "blue")
_OVER = _Glyph("✕", "x", "red")
_SCORED = _Glyph("·", "'", "dim")
_BUDGET = _Glyph("┊", ":", "dim")
_FRONT_LINE = (Strokes("─", "│", "┘", "┌"), Strokes("-", "|", "+", "+"))
_UNIFORM_LINE = (Strokes("╌", "╎", "╌", "╌"), Strokes("~", "~", "~", "~"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontChart:
    """A rich renderable: the chart, as wide as the terminal up to 100 columns, and what its marks mean.

    Nothing where no trial has an accuracy, or where there are fewer than `LEAST_COLUMNS` columns.
    """

    result: SearchResult
    rows: int = 14
    """Of the chart itself, without its axis, its title and the meaning of the marks."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.lines(options.max_width, ascii_only=options.ascii_only)

    def lines(self, width: int, *, ascii_only: bool = False) -> list[Text]:
        """What is drawn, from above, each at most `width` columns wide."""
        from rich.text import Text

        layers = sort_layers(self.result)
        if width < LEAST_COLUMNS or not (layers.shown or layers.cloud):
            return []
        columns = min(width, _MOST_COLUMNS) - _MARGIN
        cells = Cells(
            columns=columns,
            rows=self.rows,
            xs=(layers.left, layers.right),
            ys=(layers.low, layers.high),
        )
        _draw(cells, self.result, layers, ascii_only=ascii_only)
        title = Text(f"accuracy, % against {layers.axis.unit}", style="dim", no_wrap=True)
        drawn = [title, *cells.lines(ascii_only=ascii_only, scale=100)]
        return [*drawn, *_keys(self.result, layers, min(width, _MOST_COLUMNS), ascii_only=ascii_only)]


def _draw(cells: Cells, result: SearchResult, layers: Layers, *, ascii_only: bool) -> None:
    """Lines first, then trials, the most wanted last: they cover others in the same cell."""

    def glyph(of: _Glyph) -> str:
        return of.plain if ascii_only else of.drawn

    if layers.cloud is not None:
        for cost, score in zip(layers.cloud.costs, layers.cloud.scores, strict=True):
            cells.mark(cost, score.accuracy, glyph(_SCORED), _SCORED.style)
    if result.budget is not None:
        cells.upright(result.budget, glyph(_BUDGET), _BUDGET.style)
    for line, strokes, style in (
        (layers.uniform_line, _UNIFORM_LINE, "dim"),
        (layers.front_line, _FRONT_LINE, ""),
    ):
        corners = staircase(line, result.limit, layers.axis)
        cells.stairs(*corners, strokes[ascii_only], style)
    best = () if result.best is None else (result.best,)
    for records, mark in (
        (layers.below, _BELOW),
        (layers.inside, _EARLY),
        (layers.dominated, _DOMINATED),
        (layers.over, _OVER),
        (layers.uniform, _UNIFORM),
        (layers.plain, _PLAIN),
        (layers.front, _FRONT),
        (best, _BEST),
    ):
        for record in records:
            cells.mark(*layers.place(record), glyph(mark), mark.style)


def _keys(result: SearchResult, layers: Layers, width: int, *, ascii_only: bool) -> list[Text]:
    """What the marks mean, in as many lines as it takes."""
    from rich.text import Text

    words = f"budget {budget_words(result.header)}"
    if result.budget is None:
        words = " ".join(budget_note(result.header).split())
    best = () if result.best is None else (result.best,)
    more = [record for record in layers.front if record not in best]
    keys = [
        (best, _BEST, "best" if result.best is None else f"best, trial {result.best.id}"),
        (more, _FRONT, "front"),
        (layers.dominated, _DOMINATED, "dominated"),
        (layers.inside, _EARLY, layers.early_name),
        (layers.below, _BELOW, f"{len(layers.below)} below this range"),
        (layers.uniform, _UNIFORM, "uniform alpha"),
        (layers.plain, _PLAIN, "plain"),
        (layers.over, _OVER, "over budget"),
        (() if layers.cloud is None else layers.cloud.scores, _SCORED, "on shared weights"),
        (words, _BUDGET, words),
    ]
    lines = [Text(no_wrap=True)]
    for there, glyph, meaning in keys:
        if not there:
            continue
        mark = (
            "" if glyph is _BUDGET and result.budget is None else glyph.plain if ascii_only else glyph.drawn
        )
        if lines[-1] and lines[-1].cell_len + 4 + len(meaning) > width:
            lines.append(Text(no_wrap=True))
        if lines[-1]:
            lines[-1].append("  ")
        if mark:
            lines[-1].append(mark, glyph.style).append(" ")
        lines[-1].append(meaning, "dim")
    for line in lines:
        line.truncate(width)
    return lines
