"""Which regression orders architectures that it did not see best? Kendall's tau, as Markdown tables.

    python benchmarks/predictor.py --out predictor.md
    python benchmarks/predictor.py --run NAME

Problems: the table of real trainings (learned from one seed's accuracies, judged by the other's), the
objective by formula with four backbones and an alpha a layer (learned with noise, judged by the formula),
and with `--run` the shared scores of a search (accuracies, and losses with their sign changed), judged by
what was held out. For each replication so many architectures are drawn to learn from; tau is of all others.

Contenders: ridge regression on backbone, cost, alphas, their squares and products of neighbours (penalty by
leave-one-out); gradient boosting and extra trees on backbone, cost and alphas; kernel ridge (Gaussian, by
cross-validation) and octnas's own Gaussian process (`octnas.engine.regression`) on its rows; and backbone
and GFLOPs alone. "held out" is what octnas's predictor says of itself, by cross-validation on what it learns
from.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from main_job import table
from replay import Table
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.model_selection import GridSearchCV
from synthetic import Synthetic

from octnas.architecture import Architecture
from octnas.engine.predictor import Predictor
from octnas.engine.regression import _compute, _Rows
from octnas.front.correlation import kendall
from octnas.record import RunFolder, shared_scores
from octnas.space import SearchSpace, parse_space

TABLE = Path(__file__).with_name("tabulated") / "two-backbones.parquet"
NOISE = 0.002
"""Standard deviation of the scores that are learned from on the formula: shared scores have no seed of their
own, and are of thousands of images."""
OTHERS = 1500
"""Architectures of the formula's space that judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is learned from (`seen`) and what judges (`truth`), of the same architectures."""

    name: str
    space: SearchSpace
    architectures: Sequence[Architecture]
    seen: np.ndarray
    truth: np.ndarray
    counts: Sequence[int]
    """Architectures to learn from."""


Fitted = Callable[[Sequence[Architecture]], np.ndarray]
Contender = Callable[[SearchSpace, Sequence[Architecture], np.ndarray], Fitted]


def on(
    columns: Callable[[SearchSpace, Sequence[Architecture]], np.ndarray], model: Callable[[], Any]
) -> Contender:
    """A model of scikit-learn on columns that need no fit."""

    def fit(space: SearchSpace, known: Sequence[Architecture], y: np.ndarray) -> Fitted:
        fitted = model().fit(columns(space, known), (y - y.mean()) / y.std())
        return lambda others: fitted.predict(columns(space, others))

    return fit


def alphas(space: SearchSpace, architectures: Sequence[Architecture]) -> np.ndarray:
    """Which backbone, GFLOPs, and the alphas of the layers in turn, 0 behind the last."""
    width = max(len(space.members(name).slots) for name in space.backbones)
    own = np.zeros((len(architectures), width))
    for row, each in enumerate(architectures):
        slots = space.members(each.backbone).slots
        own[row, : len(slots)] = [each.low_channels[slot.index] / slot.channels for slot in slots]
    return np.column_stack([_compute(space, architectures), own])


def squares(space: SearchSpace, architectures: Sequence[Architecture]) -> np.ndarray:
    """The same with squares and products of neighbours, each backbone's in columns of its own."""
    plain = alphas(space, architectures)
    first = len(space.backbones)
    own = plain[:, first + 1 :]
    own = np.column_stack([own, own**2, own[:, 1:] * own[:, :-1]])
    return np.column_stack([plain[:, : first + 1], *(plain[:, [i]] * own for i in range(first))])


def scaled_ridge() -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))


def kernel_ridge(space: SearchSpace, known: Sequence[Architecture], y: np.ndarray) -> Fitted:
    rows = _Rows(space, known)
    grid = {"alpha": [0.03, 0.1, 0.3, 1, 3], "gamma": [0.01, 0.03, 0.1, 0.3]}
    model = GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=5).fit(rows(known), (y - y.mean()) / y.std())
    return lambda others: model.predict(rows(others))


CONTENDERS: dict[str, Contender] = {
    "backbone and GFLOPs alone": on(_compute, LinearRegression),
    "ridge": on(squares, scaled_ridge),
    "gradient boosting": on(
        alphas,
        lambda: GradientBoostingRegressor(
            n_estimators=200, max_depth=3, learning_rate=0.05, subsample=0.7, random_state=0
        ),
    ),
    "extra trees": on(
        alphas, lambda: ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.5, random_state=0)
    ),
    "kernel ridge": kernel_ridge,
}
OURS = "Gaussian process (octnas)"


def tabulated() -> Problem:
    """Both seeds of every architecture of the table."""
    trained = Table(TABLE)
    known = [each for name in trained.space.backbones for each in _members(trained, name)]
    seeds = [[next(_last(trained, each, seed)) for each in known] for seed in (0, 1)]
    return Problem(
        name="accuracies of trainings (table)",
        space=trained.space,
        architectures=known,
        seen=np.array(seeds[0]),
        truth=np.array(seeds[1]),
        counts=(80, 160),
    )


def _members(trained: Table, backbone: str) -> list[Architecture]:
    walked = trained.space.feasible(1e3).walk(backbone, np.random.default_rng(0))
    return [each for each in walked if each.digest in trained._trainings]


def _last(trained: Table, architecture: Architecture, seed: int) -> Any:
    yield trained._trainings[architecture.digest][seed][-1]["accuracy"]


def formula() -> Problem:
    """Draws over all costs."""
    problem = Synthetic("synthetic-four")
    feasible, rng = problem.space.feasible(problem.budget_gflops), np.random.default_rng(0)
    drawn = list(dict.fromkeys(feasible.sample(rng) for _ in range(OTHERS + 1100)))
    truth = np.array([problem.truth(each) for each in drawn])
    seen = truth + NOISE * rng.standard_normal(len(truth))
    return Problem(
        name="formula, four backbones",
        space=problem.space,
        architectures=drawn,
        seen=seen,
        truth=truth,
        counts=(200, 900),
    )


def of_run(name: str) -> list[Problem]:
    """Shared scores; two thirds are learned from."""
    run = RunFolder.open(name)
    scores = shared_scores(run.journal.read())
    values = {"accuracies": [each.accuracy for each in scores], "losses": [-each.loss for each in scores]}
    return [
        Problem(
            name=f"shared {what} of {name}",
            space=parse_space(run.header.space_yaml),
            architectures=[each.architecture for each in scores],
            seen=np.array(value),
            truth=np.array(value),
            counts=(len(scores) // 3, 2 * len(scores) // 3),
        )
        for what, value in values.items()
    ]


def rows_of(problem: Problem, replications: int) -> list[list[str]]:
    """A row for each contender and count."""
    rows = []
    for count in problem.counts:
        taus: dict[str, list[float]] = {}
        for seed in range(replications):
            order = np.random.default_rng(seed).permutation(len(problem.architectures))
            seen, judged = order[:count], order[count : count + OTHERS]
            known = [problem.architectures[i] for i in seen]
            others = [problem.architectures[i] for i in judged]
            for name in (*CONTENDERS, OURS):
                if name == OURS:
                    predictor = Predictor(problem.space, seed=seed)
                    predictor.fit(known, problem.seen[seen].tolist())
                    found = predictor.predict(others)
                    taus.setdefault("held out", []).append(predictor.held_out.tau or 0.0)
                else:
                    found = CONTENDERS[name](problem.space, known, problem.seen[seen])(others)
                taus.setdefault(name, []).append(kendall(found, problem.truth[judged]) or 0.0)
        for name in (*CONTENDERS, OURS):
            error = np.std(taus[name], ddof=1) / len(taus[name]) ** 0.5 if replications > 1 else float("nan")
            held = f"{np.mean(taus['held out']):.3f}" if name == OURS else ""
            figures = [f"{np.mean(taus[name]):.3f} ± {error:.3f}", held]
            rows.append([problem.name, str(count), name, *figures])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", help="a search whose shared scores are learned from too")
    parser.add_argument("--replications", type=int, default=10)
    parser.add_argument("--out", type=Path, help="a Markdown file")
    options = parser.parse_args()
    problems = [tabulated(), formula(), *(of_run(options.run) if options.run else [])]
    rows = [row for problem in problems for row in rows_of(problem, options.replications)]
    heads = [
        "scores",
        "learned from",
        "regression",
        "tau of the others (± standard error)",
        "held out",
    ]
    text = table(heads, rows)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
