"""What a search costs its driver at 1,000 workers and 100,000 trials, on the simulated backend.

    OMP_NUM_THREADS=1 python benchmarks/scale.py --trials 100000 --workers 1000 --out scale.md

The campaign is the one that Ray drives: sampler, rungs, journal on disk with its syncs, events. Trainings are
scores by formula (`synthetic.py`) that take `--minutes` for a whole one, up to a quarter more or less by
architecture. The time that the driver takes for each of its answers passes on the simulated clock, one answer
after the other while workers wait for them, so the idle share is that of a cluster whose driver is this
machine. It is processor time, which other programs disturb little, and the wall's time of the journal's
syncs.

Rows are by stretches of trials: a suggestion (the sampler's own work) in ms, the driver's work a trial (all
but what makes up the scores), the process's memory, and the journal. The last lines are what a search leaves
behind: how long `octnas list`, `front` and `resume` take to read it, and the memory of that.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from machine import processor, versions
from main_job import table
from problem import without_rungs
from process_memory import memory_mb
from synthetic import SYNTHETIC, Synthetic

from octnas import __version__
from octnas.architecture import Architecture
from octnas.engine.evaluate import TrialJob
from octnas.engine.events import SearchEvent
from octnas.engine.optuna_adapter import Proposer
from octnas.engine.run_search import new_campaign
from octnas.engine.simulated import SimulatedClock, simulate
from octnas.machine import usable_cores
from octnas.record import EpochScore, RunFolder, SearchHeader
from octnas.space import parse_space

NAME = "scale"
READERS = {
    "list": "from octnas.record import list_runs; found = list_runs()",
    "front": "from octnas.front import SearchResult; found = SearchResult.from_run('scale').to_dict()",
    "resume": "import scale; scale.taken_up()",
}
"""What reads a journal, each in a process of its own."""


@dataclass(slots=True)
class Stretch:
    """Measurements from one number of trials to the next."""

    trials: int
    """Started at its end."""
    suggestions: list[float] = field(default_factory=list)
    """Seconds of processor time."""
    driver: float = 0.0
    """Seconds, of the processor and of syncs."""
    processor: float = 0.0
    """Seconds, of the whole process."""
    memory: float = 0.0
    """MB that the process holds at its end."""
    journal: int = 0
    """Bytes at its end."""


def main() -> None:
    """Measures, prints and writes the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=10.0, help="of a whole training")
    parser.add_argument("--sampler", default="thompson")
    parser.add_argument("--problem", default="synthetic-four", choices=list(SYNTHETIC))
    parser.add_argument("--without-rungs", action="store_true", help="every trial is trained to its end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, help="folder for the journal; default: a temporary one")
    parser.add_argument("--read", action="store_true", help="only read what a search left in --home")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OCTNAS_HOME"] = str(given.home or folder)
        text = table(("what", "figure"), reading()) if given.read else measure(given)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


def measure(given: argparse.Namespace) -> str:
    """Runs the search and reads what it left."""
    problem = Synthetic(given.problem)
    space = without_rungs(problem.space, epochs=problem.epochs) if given.without_rungs else problem.space
    clock = SimulatedClock()
    header = SearchHeader(
        name=NAME,
        space_yaml=space.to_yaml(),
        budget_gflops=problem.budget_gflops,
        trials=given.trials,
        seed=given.seed,
        data=space.proxy.data,
        sampler=given.sampler,
    )
    run = RunFolder.create(NAME, header)
    stretches = [Stretch(trials=0, memory=memory_mb(), journal=run.journal.path.stat().st_size)]
    suggested: list[float] = []
    timed_asks(suggested)
    step = max(1, given.trials // 20)
    driver = Timer()
    counted = {"events": 0, "started": 0}

    def listen(event: SearchEvent) -> None:
        counted["events"] += 1
        if event.kind != "started" or len(suggested) < len(stretches) * step:
            return
        now = Stretch(trials=len(suggested), suggestions=suggested[stretches[-1].trials :])
        now.driver, now.processor = driver.spent, time.process_time()
        now.memory, now.journal = memory_mb(), run.journal.path.stat().st_size
        stretches.append(now)
        print(
            json.dumps({"trials": now.trials, "s": round(time.perf_counter() - begin), "MB": now.memory}),
            file=sys.stderr,
            flush=True,
        )

    campaign = new_campaign(
        run,
        space=space,
        feasible=space.feasible(problem.budget_gflops),
        clock=clock,
        workers=given.workers,
        listeners=[listen],
    )
    begin, processor_begin = time.perf_counter(), time.process_time()
    simulate(
        campaign,
        scores=lambda job: scores(problem, job, 60 * given.minutes),
        workers=given.workers,
        clock=clock,
        timer=driver,
    )
    wall, processed = time.perf_counter() - begin, time.process_time() - processor_begin
    run.journal.release()
    states: dict[str, int] = {}
    for record in campaign.records:
        states[str(record.state)] = states.get(str(record.state), 0) + 1
    result = {
        "given": {key: str(value) for key, value in vars(given).items()},
        "wall": wall,
        "processor": processed,
        "driver": driver.spent,
        "syncs": driver.syncs,
        "simulated": clock.passed,
        "events": counted["events"],
        "states": states,
        "idle": 1 - float(campaign.statistics()["busy_share"]),
        "journal": run.journal.path.stat().st_size,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3,
        "stretches": [
            {
                "trials": each.trials,
                "driver": each.driver,
                "memory": each.memory,
                "journal": each.journal,
                "p50": quantile(each.suggestions, 0.5),
                "p99": quantile(each.suggestions, 0.99),
                "max": quantile(each.suggestions, 1.0),
            }
            for each in stretches
        ],
    }
    result["slope"] = slope(stretches)
    result["sync"] = sync_ms(run.path)
    del campaign
    if given.json is not None:
        given.json.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return report(result, given)


class Timer:
    """Processor time and the wall's time of syncs; it also sums what was timed, and is asked in pairs."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.syncs = 0.0
        self._begin: float | None = None
        self._sync = os.fsync
        os.fsync = self._timed  # type: ignore[assignment]

    def _timed(self, descriptor: int) -> None:
        begin = time.perf_counter()
        self._sync(descriptor)
        self.syncs += time.perf_counter() - begin

    def __call__(self) -> float:
        now = time.thread_time() + self.syncs
        if self._begin is None:
            self._begin = now
        else:
            self.spent += now - self._begin
            self._begin = None
        return now


def timed_asks(into: list[float]) -> None:
    """Has every suggestion of this process timed."""
    ask = Proposer.ask

    def timed(self: Proposer) -> Architecture | None:
        begin = time.thread_time()
        found = ask(self)
        into.append(time.thread_time() - begin)
        return found

    Proposer.ask = timed  # type: ignore[method-assign]


def scores(problem: Synthetic, job: TrialJob, seconds: float) -> Iterator[EpochScore]:
    """The problem's scores of a job, a whole training in about so many seconds."""
    spread = 0.75 + 0.5 * int(job.architecture.digest[:4], 16) / 0xFFFF
    epoch = spread * seconds / job.epochs
    for score in problem.scores(job.architecture, 0):
        if score.epoch > job.scored:
            values = {name: getattr(score, name) for name in ("epoch", "accuracy", "loss", "train_loss")}
            yield EpochScore(**values, seconds=epoch, train_seconds=epoch, images_per_second=1.0)


def taken_up() -> None:
    """What `octnas resume` does before it trains: sampler, rungs and campaign from the journal."""
    run = RunFolder.open(NAME)
    space = parse_space(run.header.space_yaml)
    assert run.header.budget_gflops is not None
    new_campaign(run, space=space, feasible=space.feasible(run.header.budget_gflops))


def reading() -> list[tuple[str, str]]:
    """Rows on what reads the journal, each in a process of its own."""
    rows = []
    for name, code in READERS.items():
        (before, _), (after, peak) = (_run(each) for each in (code.split(";")[0], code))
        seconds = f"{after - before:.1f} s of processor time, peak {peak:.0f} MB"
        rows.append((f"what `octnas {name}` reads", seconds))
    return rows


def _run(code: str) -> tuple[float, float]:
    """Seconds of processor time, and peak MB."""
    tail = "; import resource, time; print(time.process_time(), resource.getrusage(0).ru_maxrss * 1.024e-3)"
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True, cwd=here
    )
    seconds, peak = map(float, done.stdout.split()[-2:])
    return seconds, peak


def sync_ms(folder: Path) -> tuple[float, float]:
    """Median and worst ms of an append of a line of 1 kB with its sync, of 200 in a folder."""
    path = folder / "probe"
    times = []
    with path.open("ab", buffering=0) as file:
        for _ in range(200):
            begin = time.perf_counter()
            file.write(b"x" * 1000 + b"\n")
            os.fsync(file.fileno())
            times.append(1e3 * (time.perf_counter() - begin))
    path.unlink()
    return statistics.median(times), max(times)


def slope(stretches: list[Stretch]) -> float:
    """kB of memory a trial, by least squares over the last nine tenths of the search."""
    rows = [(each.trials, each.memory) for each in stretches[len(stretches) // 10 + 1 :]]
    trials, memory = np.array(rows).T
    return float(1e3 * np.polyfit(trials, memory, 1)[0])


def quantile(values: list[float], share: float) -> float | None:
    """In ms."""
    return 1e3 * float(np.quantile(values, share)) if values else None


def report(result: dict, given: argparse.Namespace) -> str:  # type: ignore[type-arg]
    """The tables."""
    trials, span = given.trials, result["wall"]
    head = (
        f"`OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python benchmarks/scale.py "
        f"--trials {trials} --workers {given.workers} --minutes {given.minutes:g} "
        f"--sampler {given.sampler} --problem {given.problem}"
        f"{' --without-rungs' if given.without_rungs else ''} --seed {given.seed}` on {processor()}, "
        f"{usable_cores()} cores; octnas {__version__}, {versions('numpy', 'optuna')}."
    )
    kept = [each for each in result["stretches"] if each["p50"] is not None]
    rows = []
    before = result["stretches"][0]
    for each in kept:
        count = each["trials"] - before["trials"]
        rows.append(
            (
                f"{each['trials']:,}",
                *(f"{each[name]:.1f}" for name in ("p50", "p99", "max")),
                f"{1e3 * (each['driver'] - before['driver']) / count:.1f}",
                f"{each['memory']:.0f}",
                f"{(each['journal'] - before['journal']) / count:.0f}",
            )
        )
        before = each
    states = ", ".join(f"{name} {count:,}" for name, count in sorted(result["states"].items()))
    facts = [
        ("trials by state", states),
        ("events", f"{result['events']:,}"),
        ("wall time", f"{span:.0f} s"),
        ("driver's work", f"{result['driver']:.0f} s, of which syncs {result['syncs']:.0f} s"),
        ("processor time of the process", f"{result['processor']:.0f} s"),
        ("driver's work a trial", f"{1e3 * result['driver'] / trials:.1f} ms"),
        ("simulated time", f"{result['simulated'] / 3600:.1f} h"),
        ("driver busy", f"{100 * result['driver'] / result['simulated']:.1f} % of the simulated time"),
        ("suggestions a second that the driver could make", f"{trials / result['driver']:.0f}"),
        ("workers idle", f"{100 * result['idle']:.2f} %"),
        ("memory a trial", f"{result['slope']:.1f} kB"),
        ("peak memory", f"{result['peak']:.0f} MB"),
        ("journal", f"{result['journal'] / 1e6:.0f} MB, {result['journal'] / trials:.0f} bytes a trial"),
        ("a line of 1 kB and its sync", "{:.2f} ms median, {:.1f} ms worst".format(*result["sync"])),
        *reading(),
    ]
    columns = (
        "trials",
        "suggestion, ms: median",
        "99th percentile",
        "worst",
        "driver a trial, ms",
        "memory, MB",
        "journal a trial, bytes",
    )
    return f"{head}\n\n{table(('what', 'figure'), facts)}\n\n{table(columns, rows)}"


if __name__ == "__main__":
    main()
