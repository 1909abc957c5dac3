"""Tables of `shared_weights.py`: rank correlations, throughput, memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from main_job import table as markdown
from numpy.typing import NDArray
from pieces import Row
from replay import Table
from shared_costs import Memory, Throughput
from shared_readings import interval_text, mean_tau
from shared_runs import Supernet, Warm, shared_scores_of

from octnas.architecture import Architecture
from octnas.front.correlation import ceiling
from octnas.front.smoothing import smoothed
from octnas.record import SharedScore

__all__ = ["memory_text", "rank_text", "throughput_text"]

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
    shared = shared_scores_of(supernets, done)
    smooth = {seed: _smoothed(every, own) for seed, own in shared.items()}
    for title, members in (
        (f"{len(picked)} architectures, evenly through the costs of each backbone", picked),
        (f"all {len(every)} members within the budget", every),
    ):
        methods: dict[str, Callable[[Architecture, int], float]] = {
            "shared accuracy": lambda each, seed: shared[seed][each.digest][0],
            "shared loss": lambda each, seed: -shared[seed][each.digest][1],
            "shared, accuracy by loss": lambda each, seed: smooth[seed][each.digest],
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
            cells.append(f"{interval_text(found)}{share}")
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
    return "-" if scores.shape[1] < 2 else interval_text(mean_tau(scores[:, :1].T, scores[:, 1]))


def _smoothed(members: Sequence[Architecture], scores: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """As a search ranks by them, by digest."""
    own = [
        SharedScore(architecture=each, accuracy=scores[each.digest][0], loss=scores[each.digest][1])
        for each in members
    ]
    return dict(zip((each.digest for each in members), smoothed(own), strict=True))


def _score_seconds(supernets: Sequence[Supernet], done: Rows) -> float:
    rows = [done[each.key] for each in supernets]
    return float(sum(row["score_seconds"] for row in rows) / sum(len(row["scores"]) for row in rows))


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
