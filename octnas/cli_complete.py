"""What a shell offers for a value: runs, trials, spaces, backbones, data sets. Nothing here loads torch.

Each function gives all that there is, and typer keeps what begins as the word does. A shell that is offered
nothing offers files.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from octnas.errors import OctnasError

__all__ = ["DATA_SETS", "backbones", "data_sets", "one_of", "runs", "spaces", "trials"]

DATA_SETS = (
    "cifar10",
    "cifar100",
    "clips-appearance",
    "clips-motion",
    "fashion-mnist",
    "fashion-sample",
    "glyphs",
)
"""Those of `octnas.data`, which itself would take seconds to load."""

_TAIL_BYTES = 2**23
"""Of a journal's end that is searched for trials: a tenth of a second, however long the search was."""


def runs() -> list[str]:
    """Names of the runs under OCTNAS_HOME, the one that was written to last first."""
    from octnas.record.runs import run_names, run_path

    def written(name: str) -> float:
        return (run_path(name) / "journal.jsonl").stat().st_mtime

    times = {}
    with contextlib.suppress(OSError):
        for name in run_names():
            with contextlib.suppress(OSError):
                times[name] = written(name)
    return sorted(times, key=lambda name: -times[name])


def trials(ctx: typer.Context) -> list[tuple[str, str]]:
    """Ids of the trials of the run that the command line names, the most accurate first, with what they
    reached."""
    from octnas.record.runs import run_path

    # The option that is completed lacks its value yet, which ends the parsing before arguments have names.
    name = ctx.params.get("name") or next(iter(ctx.args), "")
    found: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(OSError, OctnasError):
        for line in _tail(run_path(str(name)) / "journal.jsonl"):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                event = json.loads(line)
                if event["event"] == "trial":
                    found[str(event["trial"]["id"])] = event["trial"]
    ordered = sorted(found.values(), key=lambda each: -(each.get("accuracy") or 0.0))
    return [(str(each["id"]), _words(each)) for each in ordered]


def spaces() -> list[str]:
    """Names of the catalog."""
    from octnas.space.catalog import catalog

    return list(catalog())


def backbones() -> list[str]:
    """Names of the backbones that come with octnas."""
    from octnas.backbones import names

    return list(names())


def data_sets() -> list[str]:
    """Names of the data sets that are no folders."""
    return list(DATA_SETS)


def one_of(*values: str) -> Callable[[], list[str]]:
    """Offers these values, of an option that takes others too."""
    return lambda: list(values)


def _words(trial: dict[str, Any]) -> str:
    reached = "" if trial.get("accuracy") is None else f", {100 * trial['accuracy']:.2f} %"
    label = f"{trial['yardstick']}, " if trial.get("yardstick") else ""
    return f"{label}{trial.get('state')}{reached}, {trial.get('gflops', 0.0):.3f} GFLOPs"


def _tail(path: Path) -> Iterator[bytes]:
    """The last whole lines of a file."""
    with path.open("rb") as file:
        start = max(0, file.seek(0, 2) - _TAIL_BYTES)
        file.seek(start)
        if start:
            file.readline()
        yield from file
