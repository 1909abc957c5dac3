"""The front as a tracking store shows it: a description, two tables and two pictures."""

from __future__ import annotations

import csv
import io

from octnas.front.describe import UNITS, percent, what_search
from octnas.front.picture import html_page
from octnas.front.png import png_bytes
from octnas.front.result import SearchResult
from octnas.front.text import state_counts, verdict
from octnas.record import FrontReport

__all__ = ["front_report"]

_COLUMNS = (
    "id",
    "yardstick",
    "state",
    "backbone",
    "downsample",
    "gflops",
    "params",
    "accuracy",
    "loss",
    "epochs",
    "seconds",
    "within_budget",
    "alphas",
    "reason",
)


def front_report(result: SearchResult) -> FrontReport:
    """Description, front.csv, trials.csv, front.html and front.png of a search as it stands."""
    front = {record.id for record in result.front}
    return FrontReport(
        note=_note(result),
        hypervolume=result.hypervolume,
        front_size=len(front),
        finished=sum(record.state.final for record in result.trials),
        files={
            "front.csv": _table(result, front),
            "trials.csv": _table(result, {record.id for record in result.trials}),
            "front.html": html_page(result),
            "front.png": png_bytes(result),
        },
    )


def _note(result: SearchResult) -> str:
    if result.best is None:
        found = f"No candidate is on the front yet ({state_counts(result)})."
    else:
        best = result.best
        found = (
            f"**Best: trial {best.id}**, {best.architecture.backbone}, {percent(best.accuracy)} at "
            f"{best.gflops:.3f} GFLOPs ({what_search(result.header)}; {state_counts(result)})."
        )
    return f"{found} {verdict(result)}\n\n{UNITS}. The picture is `front.html` under Artifacts."


def _table(result: SearchResult, ids: set[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for record in sorted(result.trials, key=lambda each: (each.gflops, each.id)):
        if record.id in ids:
            row = {
                **record.summary(),
                "alphas": " ".join(f"{each:.3g}" for each in record.architecture.alphas),
            }
            writer.writerow(["" if row[column] is None else row[column] for column in _COLUMNS])
    return text.getvalue()
