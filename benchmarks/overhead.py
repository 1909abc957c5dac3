"""What a search costs beside its trainings, for octnas and for Ray Tune with its own OptunaSearch.

    python benchmarks/overhead.py
    python benchmarks/overhead.py --samplers thompson tpe --ray reused --repeats 1
    python benchmarks/overhead.py --profile thompson

Two tables. The first: trials that do nothing, `--trials` of them on `--workers` workers. "ms a trial" is
the time from the start of the first trial to the end of the last over the number of trials (octnas trains its
yardsticks too, and they count). Start-up (process, imports, images, Ray, the tracking store) and what comes
after the last trial (front, pictures, tracking) stand apart. The second: trials that sleep for `--seconds`,
and the share of the workers' time, from the first start to the last end in each process, in which they do
nothing.

octnas runs as a user runs it: every trial in the journal before it is answered, and in MLflow. OptunaSearch
has two objectives and as many dimensions as the largest backbone of the space; "as it comes" is Ray Tune with
its own settings, "reused" keeps worker processes and leaves out Ray's loggers, as octnas does. It has neither
rungs nor a budget nor a store. Trials report as many scores as the space's proxy does, which octnas sends
through its rungs, or the last alone, so that no rung sees it.

Each figure is the median over `--repeats`, with the range. Every run has a process of its own.
"""

from __future__ import annotations

import argparse
import cProfile
import logging
import multiprocessing
import os
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import stopwatch
from machine import memory_gib, processor, versions

from octnas import load_space
from octnas.engine.evaluate import scores_of
from octnas.engine.events import Listener, SearchEvent
from octnas.engine.samplers import SAMPLER_NAMES
from octnas.machine import usable_cores

LAW_MS = 50.0
LAW_IDLE = 0.05
RAY_KINDS = {"reused": "reused workers, no loggers", "default": "as it comes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run."""

    who: str
    """A sampler of octnas, or a key of `RAY_KINDS`."""
    trials: int
    workers: int
    seconds: float
    scores: int
    space: str
    budget_gflops: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run took, in seconds."""

    trainings: int
    startup: float
    phase: float
    """From the start of the first trial to the end of the last."""
    closing: float
    idle: stopwatch.Idle


def run(task: Task) -> Outcome:
    """One run, in a process and a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="overhead-") as folder,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        log = Path(folder) / "stretches"
        begin = time.time()
        pool.submit(_in_process, task, Path(folder), log).result()
        end = time.time()
        stretches = stopwatch.read(log)
    last = max(each.end for each in stretches)
    return Outcome(
        trainings=len({each.trial for each in stretches}),
        startup=stretches[0].begin - begin,
        phase=last - stretches[0].begin,
        closing=end - last,
        idle=stopwatch.idle_of(stretches),
    )


def _in_process(task: Task, folder: Path, log: Path) -> None:
    stopwatch.order(log=log, seconds=task.seconds, scores=task.scores)
    (_ray if task.who in RAY_KINDS else _octnas)(task, folder)


def _octnas(task: Task, folder: Path, listener: Listener | None = None) -> None:
    from octnas import engine

    os.environ["OCTNAS_HOME"] = str(folder / "runs")
    engine.search(
        task.space,
        budget_gflops=task.budget_gflops,
        trials=task.trials,
        sampler=task.who,
        confirm=0,
        seed=task.seed,
        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
        cpus_per_trial=max(1, usable_cores() // task.workers),
        gpus_per_trial=0,
        evaluate=stopwatch.one_score if task.scores == 1 else stopwatch.every_score,
        listener=listener,
    )


def _ray(task: Task, folder: Path) -> None:
    os.environ |= {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }
    if task.who == "reused":
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    import optuna
    import ray
    from optuna.distributions import IntDistribution
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ray.init(
        address="local",
        num_cpus=task.workers,
        num_gpus=0,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    searcher = OptunaSearch(
        space={f"x{i:02d}": IntDistribution(0, 3) for i in range(_dimensions(task.space))},
        metric=["accuracy", "gflops"],
        mode=["max", "min"],
        seed=task.seed,
    )
    try:
        tune.Tuner(
            tune.with_resources(stopwatch.ray_trainable, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=task.trials,
                max_concurrent_trials=task.workers,
                reuse_actors=task.who == "reused",
            ),
            run_config=tune.RunConfig(name="ray", storage_path=str(folder / "ray"), verbose=0),
        ).fit()
    finally:
        ray.shutdown()


def _dimensions(space: str) -> int:
    loaded = load_space(space)
    return max(len(loaded.dimensions(backbone)) for backbone in loaded.backbones)


# -------------------------------------------------------------------- tables
def rows(
    given: argparse.Namespace,
    *,
    seconds: float,
    trials: int,
    columns: Callable[[Sequence[Outcome]], list[str]],
) -> list[str]:
    """A line of Markdown for each sampler and number of scores."""
    whole = scores_of(load_space(given.space).proxy)
    lines = []
    for who in [*given.samplers, *given.ray]:
        for scores in dict.fromkeys((1, whole)):
            outcomes = [
                run(
                    Task(
                        who=who,
                        trials=trials,
                        workers=given.workers,
                        seconds=seconds,
                        scores=scores,
                        space=given.space,
                        budget_gflops=given.budget_gflops,
                        seed=seed,
                    )
                )
                for seed in range(given.repeats)
            ]
            name = f"OptunaSearch, {RAY_KINDS[who]}" if who in RAY_KINDS else f"octnas, {who}"
            cells = [name, str(scores), *columns(outcomes)]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], file=sys.stderr, flush=True)
    return lines


def overhead_table(given: argparse.Namespace) -> str:
    """Trials that do nothing."""

    def columns(outcomes: Sequence[Outcome]) -> list[str]:
        each = [1000 * outcome.phase / outcome.trainings for outcome in outcomes]
        return [
            _spread([outcome.trainings for outcome in outcomes], ".0f"),
            _spread(each, ".1f"),
            "yes" if statistics.median(each) <= LAW_MS else "no",
            _spread([outcome.startup for outcome in outcomes], ".1f"),
            _spread([outcome.closing for outcome in outcomes], ".1f"),
        ]

    head = [
        f"| who proposes | scores a trial | trials | ms a trial | {LAW_MS:g} ms or less "
        "| start-up, s | after, s |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows(given, seconds=0.0, trials=given.trials, columns=columns)])


def idle_table(given: argparse.Namespace) -> str:
    """Trials that sleep."""

    def columns(outcomes: Sequence[Outcome]) -> list[str]:
        shares = [100 * outcome.idle.share for outcome in outcomes]
        between = [1000 * gap for outcome in outcomes for gap in outcome.idle.between]
        within = [1000 * gap for outcome in outcomes for gap in outcome.idle.within]
        return [
            _spread([outcome.trainings for outcome in outcomes], ".0f"),
            f"{_spread(shares, '.1f')} %",
            "yes" if statistics.median(shares) <= 100 * LAW_IDLE else "no",
            _spread(between, ".0f"),
            _spread(within, ".0f"),
            _spread([outcome.idle.processes for outcome in outcomes], ".0f"),
        ]

    head = [
        f"| who proposes | scores a trial | trials | idle | {100 * LAW_IDLE:g} % or less "
        "| ms between trials | ms between scores | worker processes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    trials = given.idle_trials * given.workers
    return "\n".join([*head, *rows(given, seconds=given.seconds, trials=trials, columns=columns)])


def _spread(values: Sequence[float], form: str) -> str:
    """Median, and the range in brackets where there is one."""
    if not values:
        return "-"
    median, low, high = (format(each, form) for each in (statistics.median(values), min(values), max(values)))
    return median if low == high else f"{median} ({low} to {high})"


# -------------------------------------------------------------------- where the driver's time goes
class Watch:
    """A listener that profiles the main thread from the end of the first trial to the end of the last."""

    def __init__(self) -> None:
        self.profiler = cProfile.Profile()
        self.wall = 0.0
        self.processor = 0.0
        """Seconds of processor time of the main thread."""
        self.trials = 0

    def __call__(self, event: SearchEvent) -> None:
        if event.kind == "finished" and event.finished == 1:
            self.wall, self.processor = time.perf_counter(), time.thread_time()
            self.profiler.enable()
        elif event.kind == "finished" and event.finished == event.planned:
            self.profiler.disable()
            self.wall, self.processor = time.perf_counter() - self.wall, time.thread_time() - self.processor
            self.trials = event.finished - 1


def profile(given: argparse.Namespace) -> None:
    """Prints the largest costs of a search's own process while trials run."""
    task = Task(
        who=given.profile,
        trials=given.trials,
        workers=given.workers,
        seconds=0.0,
        scores=1 if given.one_score else scores_of(load_space(given.space).proxy),
        space=given.space,
        budget_gflops=given.budget_gflops,
        seed=0,
    )
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        stopwatch.order(log=Path(folder) / "stretches", seconds=0.0, scores=task.scores)
        _octnas(task, Path(folder), watch)
    print(
        f"{watch.trials} trials after the first; ms a trial, profiler included: "
        f"{1000 * watch.wall / watch.trials:.1f}, "
        f"of them processor time of the main thread {1000 * watch.processor / watch.trials:.1f}\n"
    )
    costs = pstats.Stats(watch.profiler)
    costs.sort_stats("cumulative").print_stats(90)
    costs.sort_stats("tottime").print_stats(40)


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--samplers", nargs="*", choices=SAMPLER_NAMES, default=["thompson", "tpe", "nsga2", "random"],
        help="of octnas; default: all but gp, which takes seconds a proposal",
    )  # fmt: skip
    parser.add_argument(
        "--ray",
        nargs="*",
        choices=RAY_KINDS,
        default=list(RAY_KINDS),
        help="kinds of OptunaSearch; default: both",
    )
    parser.add_argument("--trials", type=int, default=200, help="that do nothing (default 200)")
    parser.add_argument("--workers", type=int, default=2, help="trials at once (default 2)")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a trial sleeps (default 1)")
    parser.add_argument(
        "--idle-trials",
        type=int,
        default=20,
        help="that sleep, for each worker; 0: no such table (default 20)",
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs behind a figure, each with a seed (default 3)"
    )
    parser.add_argument("--space", default="imagenet-2d", help="a space of octnas, or its file")
    parser.add_argument("--budget-gflops", type=float, default=2.0)
    parser.add_argument(
        "--profile",
        choices=SAMPLER_NAMES,
        help="print where the process of one such search spends its time, and nothing else",
    )
    parser.add_argument("--one-score", action="store_true", help="with --profile: one score a trial")
    given = parser.parse_args()
    if given.workers > usable_cores():
        parser.error(
            f"`workers <= {usable_cores()}` (the cores usable here) must hold, but got {given.workers}"
        )
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if given.profile:
        profile(given)
        return
    print(
        f"{processor()}, {usable_cores()} cores, {memory_gib() or 0:.0f} GiB; "
        f"{versions('octnas', 'torch', 'ray', 'optuna', 'mlflow')}. {given.workers} workers, space "
        f"{given.space}, {given.budget_gflops:g} GFLOPs (10^9 multiply-adds), {_dimensions(given.space)} "
        f"dimensions, medians of {given.repeats} (range).\n"
    )
    if given.trials:
        print(
            f"Trials that do nothing, {given.trials} candidates a run:\n\n{overhead_table(given)}\n",
            flush=True,
        )
    if given.idle_trials:
        print(
            f"Trials of {given.seconds:g} s, {given.idle_trials} candidates a worker:\n\n{idle_table(given)}"
        )


if __name__ == "__main__":
    main()
