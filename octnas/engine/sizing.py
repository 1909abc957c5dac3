"""`dry_run`: what a search would have to choose from, and how long it might take. Trains nothing to keep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from octnas.engine.budgets import admitted_budgets
from octnas.engine.checks import DEFAULT_SCORE, admitted_space, check_numbers, check_start, load_data
from octnas.engine.confirm import DEFAULT_CONFIRM, MOST
from octnas.engine.evaluate import scores_of
from octnas.engine.initial import KINDS, check_init
from octnas.engine.inputs import check_kind, check_networks, network_options
from octnas.engine.rungs import rung_levels
from octnas.engine.sizing_shared import shared_seconds, shortened
from octnas.engine.yardsticks import choose_yardsticks
from octnas.errors import BudgetError
from octnas.front.describe import network_lines
from octnas.space import Feasible, Latencies, SearchSpace

if TYPE_CHECKING:
    from octnas.costs.latency import DeviceProfile
    from octnas.data import ImageSet

__all__ = ["TIMED_STEPS", "Pace", "Workload", "dry_run", "unreachable"]

TIMED_STEPS = 4
"""Training steps that are timed for each backbone, after as many to warm up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds that the proxy of one backbone takes on this machine."""

    until: tuple[float, ...]
    """From the start of a training to each of its scores; the last is the whole training."""
    test: float
    """For the score on the test images; 0 without any."""
    memory_mb: float = 0.0
    """10^6 bytes that a training takes at most: on a GPU its tensors, else its whole process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a search is going to train, and with how many workers."""

    candidates: int
    yardsticks: tuple[str, ...]
    """The backbone of each."""
    confirm: int
    """Seeds with which up to `MOST` trials are trained again."""
    levels: tuple[int, ...]
    """The rungs, in scores, ascending."""
    eta: int
    """Of n candidates that reach a rung, n // eta go on, at least one."""
    workers: int
    """Trainings at once."""

    @property
    def confirming(self) -> int:
        """Confirming trainings at most."""
        return self.confirm * min(MOST, self.candidates + len(self.yardsticks))

    def seconds(self, paces: Mapping[str, Pace]) -> dict[str, float]:
        """Wall-clock: `search_seconds` if nothing is stopped early, `search_seconds_with_rungs` if at every
        rung no more than n // eta go on, and `confirm_seconds`, a part of both.

        Backbones are taken to be tried and confirmed equally often. Work is handed out to whoever is free,
        which takes at most work / workers + (1 - 1 / workers) x the longest training (Graham 1966).
        """
        whole = {backbone: pace.until[-1] for backbone, pace in paces.items()}
        mean = [sum(each) / len(paces) for each in zip(*(p.until for p in paces.values()), strict=True)]
        yardsticks = sum(whole[backbone] for backbone in self.yardsticks)
        reached, stopped = self.candidates, 0.0
        for level in self.levels:
            promoted = max(min(1, reached), reached // self.eta)  # the best of a few goes on in any case
            stopped += (reached - promoted) * mean[level - 1]
            reached = promoted
        longest = max(whole.values())
        tested = mean[-1] + sum(pace.test for pace in paces.values()) / len(paces)
        confirming = self._wall_clock(self.confirming * tested, longest) if self.confirming else 0.0
        return {
            "search_seconds": self._wall_clock(self.candidates * mean[-1] + yardsticks, longest) + confirming,
            "search_seconds_with_rungs": self._wall_clock(stopped + reached * mean[-1] + yardsticks, longest)
            + confirming,
            "confirm_seconds": confirming,
        }

    def _wall_clock(self, work: float, longest: float) -> float:
        return work / self.workers + (1 - 1 / self.workers) * longest


def dry_run(
    space: str | os.PathLike[str] | SearchSpace = "imagenet-2d",
    *,
    budget_gflops: float | None = None,
    budget_ms: float | None = None,
    objective: str | None = None,
    profile: DeviceProfile | str | os.PathLike[str] | None = None,
    backbones: str | Sequence[str] | None = None,
    data: str | None = None,
    trials: int = 24,
    confirm: int = DEFAULT_CONFIRM,
    cpus_per_trial: float = 1,
    gpus_per_trial: float | None = None,
    cluster: str | None = None,
    init: str = "scratch",
    score: int | None = None,
    fine_tune: int | None = None,
    supernet: str | None = None,
    estimate: bool = True,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Size of the space, its costs, and what the budgets admit; JSON values.

    Args:
        budget_gflops, budget_ms, objective, profile: as for `octnas.engine.search`; a profile is measured
            where latency is asked for and there is none.
        confirm: seeds with which a search would train the winner and what it is compared with again.
        cluster: as for `octnas.engine.search`. It is not joined: the estimate is for this machine alone, with
            as many trials at once as it takes by default.
        init, score, fine_tune, supernet: as for `octnas.engine.search`.
        estimate: also time a few training steps of each backbone's proxy on this machine, where the budget is
            reachable.
        note: called with a line before anything that takes over a second.

    Returns:
        `space`, `size`, `gflops` (min, median, max of the whole space), `feasible_share` (0 to 1),
        `reachable`, `budget_gflops`, and where it is reachable `feasible` (size, backbones, gflops) and
        `yardsticks` (label, backbone, gflops, within_budget). Where latency is predicted also `budget_ms`,
        `objective`, `device`, and `latency_ms` beside every `gflops`; `feasible` then says in `estimated`
        whether its size and share are estimates. With `estimate` also `estimate`:
        `training_seconds` and `peak_memory_mb` (10^6 bytes) of a training by backbone, the three figures of
        `Workload.seconds`, `trainings` (candidates, yardsticks, confirming), `workers`, and `cpu_hours` and
        `gpu_hours` that the workers hold in `search_seconds` (a GPU that is shared counts by its share). With
        shared weights also `supernet_seconds` by backbone, `scoring_seconds`, `scored` (architectures) and
        `shared_seconds`, which is a part of both figures of the search.

    Raises:
        OctnasError: there is no such space, backbone or data set, the data are of the wrong kind, no budget,
            one that is no finite number, or a profile of another device.
    """
    check_numbers(trials=trials, max_minutes=None, seed=0, confirm=confirm)
    check_start(init=init, score=score, fine_tune=fine_tune, supernet=supernet)
    searched, _ = admitted_space(space, backbones=backbones, data=data)
    check_kind(searched)
    if init not in KINDS:  # nothing is downloaded here
        check_init(init, searched, load_data(searched))
    proxy = searched.proxy
    shape = [*(() if proxy.frames is None else (proxy.frames,)), proxy.input_size, proxy.input_size]
    for text in network_lines({**network_options(searched), "input_shape": shape}):
        note(text)
    budgets = admitted_budgets(
        searched, budget_gflops=budget_gflops, budget_ms=budget_ms, objective=objective, profile=profile
    )
    if budgets.unmeasured:
        budgets = budgets.measured(searched, note)
    for text in budgets.notes():
        note(text)
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
        "budget_gflops": budgets.gflops,
    }
    if budgets.profile is not None:
        report |= {
            "budget_ms": budgets.ms,
            "objective": budgets.objective,
            "device": budgets.profile.device,
            "latency_ms": Latencies(searched, budgets.profile).spread()._asdict(),
        }
    try:
        feasible = budgets.feasible(searched)
    except BudgetError as error:
        return {**report, "reason": str(error)}
    yardsticks = choose_yardsticks(searched, feasible, trials=trials)
    report |= {
        "feasible_share": feasible.share(),
        "reachable": True,
        "feasible": {
            "size": feasible.size,
            "backbones": list(feasible.backbones),
            "gflops": feasible.spread("gflops")._asdict(),
        },
        "yardsticks": [
            {
                "label": each.label,
                "backbone": each.architecture.backbone,
                "gflops": searched.gflops(each.architecture),
                "within_budget": feasible.within(each.architecture),
            }
            for each in yardsticks
        ],
    }
    if budgets.profile is not None:
        timed = {"latency_ms": feasible.spread("latency")._asdict(), "estimated": feasible.estimated}
        report["feasible"] |= timed
        for row, each in zip(report["yardsticks"], yardsticks, strict=True):
            row["latency_ms"] = feasible.latency_ms(each.architecture)
    if estimate:
        reserved = sum(feasible.contains(each.architecture) for each in yardsticks)
        report["estimate"] = _estimate(
            searched,
            feasible,
            candidates=min(trials, max(0, int(feasible.size) - reserved)),
            yardsticks=tuple(each.architecture.backbone for each in yardsticks),
            confirm=confirm,
            cpus_per_trial=cpus_per_trial if cluster is None else 1,
            gpus_per_trial=gpus_per_trial if cluster is None else None,
            score=(score or DEFAULT_SCORE) if init == "shared" else 0,
            fine_tune=fine_tune,
            lent=supernet is not None,
            note=note,
        )
    return report


def unreachable(report: Mapping[str, Any]) -> BudgetError:
    """The error that goes with a report whose budget is not reachable."""
    return BudgetError(str(report["reason"]))


def _estimate(
    space: SearchSpace,
    feasible: Feasible,
    *,
    candidates: int,
    yardsticks: tuple[str, ...],
    confirm: int,
    cpus_per_trial: float,
    gpus_per_trial: float | None,
    score: int,
    fine_tune: int | None,
    lent: bool,
    note: Callable[[str], None],
) -> dict[str, Any]:
    note("timing a few training steps of each backbone on this machine")
    noted = time.monotonic()
    images = load_data(space)
    check_networks(space, images)
    from octnas.engine.workers import plan_workers

    workers = plan_workers(cpus_per_trial, gpus_per_trial)
    rungs, scores = space.proxy.rungs, fine_tune or scores_of(space.proxy)
    workload = Workload(
        candidates=candidates,
        yardsticks=yardsticks,
        confirm=confirm,
        levels=rung_levels(min_epochs=rungs.min_epochs, eta=rungs.eta, max_epochs=scores),
        eta=rungs.eta,
        workers=workers.count,
    )
    paces: dict[str, Pace] = {}
    for backbone in feasible.backbones:
        if time.monotonic() - noted > 1:
            note(f"timing {backbone}, {len(paces) + 1} of {len(feasible.backbones)}")
            noted = time.monotonic()
        paces[backbone] = _pace(space, feasible, images, backbone, threads=workers.cpus)
    if fine_tune is not None:
        paces = shortened(paces, fine_tune)
    seconds = workload.seconds(paces)
    shared: dict[str, Any] = {}
    if score:
        shared = shared_seconds(feasible, images, score=score, lent=lent, workers=workers, note=note)
        for name in ("search_seconds", "search_seconds_with_rungs"):
            seconds[name] += shared["shared_seconds"]
    hours = seconds["search_seconds"] * workers.count / 3600
    return {
        "training_seconds": {name: round(pace.until[-1], 2) for name, pace in paces.items()},
        "peak_memory_mb": {name: round(pace.memory_mb) for name, pace in paces.items()},
        **{name: round(value, 1) for name, value in seconds.items()},
        **shared,
        "trainings": {
            "candidates": candidates,
            "yardsticks": len(yardsticks),
            "confirming": workload.confirming,
        },
        "workers": workers.count,
        "cpu_hours": round(hours * workers.cpus, 4),
        "gpu_hours": round(hours * workers.gpus, 4),
    }


def _pace(space: SearchSpace, feasible: Feasible, images: ImageSet, backbone: str, *, threads: int) -> Pace:
    """Times a few steps and the validation of one batch, and reckons with the proxy's settings."""
    from octnas.train import ProxyTraining, choose_device, settings_from_proxy
    from octnas.train.memory import PeakMemory

    whole = settings_from_proxy(space.proxy, images)
    short = replace(
        whole,
        epochs=None,
        steps=2 * TIMED_STEPS,
        evaluations=2,
        val_images=min(whole.val_batch_size, len(images.val)),
        threads=threads,
    )
    architecture = space.proxy_architecture(feasible.sample(np.random.default_rng(0), backbone))
    training = ProxyTraining(architecture, images, short, seed=0)
    memory = PeakMemory(choose_device(short.device))
    training.run_epoch()
    timed = training.run_epoch()
    step = timed.train_seconds / TIMED_STEPS
    scored = (timed.seconds - timed.train_seconds) / min(whole.val_batch_size, len(images.val))
    bounds = whole.step_bounds(min(len(images.train), whole.train_images or len(images.train)))
    part = whole.val_images or len(images.val)
    validated = [part * n for n in range(1, len(bounds))]
    validated.append(part * (len(bounds) - 1) + len(images.val))
    return Pace(
        until=tuple(steps * step + count * scored for steps, count in zip(bounds, validated, strict=True)),
        test=0.0 if images.test is None else len(images.test) * scored,
        memory_mb=memory.megabytes(),
    )
