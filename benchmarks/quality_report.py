"""The text of `search_quality.py`: tables of one problem, and the sentences that its numbers allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from contenders import METHODS
from quality_results import STRAIGHT, Results, Target
from readings import Curve, Estimate, at, estimate, mean_over, median, ratio_of_medians

from octnas.engine.samplers import DEFAULT_SAMPLER

__all__ = ["problem_text", "summary_text"]

RUNGS = " + rungs"


def problem_text(results: Results) -> str:
    """The section of one problem."""
    seeds = max(len(each) for each in results.curves.values())
    lines = [
        f"## {results.name}",
        "",
        f"{results.description}.",
        "",
        f"Budget {results.budget_gflops:.4g} GFLOPs (10^9 multiply-adds); {_members(results.front)} on the "
        f"front. Hypervolume up to the reference point ({results.budget_gflops:.4g} GFLOPs, "
        f"{_accuracies(results.references)}, the lowest true accuracy), as a share of the front's. {seeds} "
        f"replication seeds, {results.epochs} epochs each, {results.training} to a training.",
        "",
    ]
    if results.ceiling:
        ceiling = estimate(results.ceiling)
        lines += [
            "Noise ceiling: where every member within the budget was trained once, the front chosen by those "
            f"scores has {_interval(ceiling)} of the true front's hypervolume (mean over "
            f"{len(results.ceiling)} draws of seeds; a single draw from {min(results.ceiling):.3f} to "
            f"{max(results.ceiling):.3f}).",
            "",
        ]
    lines += [
        *(line for target in results.targets for line in _speed(results, target)),
        f"`> {results.epochs}`: half or more of the searches were not there when the epochs were spent. "
        "`<=`: the one that it is compared with was not there, and counts with all epochs.",
        "",
    ]
    header = ["method", *(f"{count} epochs" for count in results.counts), "mean over all epochs"]
    for reading, title in (
        ("found", "Found: the true hypervolume of all that was trained to the end"),
        ("chosen", "Chosen: the true hypervolume of the front that the search's own scores choose"),
    ):
        rows = []
        for name, curves in results.curves.items():
            area = estimate(
                [mean_over(each.epochs, getattr(each, reading), results.epochs) for each in curves]
            )
            after = [_at_count(curves, reading, count) for count in results.counts]
            rows.append([name, *(_interval(each) for each in (*after, area))])
        lines += [f"{title}, means and 95 % intervals.", "", *_table(header, rows), ""]
    lines += [verdict(results), ""]
    return "\n".join(lines)


def verdict(results: Results) -> str:
    """Which search of octnas is best here, and which is no better than random."""
    best = results.best
    if best is None or STRAIGHT not in results.curves:
        return "Without a search of octnas and random straight there is nothing to compare."
    sentences = [
        f"**{best}** found most on average over all epochs, {np.mean(results.areas[best]):.3f} "
        f"({STRAIGHT}: {np.mean(results.areas[STRAIGHT]):.3f})."
    ]
    level = [name for name in results.engine if name != best and results.lead(best, name).low <= 0]
    if level:
        sentences.append(f"Not told apart from it: {_listed(level)}.")
    behind = [name for name in results.engine if results.lead(name, STRAIGHT).low <= 0]
    if behind:
        worse = [name for name in behind if results.lead(name, STRAIGHT).high < 0]
        sentences.append(f"Not shown to beat {STRAIGHT}: {_listed(behind)}" + _worse(worse) + ".")
    else:
        sentences.append(f"Every search of octnas beats {STRAIGHT}.")
    for suffix in ("", RUNGS):
        own = f"random stratified{suffix}"
        rivals = [
            name
            for name in results.engine
            if METHODS[name].rungs == bool(suffix) and METHODS[name].sampler != "random"
        ]
        if own in results.curves and rivals:
            behind = [name for name in rivals if results.lead(name, own).low <= 0]
            worse = [name for name in behind if results.lead(name, own).high < 0]
            sentences.append(
                f"Not shown to beat {own}: {_listed(behind)}" + _worse(worse) + "."
                if behind
                else f"Of those {'with' if suffix else 'without'} rungs every one beats {own}."
            )
    sentences += [_aims(results, target) for target in results.targets]
    return " ".join(sentences)


def summary_text(every: Sequence[Results]) -> str:
    """One table over all problems, and the sampler that the numbers make the default."""
    shared = [name for name in METHODS if all(name in results.curves for results in every)]
    rows = []
    for name in shared:
        means = [float(np.mean(results.areas[name])) for results in every]
        rows.append([name, *(f"{mean:.3f}" for mean in (*means, np.mean(means)))])
    lines = [
        "## All problems",
        "",
        "Found on average over all epochs, as a share of the true front's hypervolume.",
        "",
        *_table(["method", *(results.name for results in every), "mean"], rows),
        "",
    ]
    engine = [name for name in shared if METHODS[name].kind == "engine"]
    if engine:
        best = max(engine, key=lambda name: np.mean([np.mean(results.areas[name]) for results in every]))
        won = [results.name for results in every if results.best == best]
        lines += [
            f"Best of octnas over all problems: **{best}**, which is first on {len(won)} of {len(every)}"
            + (f" ({', '.join(won)})" if won else "")
            + ".",
            "",
        ]
    return "\n".join(lines)


def _aims(results: Results, target: Target) -> str:
    """Whether a third of random search's epochs are enough, and half of plain Optuna's: of octnas's default
    and of its fastest search."""
    fastest = min(results.engine, key=lambda name: (target.median(name), name != results.best))
    sentences = []
    for name in dict.fromkeys((f"{DEFAULT_SAMPLER}{RUNGS}", fastest)):
        if name not in target.needed:
            continue
        if math.isinf(target.median(name)):
            sentences.append(f"{name} did not get to {target.words} in half of its searches.")
            continue
        parts = []
        for rival, aim, words in (
            (STRAIGHT, 1 / 3, "a third or less"),
            (results.plain_optuna(target), 1 / 2, "half or less"),
        ):
            if rival is not None and rival in target.needed:
                ratio = ratio_of_medians(target.needed[name], target.needed[rival], cut=results.epochs)
                met = "met by the median only" if ratio.value <= aim else "not met"
                met = "met" if ratio.high <= aim else met
                text = _ratio(ratio, censored=math.isinf(target.median(rival)))
                parts.append(f"{text} of {rival}'s (aim: {words}, {met})")
        sentences.append(f"Epochs of {name} to {target.words}: {'; '.join(parts)}.")
    return " ".join(sentences)


def _speed(results: Results, target: Target) -> list[str]:
    """The table of the epochs needed to get to a target."""
    plain = results.plain_optuna(target)
    rivals = [name for name in (STRAIGHT, plain) if name is not None and name in results.curves]
    rows = []
    for name in results.curves:
        row = [name, _epochs(estimate(target.needed[name], median), results.epochs)]
        for rival in rivals:
            ratio = ratio_of_medians(target.needed[name], target.needed[rival], cut=results.epochs)
            row.append("-" if rival == name else _ratio(ratio, censored=math.isinf(target.median(rival))))
        rows.append(row)
    header = ["method", "epochs", *(f"of {rival}'s" for rival in rivals)]
    return [f"Epochs to {target.words}, medians and 95 % intervals.", "", *_table(header, rows), ""]


def _at_count(curves: Sequence[Curve], reading: str, count: int) -> Estimate:
    grid = np.array([count])
    return estimate([float(at(each.epochs, getattr(each, reading), grid)[0]) for each in curves])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _interval(value: Estimate) -> str:
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


def _epochs(value: Estimate, cut: int) -> str:
    def spelled(number: float) -> str:
        return f"> {cut}" if math.isinf(number) else f"{number:.0f}"

    if math.isinf(value.low):
        return spelled(value.value)
    return f"{spelled(value.value)} ({spelled(value.low)} to {spelled(value.high)})"


def _ratio(value: Estimate, *, censored: bool) -> str:
    if math.isinf(value.value):
        return "not there"
    high = "not there" if math.isinf(value.high) else f"{value.high:.2f}"
    return f"{'<= ' if censored else ''}{value.value:.2f} ({value.low:.2f} to {high})"


def _members(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low} members" if low == high else f"{low} to {high} members"


def _accuracies(values: Sequence[float]) -> str:
    low, high = 100 * min(values), 100 * max(values)
    if len(values) == 1:
        return f"{low:.2f} %"
    return f"{low:.2f} to {high:.2f} %, by objective"


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names)


def _worse(names: Sequence[str]) -> str:
    return f" (worse than it: {_listed(names)})" if names else ""
