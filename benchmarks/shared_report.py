"""The tables of `shared_weights.py`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from main_job import table as markdown
from numpy.typing import NDArray
from pieces import Row
from problem import hypervolume
from readings import Estimate, at, estimate
from replay import Table
from shared_costs import Memory, Throughput
from shared_readings import Steps, chosen, finalists, mean_tau, seconds_to_equal
from shared_runs import Scratch, Search, Supernet, Warm

from octnas.architecture import Architecture
from octnas.front.correlation import ceiling
from octnas.record import SharedScore

__all__ = ["memory_text", "rank_text", "search_text", "throughput_text"]

RANK_BY = ("accuracy", "loss")
TRAININGS = (12, 24, 48, 96, 192)
"""Of the search from scratch, at which the compute of shared weights is read."""
Rows = Mapping[str, Row]
Floats = NDArray[np.float64]


# -------------------------------------------------------------------- rank
def rank_text(table: Table, supernets: Sequence[Supernet], warm: Sequence[Warm], done: Rows) -> str:
    """Taus over the architectures that were trained from shared weights, and over all members."""
    picked = [table.architecture(digest) for digest in dict.fromkeys(each.digest for each in warm)]
    every = [each for backbone in table.space.backbones for each in table.of(backbone)]
    seeds = sorted({each.seed for each in supernets})
    recipe = supernets[0]
    parts = [
        f"**{table.name}: rank correlation** (Kendall's tau) with the mean of the table's seeds. Shared "
        f"weights of {recipe.length:g} trainings' length; {recipe.randoms} random after plain or cheapest, "
        + (f"in one step, distillation {recipe.distill:g}." if recipe.together else "in turn.")
    ]
    shared = _shared(supernets, done)
    for title, members in (
        (f"{len(picked)} architectures, evenly through the costs of each backbone", picked),
        (f"all {len(every)} members within the budget", every),
    ):
        methods: dict[str, Callable[[Architecture, int], float]] = {
            "shared accuracy": lambda each, seed: shared[seed][each.digest][0],
            "shared loss": lambda each, seed: -shared[seed][each.digest][1],
            "shared accuracy, mean of the seeds": lambda each, seed: float(
                np.mean([shared[seed][each.digest][0] for seed in seeds])
            ),
        }
        if members is picked:
            rows = {(each.digest, each.supernet.seed): done[each.key] for each in warm}
            name = f"from shared weights, {warm[0].epochs} of {table.epochs} epochs"
            methods[name] = lambda each, seed, rows=rows: rows[each.digest, seed]["accuracy"]
            methods[f"{name}, loss"] = lambda each, seed, rows=rows: -rows[each.digest, seed]["loss"]
        methods["GFLOPs alone"] = lambda each, seed: table.space.gflops(each)
        parts += [f"{title}:", _taus(table, members, seeds, methods)]
    seconds = {
        backbone: statistics.fmean(
            done[each.key]["train_seconds"] for each in supernets if each.backbone == backbone
        )
        for backbone in table.space.backbones
    }
    cost = {
        "shared": "training of the shared weights "
        + ", ".join(f"{backbone} {value:.0f} s" for backbone, value in seconds.items()),
        "score": f"a score {_score_seconds(supernets, done):.2f} s",
        "warm": f"a training from them {statistics.fmean(done[each.key]['seconds'] for each in warm):.1f} s",
    }
    parts.append(f"Processor time: {', '.join(cost.values())}.")
    return "\n\n".join(parts)


def _taus(
    table: Table,
    members: Sequence[Architecture],
    seeds: Sequence[int],
    methods: Mapping[str, Callable[[Architecture, int], float]],
) -> str:
    groups = {
        backbone: [each for each in members if each.backbone == backbone]
        for backbone in table.space.backbones
    }
    groups = {name: own for name, own in groups.items() if own} | {"all": list(members)}
    ceilings = {name: _ceiling(table, own) for name, own in groups.items()}
    rows = [
        [
            "ceiling by the table's seed noise",
            *("-" if each is None else f"{each:.2f}" for each in ceilings.values()),
        ],
        ["one training against another", *(_another(table, own) for own in groups.values())],
    ]
    for name, method in methods.items():
        cells = []
        for group, own in groups.items():
            scores = np.array([[method(each, seed) for each in own] for seed in seeds])
            found = mean_tau(scores, np.array([table.truth(each) for each in own]))
            top = ceilings[group]
            share = "" if not top else f", {found.value / top:.2f} of the ceiling"
            cells.append(f"{_interval(found)}{share}")
        rows.append([name, *cells])
    return markdown(["score", *(f"{name} ({len(own)})" for name, own in groups.items())], rows)


def _accuracies(table: Table, members: Sequence[Architecture]) -> Floats:
    """(A, S): last accuracies of as many seeds as every member has."""
    each = [[rows[-1]["accuracy"] for rows in table.trainings(member)] for member in members]
    least = min(len(row) for row in each)
    return np.array([row[:least] for row in each])


def _ceiling(table: Table, members: Sequence[Architecture]) -> float | None:
    found = ceiling(_accuracies(table, members))
    return None if found is None else found.tau


def _another(table: Table, members: Sequence[Architecture]) -> str:
    scores = _accuracies(table, members)
    return "-" if scores.shape[1] < 2 else _interval(mean_tau(scores[:, :1].T, scores[:, 1]))


def _shared(supernets: Sequence[Supernet], done: Rows) -> dict[int, dict[str, tuple[float, float]]]:
    """By seed and digest, over all backbones."""
    found: dict[int, dict[str, tuple[float, float]]] = {}
    for each in supernets:
        found.setdefault(each.seed, {}).update(done[each.key]["scores"])
    return found


def _score_seconds(supernets: Sequence[Supernet], done: Rows) -> float:
    rows = [done[each.key] for each in supernets]
    return float(sum(row["score_seconds"] for row in rows) / sum(len(row["scores"]) for row in rows))


# -------------------------------------------------------------------- search
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
    shared = _shared(supernets, done)
    ours: dict[str, list[Steps]] = {}
    unaided: dict[str, list[float]] = {}
    for number, rank_by in product(range(len(searches)), RANK_BY):
        seed = seeds[number % len(seeds)]
        steps, alone = shared_search(
            table,
            shared[seed],
            pace,
            rank_by=rank_by,
            first=before[seed],
            replication=number,
            whole=whole,
        )
        ours.setdefault(rank_by, []).append(steps)
        unaided.setdefault(rank_by, []).append(alone)
    mean_training = float(np.mean([each.seconds[-1] / len(each.seconds) for each in plain]))
    grid = np.linspace(0, max(float(each.seconds[-1]) for of in (plain, *ours.values()) for each in of), 2000)
    rows = []
    for trainings in TRAININGS:
        seconds = trainings * mean_training
        row = [str(trainings), f"{seconds:.0f}", _interval(estimate(_after(plain, seconds)), 3)]
        for steps in ours.values():
            ratio = seconds_to_equal(steps, plain, seconds=seconds, grid=grid)
            row += [_interval(estimate(_after(steps, seconds)), 3), _interval(ratio)]
        rows.append(row)
    head = (
        f"**{table.name}: hypervolume for the compute**, as a share of the true front's (reference "
        f"{budget:.3f} GFLOPs, {100 * reference:.2f} %), of the front that from-scratch accuracies choose. "
        f"{len(plain)} replications. {table.describe()}. From scratch, all members trained once: "
        f"{_interval(estimate([float(each.values[-1]) for each in plain]), 3)}."
    )
    first = statistics.fmean(before.values())
    factors = ", ".join(f"{name} {value:.2f}" for name, value in pace.items())
    again = [done[each.key] for each in scratch]
    same = sum(row["accuracy"] == row["table_accuracy"] for row in again)
    tail = (
        f"Shared weights and the scores of all {table.size} members take {first:.0f} s, "
        f"{first / mean_training:.1f} trainings from scratch of {mean_training:.1f} s ({factors} of the "
        f"table's seconds, by {len(again)} trainings done again, of which {same} have the table's accuracy "
        f"bit for bit). A front chosen by shared scores alone has "
        + ", ".join(f"{_interval(estimate(of), 3)} by {name}" for name, of in unaided.items())
        + "."
    )
    header = ["trainings from scratch", "processor seconds", "thompson from scratch"]
    for name in ours:
        header += [f"shared {name}, same seconds", f"compute to equal, by {name}"]
    return "\n\n".join([head, markdown(header, rows), tail])


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
) -> tuple[Steps, float]:
    """Shared weights: all members scored, then trained from scratch by promise; and the hypervolume of the
    front that the shared scores choose by themselves.

    Args:
        rank_by: "accuracy" or "loss": what shared scores and trainings are compared by when finalists are
            chosen. Accuracies choose the front.
        first: seconds before the first training from scratch.
    """
    space = table.space
    members = [each for backbone in space.backbones for each in table.of(backbone)]
    scores = [
        SharedScore(architecture=each, accuracy=shared[each.digest][0], loss=shared[each.digest][1])
        for each in members
    ]
    limits = {"budget": table.budget_gflops, "reference": table.reference}
    truth = np.array([[space.gflops(each), table.truth(each)] for each in members])
    by = [each.accuracy if rank_by == "accuracy" else -each.loss for each in scores]
    seen = np.column_stack((truth[:, 0], by))
    alone = chosen(truth, seen, **limits) / whole
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
    return Steps(seconds=np.array(seconds), values=np.array(values)), alone


# -------------------------------------------------------------------- throughput, memory
def throughput_text(pieces: Sequence[Throughput], done: Rows) -> str:
    """Seconds of a score by backbone, and what 1,000 take."""
    first = pieces[0]
    workers = len({each.worker for each in pieces})
    rows, means = [], []
    for backbone in dict.fromkeys(each.backbone for each in pieces):
        seconds = [done[each.key]["seconds"] for each in pieces if each.backbone == backbone]
        means.append(statistics.fmean(seconds))
        rows.append(
            [
                backbone,
                f"{means[-1]:.2f}",
                f"{60 * workers / means[-1]:.0f}",
                f"{1000 * means[-1] / workers / 60:.1f}",
            ]
        )
    mean = statistics.fmean(means)
    rows.append(
        [
            "all in equal parts",
            f"{mean:.2f}",
            f"{60 * workers / mean:.0f}",
            f"{1000 * mean / workers / 60:.1f}",
        ]
    )
    row = done[first.key]
    head = (
        f"**Throughput** in `{first.space}` at {first.budget_gflops:g} GFLOPs: {row['calibration']} training "
        f"images for the statistics, {row['images']} validation images; {workers} processes at a time, "
        f"{first.count} architectures each."
    )
    header = ["backbone", "seconds a score", f"scores a minute, {workers} processes", "minutes for 1,000"]
    return f"{head}\n\n{markdown(header, rows)}"


def memory_text(pieces: Sequence[Memory], done: Rows) -> str:
    """Peaks by backbone, medians over the repeats."""
    rows = []
    for backbone in dict.fromkeys(each.backbone for each in pieces):
        peaks, befores = (
            [
                statistics.median(
                    done[each.key][key]
                    for each in pieces
                    if each.backbone == backbone and each.shared is shared
                )
                for shared in (False, True)
            ]
            for key in ("peak", "before")
        )
        added = [peak - before for peak, before in zip(peaks, befores, strict=True)]
        rows.append(
            [
                backbone,
                *(f"{peak:.0f}" for peak in peaks),
                f"{peaks[1] / peaks[0]:.3f}",
                *(f"{value:.0f}" for value in added),
            ]
        )
    first = pieces[0]
    repeats = len({each.repeat for each in pieces})
    head = (
        f"**Memory** of a training process in `{first.space}`, MB (10^6 bytes) resident at most in "
        f"{first.steps} steps of {done[first.key]['batch_size']} images and a score; medians of {repeats}. "
        "Libraries and data are in it; beside it what the training added to them."
    )
    header = [
        "backbone",
        "one network",
        "shared weights",
        "ratio",
        "added by one network",
        "added by shared weights",
    ]
    return f"{head}\n\n{markdown(header, rows)}"


def _interval(found: Estimate, digits: int = 2) -> str:
    def number(value: float) -> str:
        return f"{value:.{digits}f}" if np.isfinite(value) else "not there"

    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"
