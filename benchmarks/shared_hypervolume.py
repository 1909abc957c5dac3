"""The table of `shared_weights.py` on hypervolume: what shared weights find for their compute.

All hypervolumes are shares of the true front's, of a front that a method's own scores choose, valued at the
truth; they count processor seconds of one thread.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from main_job import table as markdown
from numpy.typing import NDArray
from pieces import Row
from problem import hypervolume
from readings import at, estimate
from replay import Table
from shared_readings import (
    Steps,
    chosen,
    finalists,
    interval_text,
    scored_in_turn,
    seconds_to_equal,
    share_of_theirs,
)
from shared_runs import Scratch, Search, Supernet, shared_scores_of

from octnas.architecture import Architecture
from octnas.front.smoothing import smoothed
from octnas.record import SharedScore

__all__ = ["paces", "search_text"]

RANK_BY = ("accuracy", "loss")
SCORED = (40, 80, 160)
"""Members that are scored where a front is chosen by shared scores alone; and all of them."""
TRAININGS = (12, 24, 48, 96, 192)
"""Of the search from scratch, at which the compute of shared weights is read."""
Rows = Mapping[str, Row]
Floats = NDArray[np.float64]


def search_text(
    table: Table,
    supernets: Sequence[Supernet],
    scratch: Sequence[Scratch],
    searches: Sequence[Search],
    done: Rows,
) -> str:
    """Hypervolume against processor seconds, from scratch and with shared weights."""
    pace = paces(table, scratch, done)
    budget, reference = table.budget_gflops, table.reference
    whole = hypervolume(table.best, budget=budget, reference=reference)
    plain = [_replayed(done[each.key]["trained"], pace, budget, reference, whole) for each in searches]
    seeds = sorted({each.seed for each in supernets})
    before = {
        seed: sum(
            done[each.key]["train_seconds"] + done[each.key]["score_seconds"]
            for each in supernets
            if each.seed == seed
        )
        for seed in seeds
    }
    shared = shared_scores_of(supernets, done)
    ours: dict[str, list[Steps]] = {}
    for number, rank_by in product(range(len(searches)), RANK_BY):
        seed = seeds[number % len(seeds)]
        steps = shared_search(
            table,
            shared[seed],
            pace,
            rank_by=rank_by,
            first=before[seed],
            replication=number,
            whole=whole,
        )
        ours.setdefault(rank_by, []).append(steps)
    mean_training = float(np.mean([each.seconds[-1] / len(each.seconds) for each in plain]))
    grid = np.linspace(0, max(float(each.seconds[-1]) for of in (plain, *ours.values()) for each in of), 2000)
    rows = []
    for trainings in TRAININGS:
        seconds = trainings * mean_training
        row = [str(trainings), f"{seconds:.0f}", interval_text(estimate(_after(plain, seconds)), 3)]
        for steps in ours.values():
            ratio = seconds_to_equal(steps, plain, seconds=seconds, grid=grid)
            row += [interval_text(estimate(_after(steps, seconds)), 3), interval_text(ratio)]
        rows.append(row)
    head = (
        f"**{table.name}: hypervolume for the compute**, as a share of the true front's (reference "
        f"{budget:.3f} GFLOPs, {100 * reference:.2f} %), of the front that from-scratch accuracies choose. "
        f"{len(plain)} replications. {table.describe()}. From scratch, all members trained once: "
        f"{interval_text(estimate([float(each.values[-1]) for each in plain]), 3)}."
    )
    first = statistics.fmean(before.values())
    factors = ", ".join(f"{name} {value:.2f}" for name, value in pace.items())
    again = [done[each.key] for each in scratch]
    same = sum(row["accuracy"] == row["table_accuracy"] for row in again)
    tail = (
        f"Shared weights and the scores of all {table.size} members take {first:.0f} s, "
        f"{first / mean_training:.1f} trainings from scratch of {mean_training:.1f} s ({factors} of the "
        f"table's seconds, by {len(again)} trainings done again, of which {same} have the table's accuracy "
        "bit for bit)."
    )
    header = ["trainings from scratch", "processor seconds", "thompson from scratch"]
    for name in ours:
        header += [f"shared {name}, same seconds", f"compute to equal, by {name}"]
    alone = alone_text(table, supernets, plain, done, grid=grid, whole=whole)
    return "\n\n".join([head, markdown(header, rows), tail, alone])


def alone_text(
    table: Table,
    supernets: Sequence[Supernet],
    plain: Sequence[Steps],
    done: Rows,
    *,
    grid: Floats,
    whole: float,
) -> str:
    """Fronts that shared scores choose by themselves, of as many members as a search was told to score."""
    feasible = table.space.feasible(table.budget_gflops)
    shared = shared_scores_of(supernets, done)
    seeds = sorted(shared)
    training = {
        seed: sum(done[each.key]["train_seconds"] for each in supernets if each.seed == seed)
        for seed in seeds
    }
    a_score = {
        (each.seed, each.backbone): done[each.key]["score_seconds"] / len(done[each.key]["scores"])
        for each in supernets
    }
    rows = []
    for count in (*(each for each in SCORED if each < table.size), table.size):
        seconds, values = [], []
        for number in range(len(plain)):
            seed = seeds[number % len(seeds)]
            scores = scored_in_turn(
                feasible, lambda each, own=shared[seed]: _score(each, own), total=count, seed=number
            )
            truth = np.array(
                [[table.space.gflops(each.architecture), table.truth(each.architecture)] for each in scores]
            )
            seen = np.column_stack((truth[:, 0], smoothed(scores)))
            limits = {"budget": table.budget_gflops, "reference": table.reference}
            values.append(chosen(truth, seen, **limits) / whole)
            spent = sum(a_score[seed, each.architecture.backbone] for each in scores)
            seconds.append(training[seed] + spent)
        mean = statistics.fmean(seconds)
        share = share_of_theirs(seconds, values, plain, grid=grid)
        rows.append(
            [
                str(count),
                f"{mean:.0f}",
                interval_text(estimate(values), 3),
                interval_text(estimate(_after(plain, mean)), 3),
                interval_text(share)
                if share.value
                else f"never as good ({share.low:.2f} to {share.high:.2f})",
            ]
        )
    header = [
        "members scored",
        "processor seconds",
        "shared scores alone",
        "thompson from scratch, same seconds",
        "share of the compute from scratch to equal (0: never as good)",
    ]
    return (
        "Fronts that shared scores choose by themselves, nothing trained from scratch, of the members that a "
        f"search would score (its own order), by smoothed losses:\n\n{markdown(header, rows)}"
    )


def paces(table: Table, scratch: Sequence[Scratch], done: Rows) -> dict[str, float]:
    """Seconds of a training now over the table's, by backbone."""
    found: dict[str, list[tuple[float, float]]] = {}
    for each in scratch:
        row = done[each.key]
        backbone = table.architecture(each.digest).backbone
        found.setdefault(backbone, []).append((row["seconds"], row["table_seconds"]))
    return {
        name: sum(now for now, _ in pairs) / sum(then for _, then in pairs) for name, pairs in found.items()
    }


def _after(steps: Sequence[Steps], seconds: float) -> list[float]:
    """What each search has after so many seconds."""
    return [float(at(each.seconds, each.values, np.array([seconds]))[0]) for each in steps]


def _replayed(
    trained: Sequence[Sequence[Any]], pace: Mapping[str, float], budget: float, reference: float, whole: float
) -> Steps:
    """A search from scratch: rows of (gflops, truth, seen, backbone, seconds)."""
    truth = np.array([row[:2] for row in trained])
    seen = np.array([[row[0], row[2]] for row in trained])
    seconds = np.cumsum([row[4] * pace[row[3]] for row in trained])
    values = [
        chosen(truth[:count], seen[:count], budget=budget, reference=reference) / whole
        for count in range(1, len(trained) + 1)
    ]
    return Steps(seconds=seconds, values=np.array(values))


def shared_search(
    table: Table,
    shared: Mapping[str, tuple[float, float]],
    pace: Mapping[str, float],
    *,
    rank_by: str,
    first: float,
    replication: int,
    whole: float,
) -> Steps:
    """Shared weights: all members scored, then trained from scratch by promise.

    Args:
        rank_by: "accuracy" or "loss": what shared scores and trainings are compared by when finalists are
            chosen. Accuracies choose the front.
        first: seconds before the first training from scratch.
    """
    space = table.space
    members = [each for backbone in space.backbones for each in table.of(backbone)]
    scores = [_score(each, shared) for each in members]
    limits = {"budget": table.budget_gflops, "reference": table.reference}
    runs = {each.digest: list(table.scores(each, replication)) for each in members}
    points: list[tuple[float, float, float]] = []
    seconds, values = [], []
    spent = first
    for each in finalists(
        space.feasible(table.budget_gflops),
        scores,
        lambda each: runs[each.digest][-1],
        rank_by=rank_by,
        count=TRAININGS[-1],
    ):
        run = runs[each.digest]
        spent += pace[each.backbone] * sum(score.seconds for score in run)
        points.append((space.gflops(each), table.truth(each), run[-1].accuracy))
        found = np.array(points)
        seconds.append(spent)
        values.append(chosen(found[:, :2], found[:, ::2], **limits) / whole)
    return Steps(seconds=np.array(seconds), values=np.array(values))


def _score(architecture: Architecture, shared: Mapping[str, tuple[float, float]]) -> SharedScore:
    accuracy, loss = shared[architecture.digest]
    return SharedScore(architecture=architecture, accuracy=accuracy, loss=loss)
