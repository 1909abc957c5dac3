"""A search's result in a notebook: its verdict, its picture, and its front beside the yardsticks.

The picture is the PNG of the search's report. It has a ground of its own, so it is read on dark pages too;
all else takes the page's colours.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from octnas.counted import counted
from octnas.front.axis import milliseconds
from octnas.front.describe import (
    SLOWER_NOTE,
    dims_label,
    mean_alphas,
    percent,
    trial_label,
    units,
    what_search,
)
from octnas.front.png import png_bytes
from octnas.front.result import SearchResult
from octnas.front.shared_text import warning_lines
from octnas.front.text import state_counts
from octnas.front.verdict import verdict_sentences
from octnas.record import TrialRecord, TrialState

__all__ = ["inline_html", "one_line"]

_WIDTH_PX = 825
"""Of the picture, half of what it is drawn at."""

_CELL = "padding: .15em .6em; border: 0; border-bottom: 1px solid; border-color: rgba(128, 128, 128, .4)"
_RIGHT, _LEFT = f"{_CELL}; text-align: right", f"{_CELL}; text-align: left"


def one_line(result: SearchResult) -> str:
    """What `print` and a debugger show: name, trials, front and hypervolume."""
    count = len(result.trials)
    trials = f"{counted(count, 'trial')} ({state_counts(result)})" if count else "no trials"
    best = ""
    if result.best is not None:
        best = f", best {percent(result.best.accuracy)} at {result.axis.figures(result.best)}"
    return (
        f"<SearchResult {result.name!r}: {trials}, {len(result.front)} on the front{best}, "
        f"hypervolume {result.hypervolume:.4f}>"
    )


def inline_html(result: SearchResult) -> str:
    """A piece of HTML that needs no network and no script, and no style of the page around it.

    Every name in it is escaped. While no trial is complete it says so in place of picture and table.
    """
    under_way = [each for each in result.trials if each.state in (TrialState.RUNNING, TrialState.PAUSED)]
    head = (
        f"<strong>{escape(result.name)}</strong>: {escape(what_search(result.header))}; "
        f"{state_counts(result)}; hypervolume {result.hypervolume:.4f}"
    )
    if under_way:
        head += f". Not over: it still runs, or <code>octnas resume {escape(result.name)}</code> goes on"
    parts = [f"<p>{head}.</p>", f"<p>{escape(verdict_sentences(result)[0])}</p>"]
    if any(each.state is TrialState.COMPLETE for each in result.trials):
        parts += [_picture(result), _table(result), f"<p><small>{escape(_caption(result))}</small></p>"]
    parts += [f"<p>{escape(line)}</p>" for line in warning_lines(result)]
    return f"<div>{''.join(parts)}</div>"


def _picture(result: SearchResult) -> str:
    source = base64.b64encode(png_bytes(result)).decode("ascii")
    return (
        f'<img src="data:image/png;base64,{source}" alt="{escape(_alternative(result))}" '
        f'style="width: {_WIDTH_PX}px; max-width: 100%; height: auto">'
    )


def _alternative(result: SearchResult) -> str:
    """The picture in words, for who cannot see it."""
    members = "; ".join(
        f"{trial_label(each)}, {percent(each.accuracy)} at {result.axis.figures(each)}"
        for each in result.front
    )
    front = f"on the front, by {result.axis.quantity}: {members}" if members else "no front yet"
    return f"{result.axis.subject} of {counted(len(result.trials), 'trial')}; {front}."


def _table(result: SearchResult) -> str:
    """The columns of `octnas.front.text.front_table`."""
    shared = result.shared is not None
    heads = [
        ("", _LEFT),
        ("trial", _LEFT),
        ("GFLOPs", _RIGHT),
        *([("ms", _RIGHT)] if result.timed else []),
        ("accuracy", _RIGHT),
        *([("shared", _RIGHT)] if shared else []),
        ("backbone", _LEFT),
        *([("dims", _LEFT)] if result.mixed else []),
        ("mean alpha by stage", _LEFT),
    ]
    styles = [style for _, style in heads]
    rows = [_row([text for text, _ in heads], styles, tag="th")]
    front = {record.id for record in result.front}
    for record in result.compared:
        cells = [
            _mark(result, record, front),
            f"{record.id} {record.yardstick}" if record.yardstick else record.id,
            f"{record.gflops:.3f}",
            *([_latency(result, record)] if result.timed else []),
            percent(record.accuracy) if record.accuracy is not None else str(record.state),
            *([percent(record.shared_accuracy)] if shared else []),
            record.architecture.backbone,
            *([dims_label(record)] if result.mixed else []),
            mean_alphas(record),
        ]
        rows.append(_row(cells, styles, tag="td"))
    return f'<table style="border-collapse: collapse; margin: .8em 0"><tbody>{"".join(rows)}</tbody></table>'


def _row(cells: Sequence[str], styles: Sequence[str], *, tag: str) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    filled = (
        f'<{tag}{scope} style="{style}">{escape(cell)}</{tag}>'
        for cell, style in zip(cells, styles, strict=True)
    )
    return f"<tr>{''.join(filled)}</tr>"


def _mark(result: SearchResult, record: TrialRecord, front: set[str]) -> str:
    if result.best is not None and record.id == result.best.id:
        return "best"
    if record.id in front:
        return "front"
    return "" if record.within_budget else "over"


def _latency(result: SearchResult, record: TrialRecord) -> str:
    if record.latency_ms is None:
        return "-"
    return milliseconds(record.latency_ms) + ("*" if result.slower_than_plain(record) else "")


def _caption(result: SearchResult) -> str:
    slower = any(result.slower_than_plain(record) for record in result.compared)
    return f"{units(result.header)}{f'; * {SLOWER_NOTE}' if slower else ''}"
