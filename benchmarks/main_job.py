"""Speed and memory of the main job, as a Markdown table: the command is run as a user would.

    python benchmarks/main_job.py --out main-job.md
    python benchmarks/main_job.py --budget-gflops 0.03 --work job --space small-2d --trials 8

Options that are not this script's own are `octnas search`'s and go to it. The clock runs from the start of
the command to its end, when the front is printed and in MLflow. Memory is summed twice a second over all
processes of the search (see `process_tree.py`); the workers' share of time in training steps is the search's
own figure, from its journal. The start-up times are measured afterwards, when the files are in the page
cache.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import gpus, memory_gib, processor, versions
from process_tree import MemoryPeak
from user_command import COMMAND, answer_of, environment

from octnas import __version__
from octnas.machine import usable_cores
from octnas.record import EpochScore, TrialRecord, TrialState
from octnas.record.journal import Journal

STARTS = 5
"""Runs of each start-up time; the median counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """One search, as measured from outside, and what it wrote."""

    command: str
    seconds: float
    memory: MemoryPeak
    document: dict[str, Any]
    """What `search --json` printed."""
    records: tuple[TrialRecord, ...]
    end: dict[str, Any]
    """The journal's last event, with the workers' statistics."""


def main() -> None:
    """Runs the job, measures, prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget-gflops", type=float, default=2.0, help="10^9 multiply-adds of the target")
    parser.add_argument("--work", type=Path, help="folder to run in, kept; default: a temporary one")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given, options = parser.parse_known_args()
    if given.work is None:
        with tempfile.TemporaryDirectory(prefix="octnas-main-job-") as folder:
            text = measure(given.budget_gflops, options, Path(folder))
    else:
        given.work.mkdir(parents=True, exist_ok=True)
        text = measure(given.budget_gflops, options, given.work.resolve())
    print(text)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text + "\n", encoding="utf-8")


def measure(budget: float, options: Sequence[str], work: Path) -> str:
    """Runs everything in the folder `work`; the tables."""
    job = run_job(budget, options, work)
    starts = {
        "octnas --help": start_up(["--help"], work),
        "octnas cost resnet50 --alpha 0.5": start_up(["cost", "resnet50", "--alpha", "0.5"], work),
        "octnas search --budget-gflops 0.01 (refused)": start_up(
            ["search", "--budget-gflops", "0.01"], work, expected=2
        ),
    }
    return "\n\n".join([heading(job), figures(job, starts), trainings(job), front(job)])


def run_job(budget: float, options: Sequence[str], work: Path) -> JobReport:
    """The search, with its progress on this script's standard error."""
    arguments = ["search", "--budget-gflops", f"{budget:g}", *options, "--json"]
    answer = answer_of(arguments, work)
    document = answer.document
    journal = Journal(work / "octnas-runs" / document["name"] / "journal.jsonl")
    return JobReport(
        command=f"octnas {' '.join(arguments)}",
        seconds=answer.seconds,
        memory=answer.memory,
        document=document,
        records=tuple(journal.records()),
        end=next(event for event in reversed(journal.read()) if event["event"] == "end"),
    )


def start_up(arguments: Sequence[str], work: Path, *, expected: int = 0) -> float:
    """Median seconds of a command that must end with the exit code `expected`."""
    seconds = []
    for _ in range(STARTS):
        begin = time.perf_counter()
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=work, env=environment(), capture_output=True, check=False
        )
        seconds.append(time.perf_counter() - begin)
        if done.returncode != expected:
            raise SystemExit(
                f"`octnas {' '.join(arguments)}` must end with {expected}, but ended with {done.returncode}: "
                f"{done.stderr.decode(errors='replace').strip()}"
            )
    return statistics.median(seconds)


def heading(job: JobReport) -> str:
    """The command and the machine."""
    memory = memory_gib()
    machine = [f"{processor()}, {usable_cores()} cores"]
    machine += [] if memory is None else [f"{memory:.0f} GiB"]
    machine.append(f"GPU: {', '.join(gpus()) or 'none'}")
    made_with = f"octnas {__version__}, {versions('torch', 'ray', 'optuna', 'mlflow')}"
    return f"`{job.command}` on {', '.join(machine)}; {made_with}."


def figures(job: JobReport, starts: dict[str, float]) -> str:
    """Time, memory and trials."""
    share = job.end.get("busy_share")
    busy = "-" if share is None else f"{100 * share:.1f} %"
    memory = job.memory
    rows = [
        ("wall-clock, from the command to the front", f"{job.seconds / 60:.1f} min ({job.seconds:.0f} s)"),
        ("candidates", states(job.records, yardsticks=False)),
        ("yardsticks", states(job.records, yardsticks=True)),
        (
            f"peak memory, all processes ({memory.measure})",
            f"{memory.bytes / 2**30:.2f} GiB over {memory.processes} processes ({memory.samples} samples)",
        ),
        ("workers", str(job.end.get("workers", "-"))),
        ("workers' time in training steps", busy),
        ("hypervolume", f"{job.document['hypervolume']:.4f}"),
        *((f"`{command}`", f"{seconds:.2f} s (median of {STARTS})") for command, seconds in starts.items()),
    ]
    return table(("figure", "value"), rows)


def states(records: Sequence[TrialRecord], *, yardsticks: bool) -> str:
    """For instance "24: 9 complete, 15 stopped, 0 failed"."""
    chosen = [record.state for record in records if (record.yardstick is not None) == yardsticks]
    counts = Counter(chosen)
    final = (TrialState.COMPLETE, TrialState.STOPPED, TrialState.FAILED)
    return f"{len(chosen)}: " + ", ".join(f"{counts[state]} {state}" for state in final)


def trainings(job: JobReport) -> str:
    """Mean times of an epoch (one score), of its training steps and of a whole training, by backbone."""
    scores: defaultdict[str, list[EpochScore]] = defaultdict(list)
    whole: defaultdict[str, list[TrialRecord]] = defaultdict(list)
    for record in job.records:
        scores[record.architecture.backbone] += record.scores
        if record.state is TrialState.COMPLETE:
            whole[record.architecture.backbone].append(record)
    rows = [
        (
            backbone,
            str(len(found)),
            mean([score.seconds for score in found]),
            mean([score.train_seconds for score in found]),
            mean([score.images_per_second for score in found], digits=0),
            str(len(whole[backbone])),
            mean([record.seconds for record in whole[backbone]]),
        )
        for backbone, found in sorted(scores.items())
    ]
    header = (
        "backbone",
        "epochs",
        "seconds an epoch",
        "of them in training steps",
        "images a second in training",
        "whole trainings",
        "seconds a whole training",
    )
    return table(header, rows)


def front(job: JobReport) -> str:
    """The front and, below it, the yardsticks that are not on it, by cost."""
    trials = {trial["id"]: trial for trial in job.document["trials"]}
    members = set(job.document["front"])
    shown = [trial for trial in trials.values() if trial["id"] in members or trial["yardstick"] is not None]
    rows = [
        (
            "front" if trial["id"] in members else "" if trial["within_budget"] else "over the budget",
            trial["id"],
            f"{trial['gflops']:.3f}",
            "-" if trial["accuracy"] is None else f"{100 * trial['accuracy']:.2f} %",
            trial["backbone"],
            trial["yardstick"] or "",
        )
        for trial in sorted(shown, key=lambda trial: (trial["id"] not in members, trial["gflops"]))
    ]
    return table(("", "trial", "GFLOPs (10^9 multiply-adds)", "accuracy", "backbone", "yardstick"), rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


def mean(values: Sequence[float], digits: int = 1) -> str:
    """A dash where there are no values."""
    return f"{statistics.fmean(values):.{digits}f}" if values else "-"


if __name__ == "__main__":
    main()
