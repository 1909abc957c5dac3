"""Live progress of a search on standard error: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from octnas.engine.events import Listener, SearchEvent
from octnas.front.axis import cost_words
from octnas.record import SupernetRecord, TrialRecord

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

__all__ = ["confirmed_text", "progress", "progress_text", "supernet_line", "trial_text"]


class _Display(Protocol):
    def __enter__(self) -> _Display: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __call__(self, event: SearchEvent) -> None: ...


@contextlib.contextmanager
def progress(console: Console | None = None) -> Iterator[Listener]:
    """A listener for `search` and `resume` that shows how far they are, on standard error.

    Args:
        console: another place to write to.
    """
    from rich.console import Console

    console = console or Console(stderr=True)
    display: _Display = _Bar(console) if console.is_terminal else _Lines(console)
    with display:
        yield display


def progress_text(event: SearchEvent) -> str:
    """Time left, best so far under the budget, size of the front and what is running, in one line.

    The most wanted comes first: a narrow terminal cuts off the end.
    """
    parts = []
    if event.seconds_left is not None and event.finished < event.planned:
        parts.append(f"about {_duration(event.seconds_left)} left")
    if event.shared is not None:
        shared = event.shared
        trained = ", ".join(f"{name} {epochs}/{shared.epochs}" for name, epochs in shared.running)
        if trained:
            parts.append(f"supernets {trained}")
        if shared.scored or (shared.scoring and shared.to_score):
            parts.append(f"scored {shared.scored}/{shared.to_score}")
    if event.best is not None:
        best = event.best
        parts.append(f"best {_percent(best)} at {cost_words(best)} (trial {best.id})")
    if event.front:
        parts.append(f"front {event.front}")
    if event.running:
        running = ", ".join(f"{each.id}:{each.epochs}/{event.epochs}" for each in event.running)
        parts.append(f"running {running}")
    if event.confirming:
        parts.append(f"confirming with fresh seeds: {', '.join(event.confirming)}")
    return " · ".join(parts)


def trial_text(record: TrialRecord) -> str:
    """One line on a trial that ended."""
    label = f" {record.yardstick}" if record.yardstick else ""
    reason = f" ({record.reason})" if record.reason else ""
    accuracy = f", accuracy {_percent(record)}" if record.accuracy is not None else ""
    return (
        f"trial {record.id}{label} {record.architecture.backbone} {cost_words(record)}: "
        f"{record.state}{reason}{accuracy}, {_duration(record.seconds)}"
    )


def confirmed_text(record: TrialRecord) -> str:
    """One line on what a trial's architecture reached with the last of its fresh seeds."""
    label = f" {record.yardstick}" if record.yardstick else ""
    reached = f"accuracy {100 * record.accuracy_seeds[-1]:.2f} %"
    if record.test_accuracy_seeds:
        reached += f", {100 * record.test_accuracy_seeds[-1]:.2f} % on test data"
    seed = record.confirm_seeds[-1]
    return f"trial {record.id}{label} {record.architecture.backbone} again with seed {seed}: {reached}"


def supernet_line(record: SupernetRecord, epochs: int) -> str:
    """One line on a supernet that has a new score or has ended; `epochs` are of a whole training."""
    reason = f" ({record.reason})" if record.reason else ""
    ended = "" if record.state == "running" else f" {record.state}{reason},"
    plain = "" if record.accuracy is None else f", plain network {100 * record.accuracy:.2f} %"
    return (
        f"supernet {record.backbone}:{ended} epoch {record.epochs}/{epochs}{plain}, "
        f"{_duration(record.seconds)}"
    )


class _Bar:
    """A bar in a terminal; ended trials and notes are written above it."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        def fixed() -> Column:
            return Column(no_wrap=True, min_width=7)  # else a long description leaves no room for it

        self._progress: Progress = Progress(
            BarColumn(bar_width=12, table_column=Column(min_width=12)),
            MofNCompleteColumn(table_column=fixed()),
            TimeElapsedColumn(table_column=fixed()),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
            console=console,
            expand=True,
        )
        self._task: TaskID = self._progress.add_task("starting", total=None)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: SearchEvent) -> None:
        text = progress_text(event) or "starting"
        self._progress.update(self._task, total=event.planned, completed=event.finished, description=text)
        if event.kind == "finished" and event.trial is not None:
            self._progress.console.print(trial_text(event.trial), markup=False, highlight=False)
        elif event.kind == "confirmed" and event.trial is not None:
            self._progress.console.print(confirmed_text(event.trial), markup=False, highlight=False)
        elif event.supernet is not None and event.supernet.state != "running":
            line = supernet_line(event.supernet, event.epochs)
            self._progress.console.print(line, markup=False, highlight=False)
        elif event.kind in ("begin", "note", "end") and event.text:
            self._progress.console.print(event.text, markup=False, highlight=False)


class _Lines:
    """One line for each trial that ended, each epoch of a supernet, each tenth of what is scored, and what
    else is told."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tenths = 0

    def __enter__(self) -> _Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: SearchEvent) -> None:
        if event.kind == "finished" and event.trial is not None:
            line = f"[{event.finished}/{event.planned} {_duration(event.seconds)}] {trial_text(event.trial)}"
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
        left = "" if event.seconds_left is None else f" | about {_duration(event.seconds_left)} left"
        return f"[{_duration(event.seconds)}] {line}{left}"

    def _write(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _percent(record: TrialRecord) -> str:
    return "-" if record.accuracy is None else f"{100 * record.accuracy:.2f} %"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
