"""Draws what a terminal showed of a search: `python docs/terminal.py NAME --finished 6 --to FILE.svg`.

From the journal of the run NAME, as it stood when so many of its trials were final. The picture needs no
network and no font of its own.
"""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from octnas.engine.display_text import trial_text
from octnas.engine.display_view import View
from octnas.engine.events import SearchEvent, seconds_left
from octnas.engine.jobs import trial_epochs
from octnas.engine.rungs import rung_levels
from octnas.engine.standing import Standing
from octnas.record import RunFolder, TrialRecord, TrialState, replay
from octnas.space import parse_space

__all__ = ["event_at", "picture"]

_COLUMNS, _ROWS = 80, 24


def event_at(name: str, finished: int) -> tuple[SearchEvent, list[TrialRecord]]:
    """Where the run stood when so many trials were final, and these in the order in which they ended."""
    run = RunFolder.open(name)
    final: dict[str, None] = {}
    times: list[float] = []

    def until() -> Iterator[dict[str, Any]]:
        for event in run.journal.events():
            if event["event"] == "trial" and TrialState(event["trial"]["state"]).final:
                if len(final) == finished:
                    return  # just before the next one ended
                final[event["trial"]["id"]] = None
            times.append(event.get("time", 0.0))
            yield event

    records = {record.id: record for record in replay(until())}
    space = parse_space(run.header.space_yaml)
    standing = Standing(limit=run.header.budget_gflops or space.max_gflops, header=run.header)
    for trial_id in final:
        standing.finish(records[trial_id])
    running = tuple(each for each in records.values() if each.state is TrialState.RUNNING)
    planned = run.header.trials + len(run.header.yardsticks)
    rungs, epochs = space.proxy.rungs, trial_epochs(run.header, space.proxy)
    event = SearchEvent(
        kind="score",
        name=name,
        planned=planned,
        finished=finished,
        running=running,
        confirming=(),
        front=standing.front,
        best=standing.best(records),
        epochs=epochs,
        rungs=rung_levels(min_epochs=rungs.min_epochs, eta=rungs.eta, max_epochs=epochs),
        so_far=standing.so_far(),
        seconds=times[-1] - times[0],
        seconds_left=seconds_left(
            standing.seconds,
            trials=planned - finished,
            running=running,
            workers=max(1, len(running)),
            bound=None,
        ),
    )
    return event, [records[trial_id] for trial_id in final]


def picture(name: str, finished: int) -> str:
    """A terminal of 80 x 24 as SVG: the last trials that ended, and the view below them."""
    event, final = event_at(name, finished)
    view = View().lines(event, 0.0, columns=_COLUMNS, rows=_ROWS)
    console = Console(
        record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    ended: list[Text] = []
    for record in reversed(final):
        lines = list(Text(trial_text(record)).wrap(console, _COLUMNS))
        if len(lines) + len(ended) + len(view) > _ROWS:
            break
        ended = [*lines, *ended]
    for line in (*ended, *view):
        console.print(line, highlight=False)
    drawn = console.export_svg(title=f"octnas search --name {name}", unique_id="octnas")
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="of a run under OCTNAS_HOME")
    parser.add_argument("--finished", type=int, default=6, help="trials that are final (default 6)")
    parser.add_argument("--to", type=Path, default=Path("docs/terminal.svg"), help="file to write")
    options = parser.parse_args()
    options.to.write_text(picture(options.name, options.finished), encoding="utf-8")


if __name__ == "__main__":
    main()
