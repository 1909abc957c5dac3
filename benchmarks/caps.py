"""What a search loses by the caps that keep its driver's work from growing: hypervolume with and without.

    OMP_NUM_THREADS=1 python benchmarks/caps.py --epochs 1200 --seeds 5 --out caps.md

Beyond 1,000 architectures our own sampler knows them by sums and packed, TPE looks at about 400 trials,
NSGA-II at 1,000, and a rung compares its 1,000 latest. Here the caps are a small part of the trials of a
search, `--cap`, against no caps at all, on objectives by formula (`synthetic.py`); the same seeds for both.
Hypervolume is of the true accuracies of what was trained to the end, as a share of the best front known, with
the reference of `search_quality.py`. The interval is 95 %, of the mean difference over seeds (Student's t).
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
from contenders import METHODS, run
from machine import processor, versions
from main_job import table
from problem import hypervolume
from synthetic import SYNTHETIC, Synthetic

from octnas import __version__
from octnas.engine.optuna_adapter import Proposer
from octnas.engine.rungs import Rungs
from octnas.machine import usable_cores

NO_CAP = 10**9


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problem", default="synthetic-resnet50", choices=list(SYNTHETIC))
    parser.add_argument("--methods", default="thompson + rungs,tpe + rungs", help="commas between")
    parser.add_argument("--epochs", type=int, default=1200, help="that a search may spend")
    parser.add_argument("--cap", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    rows = []
    for method in given.methods.split(","):
        shares: dict[int, list[float]] = {given.cap: [], NO_CAP: []}
        trained: list[int] = []
        for seed in range(given.seeds):
            for cap, found in shares.items():
                share, count = reached(given, method, seed, cap)
                found.append(share)
                trained.append(count)
        rows.append((method, f"{statistics.mean(trained):.0f}", *compared(shares[given.cap], shares[NO_CAP])))
    head = (
        f"`OMP_NUM_THREADS=1 python benchmarks/caps.py --problem {given.problem} --methods "
        f"{given.methods!r} --epochs {given.epochs} --cap {given.cap} --seeds {given.seeds} --workers "
        f"{given.workers}` on {processor()}, {usable_cores()} cores; octnas {__version__}, "
        f"{versions('numpy', 'optuna')}."
    )
    columns = ("method", "trained to the end", "with the cap", "without", "difference", "95 % interval")
    text = f"{head}\n\n{table(columns, rows)}"
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


def reached(given: argparse.Namespace, method: str, seed: int, cap: int) -> tuple[float, int]:
    """The share of the best front's hypervolume, and how many were trained to the end."""
    for function, names in ((Proposer.__init__, ("rows", "shown")), (Rungs.__init__, ("window",))):
        assert function.__kwdefaults__ is not None
        function.__kwdefaults__.update(dict.fromkeys(names, cap))
    problem = Synthetic(given.problem, seed)
    trained = run(problem, METHODS[method], seed=seed, epochs=given.epochs, workers=given.workers)
    points = np.array([(each.gflops, each.truth) for each in trained])
    corner = {"budget": problem.budget_gflops, "reference": problem.reference}
    share = hypervolume(points, **corner) / hypervolume(problem.best, **corner)
    print(f"{method}, seed {seed}, cap {cap}: {share:.4f} of {len(trained)}", flush=True)
    return share, len(trained)


def compared(capped: list[float], free: list[float]) -> tuple[str, ...]:
    """Means, their difference and its interval, in percent."""
    from scipy.stats import t

    differences = 100 * (np.array(capped) - np.array(free))
    count = len(differences)
    half = (
        float(t.ppf(0.975, count - 1) * differences.std(ddof=1) / count**0.5) if count > 1 else float("nan")
    )
    mean = float(differences.mean())
    return (
        f"{100 * statistics.mean(capped):.2f} %",
        f"{100 * statistics.mean(free):.2f} %",
        f"{mean:+.2f}",
        f"{mean - half:+.2f} to {mean + half:+.2f}",
    )


if __name__ == "__main__":
    main()
