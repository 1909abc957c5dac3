"""How good is a search for its epochs? octnas's samplers, plain Optuna, random, uniform alphas.

    python benchmarks/search_quality.py --store quality.jsonl --out quality.md --picture quality.png

Problems: tables of real trainings (`tabulated/*.parquet`, replayed) and objectives by formula with tens of
dimensions (`synthetic.py`). For each problem, method and replication seed one search is run until its epochs
are spent:

- thompson, tpe, nsga2, random stratified: octnas's samplers in octnas's engine, with and without rungs, on a
  simulated clock; no yardsticks and no confirmation. "tpe" has one study a backbone and shares trials out by
  promise, "tpe grouped" is one conditional study.
- random straight: a backbone uniformly, then every choice uniformly; what is over the budget is rejected and
  costs nothing, nor does a repetition.
- optuna tpe, optuna nsga2: one study with Optuna's defaults and the budget as a soft constraint. What is over
  the budget is told with its violation and costs nothing; what was trained before is told again for nothing;
  after 3 times as many suggestions as the epochs pay trainings for the study ends.
- uniform alphas: one alpha for the whole network, of all backbones, within the budget.

Two readings of the hypervolume, both of true accuracies: "found" is of all that was trained to the end,
"chosen" of the front that the search would choose by the noisy scores that it saw. The searches are
repeatable: equal arguments and equal code give equal numbers on any machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from contenders import METHODS, Trained, run
from quality_report import problem_text, summary_text
from quality_results import Results
from readings import Curve, curve
from replay import Table
from synthetic import SYNTHETIC, Synthetic

import octnas

HERE = Path(__file__).parent
OBJECTIVES = 5
"""Draws of each synthetic objective; replication seeds take them in turn."""
SYNTHETIC_TRAININGS = 100
"""Whole trainings that the default epochs of a synthetic objective pay for."""
CEILING_DRAWS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One search, or with no method what the report needs to know of an objective."""

    problem: str
    """Path of a table, or name of an objective."""
    budget_share: float
    seed: int
    """Of the replication; of the objective where there is no method."""
    epochs: int = 0
    method: str = ""
    workers: int = 1
    code: str = ""
    """Digest of the code and the table that made the numbers."""

    @property
    def key(self) -> str:
        """Equal for equal tasks."""
        return json.dumps(asdict(self), sort_keys=True)


@lru_cache(maxsize=16)
def problem_of(name: str, budget_share: float, seed: int) -> Table | Synthetic:
    """The problem that a replication seed searches."""
    if name in SYNTHETIC:
        return Synthetic(name, seed % OBJECTIVES)
    return Table(Path(name), budget_share=budget_share)


def work(task: Task) -> dict[str, Any]:
    """Runs a task; the value is JSON."""
    seed = task.seed % OBJECTIVES if task.problem in SYNTHETIC else 0
    problem = problem_of(task.problem, task.budget_share, seed)
    if not task.method:
        return {"best": problem.best.tolist(), "reference": problem.reference}
    trained = run(problem, METHODS[task.method], seed=task.seed, epochs=task.epochs, workers=task.workers)
    return {"trained": [[each.epochs, each.gflops, each.truth, each.seen] for each in trained]}


def stored(path: Path | None) -> dict[str, dict[str, Any]]:
    """The values that a store holds, by their tasks' keys; a line that a death cut off is left out."""
    found: dict[str, dict[str, Any]] = {}
    if path is not None and path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                value = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[value["key"]] = value["value"]
    return found


def done(tasks: Iterable[Task], *, processes: int, store: Path | None) -> dict[str, dict[str, Any]]:
    """The values of all tasks by key: from the store, else run now and put there."""
    values = stored(store)
    waiting = [task for task in tasks if task.key not in values]
    if not waiting:
        return values
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(work, task): task for task in waiting}
        for number, future in enumerate(as_completed(futures), start=1):
            task = futures[future]
            values[task.key] = future.result()
            if store is not None:
                with store.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": task.key, "value": values[task.key]}) + "\n")
            if number % 20 == 0 or number == len(waiting):
                print(f"{number} of {len(waiting)} searches", flush=True)
    return values


def code_digest(*tables: Path) -> str:
    """12 digits of what the numbers depend on: the engine, the space, these scripts, the table."""
    package = Path(octnas.__file__).parent
    sources = [*package.glob("engine/*.py"), *package.glob("space/*.py"), *package.glob("costs/*.py")]
    own = [HERE / f"{name}.py" for name in ("contenders", "problem", "replay", "synthetic")]
    digest = hashlib.sha256()
    for path in sorted([*sources, *own, *tables]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def tasks_of(name: str, given: argparse.Namespace) -> tuple[list[Task], list[Task]]:
    """The searches of one problem, and the tasks that describe its objectives."""
    synthetic = name in SYNTHETIC
    problem = problem_of(name, given.budget_share, 0)
    epochs = given.epochs or problem.epochs * (
        SYNTHETIC_TRAININGS if isinstance(problem, Synthetic) else problem.size
    )
    code = code_digest(*([] if synthetic else [Path(name)]))
    common = {"problem": name, "budget_share": given.budget_share, "code": code}
    searches = [
        Task(method=method, seed=seed, epochs=epochs, workers=given.workers, **common)
        for seed in range(given.seeds)
        for method in given.methods
    ]
    objectives = min(OBJECTIVES, given.seeds) if synthetic else 1
    return searches, [Task(seed=seed, **common) for seed in range(objectives)]


def results_of(
    searches: list[Task], objectives: list[Task], values: dict[str, dict[str, Any]], within: float
) -> Results:
    """Everything that the report and the picture need of one problem."""
    name = searches[0].problem
    problem = problem_of(name, searches[0].budget_share, 0)
    facts = [values[task.key] for task in objectives]
    fronts = [np.array(fact["best"]) for fact in facts]
    curves: dict[str, list[Curve]] = {}
    for task in searches:
        which = task.seed % len(facts)
        trained = [
            Trained(epochs=int(row[0]), gflops=row[1], truth=row[2], seen=row[3])
            for row in values[task.key]["trained"]
        ]
        curves.setdefault(task.method, []).append(
            curve(
                trained,
                best=fronts[which],
                budget=problem.budget_gflops,
                reference=facts[which]["reference"],
            )
        )
    return Results(
        name=problem.name,
        description=problem.describe(),
        budget_gflops=problem.budget_gflops,
        references=tuple(float(fact["reference"]) for fact in facts),
        front=tuple(len(front) for front in fronts),
        epochs=searches[0].epochs,
        training=problem.epochs,
        ceiling=tuple(problem.ceiling(CEILING_DRAWS)),
        curves=curves,
        within=within,
    )


def parsed() -> argparse.Namespace:
    """The arguments, checked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tables = sorted(str(path) for path in (HERE / "tabulated").glob("*.parquet"))
    parser.add_argument(
        "--tables", nargs="*", default=tables, metavar="FILE", help="Parquet; default: all of tabulated/"
    )
    parser.add_argument(
        "--synthetic",
        nargs="*",
        default=list(SYNTHETIC),
        choices=list(SYNTHETIC),
        help="objectives by formula; default: all, none where nothing follows",
    )
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), metavar="NAME", help="; ".join(METHODS)
    )
    parser.add_argument("--seeds", type=int, default=20, help="replications (default: %(default)s)")
    parser.add_argument(
        "--epochs",
        type=int,
        help="epochs of a search; default: of a table what all members within its budget take, of an "
        f"objective what {SYNTHETIC_TRAININGS} trainings take",
    )
    parser.add_argument(
        "--budget-share",
        type=float,
        default=1.0,
        help="a table's budget admits this share of its architectures, the cheapest (default: %(default)s)",
    )
    parser.add_argument(
        "--within",
        type=float,
        default=1.0,
        help="percent of the true front's hypervolume that may be missing (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, default=1, help="simulated workers of octnas's searches")
    parser.add_argument("--processes", type=int, default=2, help="searches at a time (default: %(default)s)")
    parser.add_argument("--store", type=Path, help="JSON lines of finished searches; a cut-off run goes on")
    parser.add_argument("--out", type=Path, help="Markdown file; it is printed anyway")
    parser.add_argument("--picture", type=Path, help="PNG of hypervolume against epochs")
    given = parser.parse_args()
    unknown = [name for name in given.methods if name not in METHODS]
    if unknown:
        parser.error(f"unknown --methods {unknown}; known are {list(METHODS)}")
    if not (given.seeds >= 1 and given.processes >= 1 and given.workers >= 1):
        parser.error("--seeds, --processes and --workers must be 1 or more")
    if not (0 < given.budget_share <= 1 and 0 <= given.within < 100):
        parser.error("0 < --budget-share <= 1 and 0 <= --within < 100 must hold")
    missing = [name for name in given.tables if not Path(name).is_file()]
    if missing:
        parser.error(f"there is no table {', '.join(missing)}")
    if not (given.tables or given.synthetic):
        parser.error("there is no table in tabulated/ and no --synthetic objective: nothing to search")
    return given


def main() -> None:
    """Runs what the store lacks, then prints the report."""
    from machine import versions

    given = parsed()
    plans = [tasks_of(name, given) for name in (*given.tables, *given.synthetic)]
    every = [task for searches, objectives in plans for task in (*objectives, *searches)]
    values = done(every, processes=given.processes, store=given.store)
    results = [results_of(*plan, values, given.within / 100) for plan in plans]
    text = "\n".join(
        [
            f"{given.seeds} replication seeds; intervals are 95 % bootstraps over them. Simulated workers: "
            f"{given.workers}. {versions('octnas', 'optuna', 'moocore', 'numpy')}.",
            "",
            *(problem_text(each) for each in results),
            summary_text(results),
        ]
    )
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    if given.picture:
        from quality_picture import draw

        draw(results, given.picture)


if __name__ == "__main__":
    main()
