"""A search's result in words and tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octnas.front.describe import (
    UNITS,
    is_uniform,
    mean_alphas,
    percent,
    points,
    trial_label,
    what_search,
)
from octnas.front.result import SearchResult
from octnas.record import TrialRecord, TrialState, run_path

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["front_table", "result_text", "runs_table", "state_counts", "verdict"]


def front_table(result: SearchResult) -> Table:
    """The front and the yardsticks, by GFLOPs ("over": over the budget); alphas are means over a stage."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"Front of {escape(result.name)}", title_justify="left", box=box.SIMPLE_HEAD)
    table.caption = UNITS
    table.caption_justify = "left"
    table.add_column("", no_wrap=True)
    table.add_column("trial", no_wrap=True)
    table.add_column("GFLOPs", justify="right", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("backbone", overflow="fold")
    table.add_column("mean alpha by stage", no_wrap=True)
    front = {record.id for record in result.front}
    for record in result.compared:
        on_front = record.id in front
        best = result.best is not None and record.id == result.best.id
        table.add_row(
            "best" if best else "front" if on_front else "" if record.within_budget else "over",
            escape(f"{record.id} {record.yardstick}" if record.yardstick else record.id),
            f"{record.gflops:.3f}",
            percent(record.accuracy) if record.accuracy is not None else str(record.state),
            record.architecture.backbone,
            mean_alphas(record),
            style="bold" if best else None if on_front else "dim",
        )
    return table


def state_counts(result: SearchResult) -> str:
    """How many trials are in which state, for instance "18 complete, 8 stopped"."""
    counts = {state: sum(record.state is state for record in result.trials) for state in TrialState}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no trials"


def verdict(result: SearchResult, noise_points: float | None = None) -> str:
    """Whether the search beats one alpha everywhere, in a few sentences.

    Candidates are compared with the most accurate uniform yardstick within the budget at its cost or below,
    and with the plain network with pooled downsampling.

    Args:
        result: the search.
        noise_points: standard deviation of accuracy from seed to seed, in percentage points; by default what
            the search recorded. The difference of two single seeds varies by sqrt(2) of it, so differences of
            less than twice that are called noise.
    """
    noise = result.noise_points if noise_points is None else noise_points
    done = [
        record for record in result.trials if record.state is TrialState.COMPLETE and record.within_budget
    ]
    candidates = [record for record in done if record.yardstick is None]
    if not candidates:
        return "No candidate is complete, so nothing can be said about the search yet."
    sentences = [_against_uniform(candidates, [record for record in done if is_uniform(record)], noise)]
    if result.best is None:
        sentences.append("Every member of the front is a yardstick.")
    top = max(candidates, key=lambda each: (each.accuracy or 0.0, -each.gflops))
    sentences += _against_plain(top, result.trials, noise)
    if noise is None:
        sentences.append(
            "Each accuracy is of one seed; the noise between seeds was not measured for this proxy."
        )
    else:
        sentences.append(
            f"Accuracy varies by {noise:.2f} points (standard deviation) from seed to seed, so single-seed "
            f"differences under {_threshold(noise):.2f} points are noise."
        )
    return " ".join(sentences)


def _against_uniform(
    candidates: Sequence[TrialRecord], uniform: Sequence[TrialRecord], noise: float | None
) -> str:
    if not uniform:
        return "No uniform yardstick is complete within the budget, so there is nothing to beat yet."
    bar = max(uniform, key=lambda each: (each.accuracy or 0.0, -each.gflops))
    where = f"{trial_label(bar)} ({percent(bar.accuracy)} at {bar.gflops:.3f} GFLOPs)"
    equal = [record for record in candidates if record.gflops <= bar.gflops]
    if not equal:
        return f"No complete candidate costs as little as the best uniform yardstick, {where}."
    top = max(equal, key=lambda each: (each.accuracy or 0.0, -each.gflops))
    gap = (top.accuracy or 0.0) - (bar.accuracy or 0.0)
    what = f"{trial_label(top)} ({percent(top.accuracy)} at {top.gflops:.3f} GFLOPs)"
    if noise is not None and abs(100 * gap) < _threshold(noise):
        side = "more" if gap >= 0 else "less"
        return (
            f"The search and the best uniform yardstick do not differ beyond seed noise at equal or lower "
            f"cost: {what} against {where}, {points(gap)} {side} with "
            f"{100 * top.gflops / bar.gflops:.0f} % of its multiply-adds."
        )
    if gap > 0:
        return (
            f"The search beats the best uniform yardstick at equal or lower cost: {what} against {where}, "
            f"{points(gap)} more."
        )
    if gap == 0 and top.gflops < bar.gflops:
        return f"The search equals the best uniform yardstick at lower cost: {what} against {where}."
    return (
        f"The search does not beat the best uniform yardstick at equal or lower cost: its best there is "
        f"{what} against {where}, {points(gap)} less."
    )


def _against_plain(top: TrialRecord, trials: Sequence[TrialRecord], noise: float | None) -> list[str]:
    plain = [each for each in trials if each.yardstick == "plain-pooled" and each.accuracy is not None]
    plain = [each for each in plain if each.state is TrialState.COMPLETE]
    if not plain:
        return []
    bar = max(plain, key=lambda each: each.gflops)
    gap = (top.accuracy or 0.0) - (bar.accuracy or 0.0)
    side = "above" if gap >= 0 else "below"
    over = "" if bar.within_budget else ", which is over the budget"
    share = 100 * top.gflops / bar.gflops
    return [
        f"The most accurate candidate, {trial_label(top)}, is {points(gap)} {side} the plain "
        f"pooled {bar.architecture.backbone} ({percent(bar.accuracy)} at {bar.gflops:.3f} GFLOPs{over}) "
        f"with {share:.0f} % of its multiply-adds{_noise_note(gap, noise)}."
    ]


def _noise_note(gap: float, noise: float | None) -> str:
    return " (within seed noise)" if noise is not None and abs(100 * gap) < _threshold(noise) else ""


def _threshold(noise: float) -> float:
    """Twice the standard deviation of the difference of two seeds."""
    return 2 * math.sqrt(2) * noise


def result_text(result: SearchResult) -> RenderableType:
    """What a search prints at its end: its figures, the front beside the yardsticks, and the verdict."""
    from rich.console import Group
    from rich.text import Text

    figures = f"{state_counts(result)}; hypervolume {result.hypervolume:.4f}"
    head = f"{result.name}: {what_search(result.header)}; {figures}"
    failed = [record for record in result.trials if record.state is TrialState.FAILED]
    reasons = [Text(f"{trial_label(record)} failed: {record.reason}", style="yellow") for record in failed]
    parts: list[RenderableType] = [Text(head), front_table(result), *reasons, Text(f"\n{verdict(result)}")]
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
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.caption = "budget: GFLOPs, 10^9 multiply-adds of the target network"
    table.caption_justify = "left"
    table.add_column("name", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("space", overflow="fold", min_width=8)
    table.add_column("budget", justify="right", no_wrap=True)
    table.add_column("created", overflow="fold", min_width=10)
    for run in runs:
        budget = "-" if run["budget_gflops"] is None else f"{run['budget_gflops']:g}"
        trials = f"{run['finished']}/{run['trials']}"
        created = run["created"][:16].replace("T", " ")
        table.add_row(escape(run["name"]), run["state"], trials, escape(run["space"]), budget, created)
    return table
