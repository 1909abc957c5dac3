"""The page's table: a row for every trial, in the document from the start, with a button that opens it."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from octnas.front.axis import milliseconds
from octnas.front.describe import SLOWER, dims_label, mean_alphas, percent
from octnas.front.page.document import drawn_trials
from octnas.front.result import SearchResult
from octnas.record import TrialRecord, TrialState

__all__ = ["trials_table"]


class _Column(NamedTuple):
    key: str
    name: str
    em: float
    """Width: rows are laid out one by one, so a column cannot be as wide as its widest cell."""


_MANY = 300
"""Rows from which on the page lays out only the groups in sight."""

_GROUP = 100
"""Rows of such a group. Of thousands of single rows the browser would ask at each frame which are seen."""

_COLUMNS = (
    _Column("id", "trial", 6),
    _Column("search", "search", 12),
    _Column("what", "what", 14),
    _Column("gflops", "GFLOPs", 6),
    _Column("latency", "ms", 6),
    _Column("accuracy", "accuracy", 6.5),
    _Column("full", "in full", 6.5),
    _Column("shared", "on shared weights", 9.5),
    _Column("backbone", "backbone", 12),
    _Column("state", "state", 20),
    _Column("epochs", "epochs", 5),
    _Column("alphas", "mean alpha by stage", 13),
)


def trials_table(results: Sequence[SearchResult]) -> str:
    """The table of all searches of the page, by search in the order in which their trials started.

    The button of a trial has its id as `data-trial`, and where there are several searches its search's name
    as `data-search`.
    """
    left_out = {
        "search": len(results) < 2,
        "latency": not any(each.timed for each in results),
        "full": not any(_in_full(each) for each in results),
        "shared": not any(each.shared for each in results),
    }
    columns = [each for each in _COLUMNS if not left_out.get(each.key, False)]
    head = "".join(
        f'<th scope="col"><button type="button" class="sort" data-sort="{each.key}">{each.name}</button>'
        for each in columns
    )
    keys = [each.key for each in columns]
    widths = " ".join(
        f"{each.em}em" if each is not columns[-1] else f"minmax({each.em}em,1fr)" for each in columns
    )
    rows = [row for result in results for row in _rows(result, keys, several=len(results) > 1)]
    many = ' class="many"' if len(rows) > _MANY else ""
    size = _GROUP if many else max(1, len(rows))
    groups = [rows[begin : begin + size] for begin in range(0, len(rows), size)] or [[]]
    body = "\n".join(
        f'<tbody style="--rows:{len(group)}">\n' + "\n".join(group) + "\n</tbody>" for group in groups
    )
    opening = f'<table id="trials"{many} style="--columns:{widths}">'
    return f"{opening}<thead><tr>{head}</thead>\n{body}</table>"


def _rows(result: SearchResult, keys: Sequence[str], *, several: bool) -> Iterator[str]:
    front = {each.id for each in result.front}
    # "target" comes after "full", and is the one to be shown
    full = {each.trial_id: each.accuracy for each in result.trainings if each.scale != "proxy"}
    best = None if result.best is None else result.best.id
    owner = f' data-search="{html.escape(result.name)}"' if several else ""
    for record in drawn_trials(result):
        name = html.escape(record.id)
        cells = {
            "search": result.name,
            "what": _what(record, result, record.id in front, record.id == best),
            "gflops": f"{record.gflops:.3f}",
            "latency": "" if record.latency_ms is None else milliseconds(record.latency_ms),
            "accuracy": percent(record.accuracy),
            "full": percent(full[record.id]) if record.id in full else "",
            "shared": "" if record.shared_accuracy is None else percent(record.shared_accuracy),
            "backbone": record.architecture.backbone + (f" ({dims_label(record)})" if result.mixed else ""),
            "state": f"{record.state}: {record.reason}" if record.reason else str(record.state),
            "epochs": str(record.epochs),
            "alphas": mean_alphas(record),
        }
        line = "".join(f"<td>{html.escape(cells[key])}" for key in keys if key != "id")
        mark = ' class="front"' if record.id in front else ""
        button = f'<button type="button" data-trial="{name}"{owner}>{name}</button>'
        yield f'<tr{mark}><th scope="row">{button}{line}'


def _in_full(result: SearchResult) -> bool:
    return any(each.scale != "proxy" for each in result.trainings)


def _what(record: TrialRecord, result: SearchResult, on_front: bool, best: bool) -> str:
    words = [record.yardstick or ""]
    if best:
        words.append("best")
    elif on_front:
        words.append("front")
    elif not record.within_budget:
        words.append("over budget")
    elif record.state is TrialState.COMPLETE and record.yardstick is None:
        words.append("dominated")
    if result.slower_than_plain(record):
        words.append(SLOWER)
    return ", ".join(filter(None, words))
