"""What a search on real workers costs its driver: processor, memory, suggestions a second, idle workers.

    OMP_NUM_THREADS=1 python benchmarks/driver_load.py --workers 16 --trials 2000
    OMP_NUM_THREADS=1 python benchmarks/driver_load.py --workers 2 --trials 2000 --seconds 0

A node of as many logical cores as there are workers joins a Ray cluster on this machine; each trial sleeps
for `--seconds` and reports its last score. All else is a search as a user starts it: every trial in the
journal and in an MLflow store in SQLite. Figures are from the hundredth finished trial to the last but a
hundred, memory by least squares over that stretch. The driver's processor time is of all its threads,
MLflow's too. Run from the repository's root with the `test` extra, on Linux.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import stopwatch
from machine import processor, versions
from main_job import table
from process_memory import memory_mb
from scale import quantile, timed_asks

from octnas.engine.events import SearchEvent
from octnas.engine.samplers import SAMPLER_NAMES
from octnas.machine import usable_cores

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from clusters import SETTINGS, local_cluster

MARGIN = 100
"""Trials at either end that are not counted."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The driver when a trial has finished."""

    wall: float
    processor: float
    memory: float


class Watch:
    """A listener that looks at the driver whenever a trial finishes."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def __call__(self, event: SearchEvent) -> None:
        if event.kind == "finished":
            self.moments.append(Moment(time.time(), time.process_time(), memory_mb()))
            if len(self.moments) % 200 == 0:
                print(f"{len(self.moments)} trials, {memory_mb():.0f} MB", file=sys.stderr, flush=True)


def measure(given: argparse.Namespace, folder: Path) -> str:
    """Runs the search, and a table."""
    stopwatch.order(log=folder / "stretches", seconds=given.seconds, scores=1)
    os.environ |= {**SETTINGS, "OCTNAS_HOME": str(folder / "runs")}
    from octnas import engine

    suggested: list[float] = []
    timed_asks(suggested)
    watch = Watch()
    store = folder / "mlflow.db"
    with local_cluster() as cluster:
        cluster.add(cpus=given.workers)
        engine.search(
            given.space,
            budget_gflops=given.budget_gflops,
            trials=given.trials,
            sampler=given.sampler,
            confirm=0,
            name="load",
            tracking_uri=f"sqlite:///{store}",
            gpus_per_trial=0,
            cluster=cluster.address,
            evaluate=stopwatch.one_score,
            listener=watch,
        )
    counted = watch.moments[MARGIN:-MARGIN]
    first, last, trials = counted[0], counted[-1], len(counted) - 1
    wall = last.wall - first.wall
    slope = 1e3 * float(np.polyfit(range(len(counted)), [each.memory for each in counted], 1)[0])
    everything = stopwatch.read(folder / "stretches")
    begins = sorted(each[0].begin for each in stopwatch.timeline(everything).values())
    stretches = [each for each in everything if first.wall <= each.begin and each.end <= last.wall]
    journal = (folder / "runs" / "load" / "journal.jsonl").stat().st_size
    rows = [
        ("trials", f"{len(watch.moments):,}, of {given.seconds:g} s, on {given.workers} workers"),
        (
            f"the {min(len(begins), given.workers)}th worker begins",
            f"{begins[: given.workers][-1] - begins[0]:.0f} s after the first",
        ),
        ("driver's processor a trial", f"{1e3 * (last.processor - first.processor) / trials:.0f} ms"),
        ("driver's share of a core", f"{100 * (last.processor - first.processor) / wall:.0f} %"),
        ("trials a second", f"{trials / wall:.1f}"),
        (
            "a suggestion, processor time",
            f"{quantile(suggested, 0.5):.1f} ms median, {quantile(suggested, 0.99):.1f} ms 99th percentile",
        ),
        ("memory of the driver a trial", f"{slope:.1f} kB; {last.memory:.0f} MB at the end"),
        ("workers idle", f"{100 * stopwatch.idle_of(stretches).share:.1f} %"),
        ("journal a trial", f"{journal / len(watch.moments) / 1e3:.1f} kB"),
        ("MLflow's SQLite file a trial", f"{store.stat().st_size / len(watch.moments) / 1e3:.1f} kB"),
    ]
    head = (
        f"`{' '.join(['python', *sys.argv])}` on {processor()}, {usable_cores()} cores; "
        f"{versions('octnas', 'ray', 'optuna', 'mlflow')}."
    )
    return f"{head}\n\n{table(('what', 'figure'), rows)}"


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a trial sleeps (default 1)")
    parser.add_argument("--sampler", default="thompson", choices=SAMPLER_NAMES)
    parser.add_argument("--space", default="imagenet-2d")
    parser.add_argument("--budget-gflops", type=float, default=2.0)
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    if given.trials < 3 * MARGIN:
        parser.error(f"`trials >= {3 * MARGIN}` must hold, but got {given.trials}")
    with tempfile.TemporaryDirectory(prefix="driver-load-") as folder:
        text = measure(given, Path(folder))
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
