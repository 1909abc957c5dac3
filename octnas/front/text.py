"""A search's result in words and tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octnas.counted import counted
from octnas.front.axis import milliseconds
from octnas.front.describe import (
    SLOWER_NOTE,
    dims_label,
    mean_alphas,
    network_lines,
    percent,
    trial_label,
    units,
    what_search,
)
from octnas.front.result import SearchResult
from octnas.front.shared_text import SHARED_HEAD, shared_lines, warning_lines
from octnas.front.terminal import FrontChart
from octnas.front.verdict import SEEDS_HEAD, confirmed_lines, verdict
from octnas.record import TrialState, run_path

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["front_table", "result_text", "runs_table", "state_counts"]


_FEW_STAGES = 4
_NAME_LETTERS = 12
"""Of a backbone's name that never fold."""


def front_table(result: SearchResult) -> Table:
    """The front and the yardsticks, by cost ("over": over a budget); alphas are means over a stage.

    Where backbones of 2D and of 3D take part, a column tells them apart.

    Latencies stand beside the GFLOPs where they are known, with a star where they are above plain's; beside
    the accuracies what the architectures reached on shared weights, where the search has any.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    timed = result.timed
    slower = {record.id for record in result.compared if result.slower_than_plain(record)}
    table = Table(title=f"Front of {escape(result.name)}", title_justify="left", box=box.SIMPLE_HEAD)
    longest = max((len(each.architecture.backbone) for each in result.compared), default=0)
    # The stages of a MobileNet are more than a terminal of 80 holds beside all else.
    few = all(each.architecture.table().slots[-1].stage <= _FEW_STAGES for each in result.compared)
    shared = result.shared is not None
    if timed or result.mixed or shared or longest > _NAME_LETTERS or not few:
        table.padding = 0  # else seven columns fold in a terminal of 80
    table.caption = escape(f"{units(result.header)}{f'; * {SLOWER_NOTE}' if slower else ''}")
    table.caption_justify = "left"
    table.add_column("", no_wrap=True)
    table.add_column("trial", no_wrap=True)
    table.add_column("GFLOPs", justify="right", no_wrap=True)
    if timed:
        table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    if shared:
        table.add_column("shared", justify="right", no_wrap=True)
    table.add_column("backbone", overflow="fold", min_width=min(longest, _NAME_LETTERS))
    if result.mixed:
        table.add_column("dims", no_wrap=True)
    table.add_column("mean alpha by stage", no_wrap=few and not (timed and result.mixed))
    front = {record.id for record in result.front}
    for record in result.compared:
        on_front = record.id in front
        best = result.best is not None and record.id == result.best.id
        latency = "-" if record.latency_ms is None else milliseconds(record.latency_ms)
        star = "*" if record.id in slower else " " if slower else ""
        table.add_row(
            "best" if best else "front" if on_front else "" if record.within_budget else "over",
            escape(f"{record.id} {record.yardstick}" if record.yardstick else record.id),
            f"{record.gflops:.3f}",
            *([f"{latency}{star}"] if timed else []),
            percent(record.accuracy) if record.accuracy is not None else str(record.state),
            *([percent(record.shared_accuracy)] if shared else []),
            record.architecture.backbone,
            *([dims_label(record)] if result.mixed else []),
            mean_alphas(record),
            style="bold" if best else None if on_front else "dim",
        )
    return table


def state_counts(result: SearchResult) -> str:
    """How many trials are in which state, for instance "18 complete, 8 stopped"."""
    counts = {state: sum(record.state is state for record in result.trials) for state in TrialState}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no trials"


def result_text(result: SearchResult) -> RenderableType:
    """What a search prints at its end: its figures, the front beside the yardsticks, and the verdict."""
    from rich.console import Group
    from rich.text import Text

    figures = f"{state_counts(result)}; hypervolume {result.hypervolume:.4f}"
    head = f"{result.name}: {what_search(result.header)}; {figures}"
    failed = [record for record in result.trials if record.state is TrialState.FAILED]
    reasons = [Text(f"{trial_label(record)} failed: {record.reason}", style="yellow") for record in failed]
    lines = confirmed_lines(result)
    confirmed = [Text(line) for line in ([SEEDS_HEAD, *(f"  {each}" for each in lines), ""] if lines else [])]
    networks = [Text(line) for line in network_lines(result.header.options)]
    scored = any(record.accuracy is not None for record in result.trials) or result.shared is not None
    chart: list[RenderableType] = [Text(""), FrontChart(result=result), Text("")] if scored else []
    parts: list[RenderableType] = [Text(head), *networks, *chart, front_table(result), *confirmed, *reasons]
    parts.append(Text(f"\n{verdict(result)}" if reasons or not confirmed else verdict(result)))
    if lines := shared_lines(result):
        parts.append(Text("\n".join((f"\n{SHARED_HEAD}", *(f"  {each}" for each in lines)))))
    parts += [Text(f"\n{line}", style="yellow") for line in warning_lines(result)]
    picture = run_path(result.name) / "front.html"
    if picture.is_file():
        parts.append(Text(f"\nPicture: {_short(picture)}"))
    return Group(*parts)


def _short(path: Path) -> str:
    """The path from the working directory, where it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def runs_table(runs: Sequence[dict[str, Any]]) -> RenderableType:
    """The runs of `octnas list`, each as `RunSummary.to_dict` gives it."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    if not runs:
        return Text("no searches here yet: `octnas search --budget-gflops 2.0` makes one")
    timed = any(run.get("budget_ms") is not None for run in runs)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.caption = "budget: GFLOPs, 10^9 multiply-adds of the target network"
    if timed:
        table.caption += ", or ms of its predicted latency"
    table.caption_justify = "left"
    table.add_column("name", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("space", overflow="fold", min_width=8)
    table.add_column("budget", justify="right", no_wrap=True)
    table.add_column("created", overflow="fold", min_width=10)
    for run in runs:
        budget = _budgets(run["budget_gflops"], run.get("budget_ms"))
        trials = f"{run['finished']}/{run['trials']}"
        if run.get("kind") == "supernet":
            scored = f", {run['scored']} scored" if run["scored"] else ""
            trials = f"{counted(run['supernets'], 'supernet')}{scored}"
        created = run["created"][:16].replace("T", " ")
        table.add_row(escape(run["name"]), run["state"], trials, escape(run["space"]), budget, created)
    return table


def _budgets(gflops: float | None, ms: float | None) -> str:
    """ "2", "30 ms" or "2, 30 ms"."""
    given = ("" if gflops is None else f"{gflops:g}", "" if ms is None else f"{ms:g} ms")
    return ", ".join(filter(None, given)) or "-"
