"""`dry_run`: what a search would have to choose from, and how long it might take. Trains nothing to keep."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from octnas.engine.checks import admitted_space, load_data
from octnas.engine.evaluate import scores_of
from octnas.engine.yardsticks import choose_yardsticks
from octnas.errors import BudgetError
from octnas.space import Feasible, SearchSpace

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["dry_run", "dry_run_table", "unreachable"]

TIMED_STEPS = 4
"""Training steps that are timed for each backbone, after as many to warm up."""


def dry_run(
    space: str | os.PathLike[str] | SearchSpace = "imagenet-2d",
    *,
    budget_gflops: float,
    backbones: str | Sequence[str] | None = None,
    data: str | None = None,
    trials: int = 24,
    estimate: bool = False,
) -> dict[str, Any]:
    """Size of the space, its costs, and what the budget admits; JSON values.

    Args:
        estimate: also time a few training steps of each backbone's proxy on this machine.

    Returns:
        `space`, `size`, `gflops` (min, median, max of the whole space), `feasible_share` (0 to 1),
        `reachable`, `budget_gflops`, and where it is reachable `feasible` (size, backbones, gflops) and
        `yardsticks` (label, backbone, gflops, within_budget). With `estimate` also `estimate`: seconds a
        training by backbone and of the whole search where nothing is stopped early.

    Raises:
        OctnasError: there is no such space, backbone or data set, or the budget is not a finite number.
    """
    searched, _ = admitted_space(space, backbones=backbones, data=data)
    if not math.isfinite(budget_gflops):
        raise BudgetError(f"`budget_gflops` must be a finite number, but got {budget_gflops}")
    report: dict[str, Any] = {
        "space": searched.name,
        "size": searched.size(),
        "gflops": {
            "min": searched.min_gflops,
            "median": searched.median_gflops,
            "max": searched.max_gflops,
        },
        "feasible_share": 0.0,
        "reachable": False,
        "budget_gflops": float(budget_gflops),
    }
    try:
        feasible = searched.feasible(budget_gflops)
    except BudgetError as error:
        return {**report, "reason": str(error)}
    yardsticks = choose_yardsticks(searched, feasible, trials=trials)
    report |= {
        "feasible_share": feasible.share(),
        "reachable": True,
        "feasible": {
            "size": feasible.size,
            "backbones": list(feasible.backbones),
            "gflops": {
                "min": feasible.min_gflops,
                "median": feasible.median_gflops,
                "max": feasible.max_gflops,
            },
        },
        "yardsticks": [
            {
                "label": each.label,
                "backbone": each.architecture.backbone,
                "gflops": searched.gflops(each.architecture),
                "within_budget": searched.macs(each.architecture) <= feasible.budget_macs,
            }
            for each in yardsticks
        ],
    }
    if estimate:
        report["estimate"] = _estimate(searched, feasible, trainings=trials + len(yardsticks))
    return report


def unreachable(report: Mapping[str, Any]) -> BudgetError:
    """The error that goes with a report whose budget is not reachable."""
    return BudgetError(str(report["reason"]))


def dry_run_table(report: Mapping[str, Any]) -> Table:
    """The report for a terminal."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.caption = "GFLOPs: 10^9 multiply-adds of the target network"
    table.caption_justify = "left"
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    gflops = report["gflops"]
    rows = {
        "space": report["space"],
        "architectures": f"{report['size']:,}" if report["size"] < 10**9 else f"{report['size']:.3g}",
        "GFLOPs": f"{gflops['min']:.3f} to {gflops['max']:.3f}, median {gflops['median']:.3f}",
        "budget": f"{report['budget_gflops']:g} GFLOPs, {'' if report['reachable'] else 'not '}reachable",
        "within the budget": f"{report['feasible_share']:.3g} of the space",
    }
    if report["reachable"]:
        rows["backbones within it"] = ", ".join(report["feasible"]["backbones"])
        rows["yardsticks"] = "\n".join(
            f"{each['label']} {each['backbone']}, {each['gflops']:.3f} GFLOPs"
            f"{'' if each['within_budget'] else ', over the budget'}"
            for each in report["yardsticks"]
        )
    if "estimate" in report:
        seconds = report["estimate"]["search_seconds"]
        rows["at most about"] = f"{seconds / 60:.0f} min with {report['estimate']['workers']} trials at once"
    for key, value in rows.items():
        table.add_row(key, escape(value))
    return table


def _estimate(space: SearchSpace, feasible: Feasible, *, trainings: int) -> dict[str, Any]:
    from octnas.engine.ray_adapter import plan_workers
    from octnas.train import ProxyTraining, settings_from_proxy

    images = load_data(space)
    whole = settings_from_proxy(space.proxy, images)
    trained = min(len(images.train), whole.train_images or len(images.train))
    workers = plan_workers()
    short = replace(
        whole,
        epochs=None,
        steps=2 * TIMED_STEPS,
        evaluations=2,
        val_images=whole.val_batch_size,
        threads=workers.cpus,
    )
    steps = whole.step_bounds(trained)[-1]
    seconds = {}
    for backbone in feasible.backbones:
        architecture = space.proxy_architecture(feasible.sample(np.random.default_rng(0), backbone))
        training = ProxyTraining(architecture, images, short, seed=0)
        training.run_epoch()
        timed = training.run_epoch()
        validated = (scores_of(space.proxy) - 1) * (whole.val_images or len(images.val)) + len(images.val)
        validation = (timed.seconds - timed.train_seconds) * validated / whole.val_batch_size
        seconds[backbone] = round(steps * timed.train_seconds / TIMED_STEPS + validation, 2)
    mean = sum(seconds.values()) / len(seconds)
    return {
        "training_seconds": seconds,
        "search_seconds": round(mean * trainings / workers.count, 1),
        "workers": workers.count,
    }
