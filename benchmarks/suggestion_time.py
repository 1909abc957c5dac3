"""Processor time of a suggestion, as a Markdown table.

    OMP_NUM_THREADS=1 python benchmarks/suggestion_time.py --out suggestion-time.md
    OMP_NUM_THREADS=1 python benchmarks/suggestion_time.py --suggestions 10 --samplers tpe,thompson
    OMP_NUM_THREADS=1 python benchmarks/suggestion_time.py --finished 100000 --only ResNet-50

Each sampler knows `--finished` trials of a made-up score and is asked for `--suggestions` architectures, one
after the other; each is told before the next is asked for. Alphas are in eighths, 0 to 6/8, one a layer: for
ResNet-50 alone (39 dimensions) and for the four backbones of the space imagenet-2d. Two budgets: 2.0 GFLOPs
(10^9 multiply-adds), and the one that admits the cheapest 1 % of all architectures, found by exact counting.

Times are of the processor, summed over this process's threads (hence OMP_NUM_THREADS=1), not of the clock,
so other programs disturb them little. The first suggestion of a search also builds the tables of counts; it
has a column of its own and counts for nothing else. The Gaussian process is for small spaces and left out.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from machine import memory_gib, processor, versions
from main_job import table
from process_memory import memory_mb

from octnas import __version__
from octnas.architecture import Architecture
from octnas.engine.optuna_adapter import Proposer
from octnas.machine import usable_cores
from octnas.record import EpochScore, TrialRecord, TrialState
from octnas.space import Feasible, SearchSpace, load_space
from octnas.space.counting import CountTable

FINISHED = 200
"""Trials that a sampler knows by default."""
LIMIT_MS = 25.0
"""A suggestion takes this or less, in the median, with `FINISHED` trials."""
LARGE_LIMIT_MS = 100.0
"""And this with more."""
SHARE = 0.01
"""The cheapest part of the space that the second budget admits."""
SAMPLERS = ("thompson", "tpe", "tpe-grouped", "nsga2", "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds of processor time."""

    finished: int
    """Trials that the sampler knows at first."""

    first: float
    """The first suggestion, with the tables that it builds."""
    others: tuple[float, ...]
    kilobytes: float
    """That the process grew by for each finished trial, while the sampler was told of them."""

    @property
    def median(self) -> float:
        """Of all but the first."""
        return float(np.median(self.others))

    @property
    def cells(self) -> tuple[str, ...]:
        """For a table."""
        figures = (self.median, float(np.percentile(self.others, 90)), max(self.others), self.first)
        limit = LIMIT_MS if self.finished <= FINISHED else LARGE_LIMIT_MS
        kept = "yes" if self.median <= limit else "**no**"
        return *(f"{figure:.1f}" for figure in figures), f"{self.kilobytes:.1f}", f"{kept}, {limit:g}"


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suggestions", type=int, default=40, help="suggestions that are timed for a row")
    parser.add_argument("--finished", type=int, default=FINISHED, help="trials that a sampler knows")
    parser.add_argument("--only", default="", help="spaces and budgets whose words have this within")
    parser.add_argument("--samplers", default=",".join(SAMPLERS), help="samplers, with commas between")
    parser.add_argument("--seed", type=int, default=0, help="of the finished trials and of the samplers")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    samplers = given.samplers.split(",")
    if unknown := sorted(set(samplers) - set(SAMPLERS)):
        parser.error(f"--samplers must be among {', '.join(SAMPLERS)}, but got {', '.join(unknown)}")
    text = measure(samplers, given)
    print(text)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text + "\n", encoding="utf-8")


def measure(samplers: Sequence[str], given: argparse.Namespace) -> str:
    """The heading and the table."""
    suggestions, seed = given.suggestions, given.seed
    memory = memory_gib()
    rows = []
    for label, space in spaces().items():
        for budget in (2.0, cheapest(space, SHARE)):
            if given.only not in f"{label}, {budget:.3f} GFLOPs":
                continue
            feasible = space.feasible(budget)
            finished = trials(feasible, given.finished, seed)
            for sampler in samplers:
                if len(space.backbones) == 1 and sampler == "tpe-grouped":
                    continue  # one study either way
                timing = timed(feasible, finished, sampler, suggestions, seed)
                rows.append((label, f"{budget:.3f}", sampler, *timing.cells))
    head = (
        f"`OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python benchmarks/suggestion_time.py "
        f"--suggestions {suggestions} --samplers {','.join(samplers)} "
        f"--seed {seed} --finished {given.finished}{f' --only {given.only!r}' if given.only else ''}` "
        f"on {processor()}, {usable_cores()} cores"
        f"{'' if memory is None else f', {memory:.0f} GiB'}; octnas {__version__}, "
        f"{versions('numpy', 'optuna')}. Milliseconds of processor time; {given.finished:,} finished trials."
    )
    columns = ("space", "budget, GFLOPs", "sampler", "median", "90th percentile", "maximum", "first")
    return head + "\n\n" + table((*columns, "kB a finished trial", "median within its limit"), rows)


def spaces() -> dict[str, SearchSpace]:
    """The two spaces."""
    base = load_space("imagenet-2d").definition
    eighths = tuple(Fraction(eighth, 8) for eighth in range(7))
    four = SearchSpace(base.model_copy(update={"granularity": "layer", "alphas": eighths}))
    return {
        "ResNet-50, 39 layers": four.restricted(backbones=["resnet50"]),
        "four backbones of imagenet-2d": four,
    }


def cheapest(space: SearchSpace, share: float) -> float:
    """The least budget, in 10^9 multiply-adds, that admits this share of all architectures."""
    graphs = [space.members(name).graph for name in space.backbones]
    tables = [CountTable(graph, graph.max_cost - graph.min_cost) for graph in graphs]
    wanted = share * sum(each.rounded_count(each.span) for each in tables)
    low = min(graph.min_cost for graph in graphs)
    high = max(graph.max_cost for graph in graphs)
    while low < high:
        middle = (low + high) // 2
        admitted = sum(each.rounded_count(middle - each.graph.min_cost) for each in tables)
        low, high = (low, middle) if admitted >= wanted else (middle + 1, high)
    return low / 1e9


def trials(feasible: Feasible, number: int, seed: int) -> list[TrialRecord]:
    """Finished trials of distinct architectures, as stratified random draws."""
    rng = np.random.default_rng(seed)
    found: dict[str, Architecture] = {}
    while len(found) < number:
        architecture = feasible.sample(rng)
        found[architecture.digest] = architecture
    return [trial(feasible, each, i, seed) for i, each in enumerate(found.values())]


def trial(feasible: Feasible, architecture: Architecture, number: int, seed: int) -> TrialRecord:
    """A finished trial: better with more compute and with alphas near a half, and noise."""
    gflops = feasible.space.gflops(architecture)
    noise = np.random.default_rng([seed, number]).normal(scale=0.01)
    accuracy = 0.5 + 0.1 * gflops - float(np.mean((np.array(architecture.alphas) - 0.5) ** 2)) + noise
    record = TrialRecord(
        id=str(number), architecture=architecture, state=TrialState.RUNNING, gflops=gflops, params=1
    )
    score = EpochScore(
        epoch=4,
        accuracy=float(accuracy),
        loss=1.0,
        train_loss=1.0,
        seconds=1.0,
        train_seconds=1.0,
        images_per_second=1.0,
    )
    return record.with_score(score).with_state(TrialState.COMPLETE)


def timed(
    feasible: Feasible, finished: Sequence[TrialRecord], sampler: str, suggestions: int, seed: int
) -> Timing:
    """Asks a sampler that knows `finished`."""
    fresh = feasible.space.feasible(feasible.budget_gflops)  # its tables are still to be built
    name, _, grouped = sampler.partition("-")
    Proposer(fresh, sampler=name, seed=seed, history=finished[:100], grouped=bool(grouped))
    gc.collect()
    before = memory_mb()
    proposer = Proposer(fresh, sampler=name, seed=seed, history=finished, grouped=bool(grouped))
    gc.collect()
    kilobytes = 1e3 * (memory_mb() - before) / len(finished)
    milliseconds = []
    for number in range(suggestions + 1):
        begin = time.process_time()
        architecture = proposer.ask()
        milliseconds.append(1e3 * (time.process_time() - begin))
        if architecture is None:
            raise SystemExit("the space has too few architectures within the budget")
        proposer.tell(trial(feasible, architecture, len(finished) + number, seed))
    return Timing(
        finished=len(finished),
        first=milliseconds[0],
        others=tuple(milliseconds[1:]),
        kilobytes=kilobytes,
    )


if __name__ == "__main__":
    main()
