"""The budgets of a search: which costs are limited, which one accuracy is weighed against, and the profile of
the device that predicts latency."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from octnas.architecture import Downsample
from octnas.costs.profile_file import check_profile, load_profile, save_profile
from octnas.errors import BudgetError, ProfileError, unknown_name
from octnas.record import Objective, RunFolder
from octnas.space import Feasible, SearchSpace

if TYPE_CHECKING:
    from octnas.costs.latency import DeviceProfile

__all__ = [
    "Budgets",
    "admitted_budgets",
    "keep_profile",
    "kept_profile",
    "latency_options",
    "plain_downsample",
]

NOTED = 15.0
"""Seconds between notes of how far a profile is."""
_FILE = "profile.json"

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What a search was asked for, checked."""

    gflops: float | None
    """10^9 multiply-adds of the target network."""
    ms: float | None
    """Predicted milliseconds of the target network."""
    objective: Objective
    profile: DeviceProfile | None = None
    lacking: int = 0
    """Operations of the space that the profile has not measured, and interpolates."""
    from_space: bool = False
    """Whether the budget is the one that the space names, as none was asked for."""

    @property
    def unmeasured(self) -> bool:
        """Whether latency is asked for and no profile predicts it yet."""
        return self.profile is None and (self.ms is not None or self.objective == "latency")

    def feasible(self, space: SearchSpace) -> Feasible:
        """The members of a space within the budgets; of an unmeasured one, within that of GFLOPs.

        Raises:
            BudgetError: there is none.
        """
        if self.unmeasured:
            return space.feasible(space.max_gflops if self.gflops is None else self.gflops)
        return space.feasible(self.gflops, budget_ms=self.ms, profile=self.profile, objective=self.objective)

    def measured(self, space: SearchSpace, note: Note) -> Budgets:
        """The same with a profile of this device, made now and kept in the cache: minutes of measuring."""
        from octnas.timing.profile import profile

        note(
            f"no profile of this device for space {space.name} yet: measuring one, which takes minutes and "
            "is kept (`octnas profile` does the same)"
        )
        noted = time.monotonic()

        def progress(part: str, share: float) -> None:
            nonlocal noted
            if time.monotonic() - noted > NOTED:
                noted = time.monotonic()
                note(f"profile: {100 * share:.0f} % ({part})")

        return replace(self, profile=profile(space, progress=progress))

    def document(self) -> dict[str, Any] | None:
        """Whose latencies the search's are, as its header has it; None without a profile."""
        if self.profile is None:
            return None
        names = ("device", "runtime", "threads", "batch", "digest")
        return {name: getattr(self.profile, name) for name in names}

    def notes(self) -> list[str]:
        """What a user should know about them before anything is trained."""
        if not self.lacking:
            return []
        return [
            f"the profile has not measured {self.lacking} operations of this space and interpolates them: "
            "`octnas profile` with this --space predicts it better"
        ]


def admitted_budgets(
    space: SearchSpace,
    *,
    budget_gflops: float | None,
    budget_ms: float | None,
    objective: str | None,
    profile: DeviceProfile | str | os.PathLike[str] | None,
) -> Budgets:
    """What a search may be asked for. Without any budget the one that the space names is taken.

    Args:
        objective: "gflops" or "latency"; by default the latter where only time is limited.
        profile: of this device, or the file of one; by default the latest one in the cache, where latency is
            asked for and the cache has one.

    Raises:
        BudgetError: neither budget and none of the space's, or one that is no finite number.
        UnknownNameError: no such objective.
        ProfileError: the profile cannot be read, or is of another device than this one.
    """
    from_space = budget_gflops is None and budget_ms is None
    if from_space:
        budget_gflops = space.definition.budget_gflops
    if budget_gflops is None and budget_ms is None:
        raise BudgetError(
            "a search must have a budget, but got none: give --budget-gflops, --budget-ms or both"
        )
    for name, unit, value in (
        ("budget_gflops", "10^9 multiply-adds", budget_gflops),
        ("budget_ms", "milliseconds", budget_ms),
    ):
        if value is not None and not math.isfinite(value):
            raise BudgetError(f"`{name}` must be finite and above 0 ({unit}), but got {value}")
    if objective is not None and objective not in get_args(Objective):
        raise unknown_name("objective", objective, get_args(Objective))
    weighed: Objective = (
        "latency" if objective == "latency" or (objective or budget_gflops) is None else "gflops"
    )
    budgets = Budgets(
        gflops=None if budget_gflops is None else float(budget_gflops),
        ms=None if budget_ms is None else float(budget_ms),
        objective=weighed,
        from_space=from_space,
    )
    if profile is None and not budgets.unmeasured:
        return budgets
    from octnas.timing.profile import cached_profile, space_ops

    if profile is None:
        return replace(budgets, profile=cached_profile(space))
    given = load_profile(os.fspath(profile)) if isinstance(profile, str | os.PathLike) else profile
    check_profile(given)
    lacking = sum(op not in given.times for op in space_ops(space))
    return replace(budgets, profile=given, lacking=lacking)


def plain_downsample(space: SearchSpace) -> Downsample:
    """How the plain network that others are compared with downsamples: pooled, where the space has it."""
    return "pooled" if "pooled" in space.downsample else space.downsample[0]


def keep_profile(run: RunFolder, profile: DeviceProfile | None) -> None:
    """Copies the profile into the run's folder; `resume` predicts by this copy, on whatever device.

    Raises:
        ProfileError: the file cannot be written.
    """
    if profile is not None:
        save_profile(profile, run.path / _FILE)


def kept_profile(run: RunFolder) -> DeviceProfile | None:
    """The profile that a search began with; None where it had none.

    Raises:
        ProfileError: its copy is missing, damaged or another one.
    """
    if run.header.profile is None:
        return None
    path, expected = run.path / _FILE, run.header.profile["digest"]
    try:
        profile = load_profile(path)
        fault = None if profile.digest == expected else f"is another one, {profile.digest}"
    except ProfileError:
        fault = "is missing or damaged"
    if fault is not None:
        raise ProfileError(
            f"{path} must be the profile that {run.name!r} began with, {expected}, but {fault}: restore it, "
            "or search under another name"
        )
    return profile


def latency_options(feasible: Feasible) -> dict[str, dict[str, float]]:
    """For a header's options: what the plain network of each backbone takes; nothing without a profile."""
    if feasible.latencies is None:
        return {}
    way = plain_downsample(feasible.space)
    plain = {name: feasible.latencies.plain_ms(name, way) for name in feasible.space.backbones}
    return {"plain_latency_ms": plain}
