"""Does a search do better with shared weights? The main job with and without, in the same wall-clock.

    python benchmarks/init_shared.py --store init-shared --out init-shared.md
    python benchmarks/init_shared.py --store init-shared --minutes 20 --seeds 3

`octnas search --budget-gflops 2.0 --max-minutes 20 --trials 200 --seed S --json` is run as a user would, and
the same with `--init shared`, one after the other; who comes first alternates from seed to seed. There are
more trials than the minutes suffice for, so that time ends both. Training the shared weights and scoring on
them is within the minutes. Accuracies on the front are of the same proxy trainings in both, and so is the
hypervolume: what `search --json` says, up to (budget, 0), divided by the budget.

Each finished run is kept in the folder `--store` as JSON, and a run that was cut off goes on with the next.
Options that are not this script's own go to both searches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import gpus, memory_gib, processor, versions
from main_job import table
from user_command import answer_of

from octnas import __version__
from octnas.machine import usable_cores

ARMS = {"scratch": (), "shared": ("--init", "shared")}
"""What each kind of search has beside the common options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One search. Accuracies are shares (0 to 1), GFLOPs 10^9 multiply-adds."""

    arm: str
    seed: int
    minutes: float
    gib: float
    """Peak memory of all its processes."""
    document: dict[str, Any]
    """What `search --json` printed."""

    @property
    def hypervolume(self) -> float:
        """0 to 1, by the accuracies that the search reports."""
        return float(self.document["hypervolume"])

    @property
    def front(self) -> list[dict[str, Any]]:
        """Its members, by cost."""
        trials = {trial["id"]: trial for trial in self.document["trials"]}
        return sorted((trials[name] for name in self.document["front"]), key=lambda trial: trial["gflops"])

    @property
    def scored(self) -> int:
        """Architectures that were scored on shared weights."""
        return int((self.document.get("shared") or {}).get("scored", 0))

    def count(self, state: str) -> int:
        """Candidates, without yardsticks, in a state."""
        return sum(
            trial["state"] == state and trial["yardstick"] is None for trial in self.document["trials"]
        )

    def best_below(self, gflops: float) -> float:
        """Highest accuracy on the front at so many GFLOPs or fewer; 0 where there is none."""
        return max((trial["accuracy"] for trial in self.front if trial["gflops"] <= gflops), default=0.0)


def main() -> None:
    """Runs the searches that the store lacks, prints and writes the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="searches of each kind")
    parser.add_argument("--minutes", type=float, default=20.0, help="of each search")
    parser.add_argument("--budget-gflops", type=float, default=2.0)
    parser.add_argument("--trials", type=int, default=200, help="more than the minutes suffice for")
    parser.add_argument("--only", choices=list(ARMS), help="run one kind alone; the tables have both")
    parser.add_argument("--store", type=Path, default=Path("init-shared"), help="folder of finished runs")
    parser.add_argument("--out", type=Path, help="Markdown file; it is printed anyway")
    given, options = parser.parse_known_args()
    common = [
        *("--budget-gflops", f"{given.budget_gflops:g}", "--max-minutes", f"{given.minutes:g}"),
        *("--trials", str(given.trials), *options),
    ]
    given.store.mkdir(parents=True, exist_ok=True)
    for arm, seed in order(given.seeds):
        path = file_of(given.store, arm, seed)
        if not path.exists() and given.only in (None, arm):
            keep(path, searched(arm, seed, common))
    found = stored(given.store, given.seeds)
    text = report(found, common)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


def order(seeds: int) -> list[tuple[str, int]]:
    """Kinds and seeds in the order in which they run: who is first alternates."""
    arms = list(ARMS)
    return [(arm, seed) for seed in range(seeds) for arm in (arms if seed % 2 == 0 else arms[::-1])]


def file_of(store: Path, arm: str, seed: int) -> Path:
    """Where a finished run is kept."""
    return store / f"{arm}-{seed}.json"


def keep(path: Path, run: Run) -> None:
    """Writes a finished run, whole or not at all."""
    part = path.with_suffix(".part")
    value = {"minutes": run.minutes, "gib": run.gib, "document": run.document}
    part.write_text(json.dumps(value), encoding="utf-8")
    part.replace(path)


def stored(store: Path, seeds: int) -> list[Run]:
    """The runs that are there, in the order of their seeds."""
    return [
        Run(arm=arm, seed=seed, **json.loads(file_of(store, arm, seed).read_text(encoding="utf-8")))
        for seed in range(seeds)
        for arm in ARMS
        if file_of(store, arm, seed).exists()
    ]


def searched(arm: str, seed: int, common: Sequence[str]) -> Run:
    """One search in a folder of its own."""
    arguments = ["search", *common, "--seed", str(seed), *ARMS[arm], "--json"]
    with tempfile.TemporaryDirectory(prefix="octnas-init-") as folder:
        answer = answer_of(arguments, Path(folder))
    run = Run(
        arm=arm,
        seed=seed,
        minutes=answer.seconds / 60,
        gib=answer.memory.bytes / 2**30,
        document=answer.document,
    )
    print(
        f"{arm}, seed {seed}: hypervolume {run.hypervolume:.4f}, {run.minutes:.1f} minutes", file=sys.stderr
    )
    return run


# -------------------------------------------------------------------- what is read off
def paired(found: Sequence[Run]) -> list[tuple[Run, Run]]:
    """(from scratch, with shared weights) of each seed that has both."""
    by: Mapping[tuple[str, int], Run] = {(run.arm, run.seed): run for run in found}
    seeds = sorted({run.seed for run in found})
    return [
        (by["scratch", seed], by["shared", seed])
        for seed in seeds
        if ("scratch", seed) in by and ("shared", seed) in by
    ]


def t_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of independent differences, by Student's t; None for fewer than two."""
    from scipy.stats import t

    if len(differences) < 2:
        return None
    mean = statistics.fmean(differences)
    half = float(t.ppf(0.975, len(differences) - 1)) * statistics.stdev(differences) / len(differences) ** 0.5
    return mean - half, mean + half


def difference_words(differences: Sequence[float]) -> str:
    """For instance "+0.0123, 95 % t interval -0.0100 to +0.0346 (3 seeds)"."""
    if not differences:
        return "no seed has both runs"
    interval = t_interval(differences)
    words = "no interval" if interval is None else f"95 % t interval {interval[0]:+.4f} to {interval[1]:+.4f}"
    return f"{statistics.fmean(differences):+.4f}, {words} ({len(differences)} seeds)"


def report(found: Sequence[Run], common: Sequence[str]) -> str:
    """The Markdown."""
    memory = memory_gib()
    machine = [f"{processor()}, {usable_cores()} cores"]
    machine += [] if memory is None else [f"{memory:.0f} GiB"]
    machine.append(f"GPU: {', '.join(gpus()) or 'none'}")
    head = (
        f"`octnas search {' '.join(common)} --seed SEED --json`, from scratch and with `--init shared`, on "
        f"{', '.join(machine)}; octnas {__version__}, {versions('torch', 'ray', 'optuna')}."
    )
    differences = [shared.hypervolume - scratch.hypervolume for scratch, shared in paired(found)]
    paragraphs = [
        head,
        runs_table(found),
        f"Hypervolume with shared weights less from scratch, by seed: {difference_words(differences)}.",
        "Highest accuracy of each front at a cost or less:",
        below_table(found),
        "Fronts, accuracies of trainings from scratch:",
        fronts_table(found),
    ]
    return "\n\n".join(paragraphs)


def runs_table(found: Sequence[Run]) -> str:
    """One row a search."""
    rows = [
        [
            str(run.seed),
            run.arm,
            f"{run.hypervolume:.4f}",
            str(len(run.front)),
            f"{run.count('complete')} / {run.count('stopped')} / {run.count('failed')}",
            str(run.scored or "-"),
            agreement(run),
            f"{run.minutes:.1f}",
            f"{run.gib:.1f}",
        ]
        for run in found
    ]
    header = [
        "seed",
        "weights",
        "hypervolume",
        "on the front",
        "complete / stopped / failed",
        "scored",
        "tau of scores",
        "minutes",
        "peak memory, GiB",
    ]
    return table(header, rows)


def agreement(run: Run) -> str:
    """Kendall's tau of shared scores with this search's own trainings."""
    found = (run.document.get("shared") or {}).get("agreement") or {}
    if found.get("tau") is None:
        return "-"
    interval = found.get("tau_interval")
    return f"{found['tau']:.2f}" + ("" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})")


def below_table(found: Sequence[Run]) -> str:
    """Accuracy at costs between the cheapest and the dearest member of any front."""
    costs = [trial["gflops"] for run in found for trial in run.front]
    if not costs:
        return "no front"
    least, most = min(costs), max(costs)
    places = [least + (most - least) * part / 5 for part in range(1, 6)]
    rows = []
    for arm in ARMS:
        runs = [run for run in found if run.arm == arm]
        if runs:
            means = [statistics.fmean(run.best_below(place) for run in runs) for place in places]
            rows.append([f"{arm}, mean of {len(runs)}", *(f"{100 * mean:.2f} %" for mean in means)])
    return table(["weights", *(f"{place:.3f} GFLOPs" for place in places)], rows)


def fronts_table(found: Sequence[Run]) -> str:
    """One row a member."""
    rows = [
        [
            str(run.seed),
            run.arm,
            f"{trial['gflops']:.3f}",
            f"{100 * trial['accuracy']:.2f} %",
            "-" if trial.get("shared_accuracy") is None else f"{100 * trial['shared_accuracy']:.2f} %",
            trial["backbone"],
            trial["yardstick"] or "",
        ]
        for run in found
        for trial in run.front
    ]
    return table(["seed", "weights", "GFLOPs", "accuracy", "shared score", "backbone", "yardstick"], rows)


if __name__ == "__main__":
    main()
