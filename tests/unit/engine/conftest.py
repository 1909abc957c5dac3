"""A small space, a run folder in a temporary home, and a campaign without any workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from stand_ins import TINY_SPACE

from octnas.costs.latency import DeviceProfile
from octnas.engine.campaign import Campaign
from octnas.engine.events import Listener
from octnas.engine.limits import TimeLimit
from octnas.engine.run_search import new_campaign
from octnas.engine.yardsticks import choose_yardsticks
from octnas.record import Objective, RunFolder, SearchHeader
from octnas.space import SearchSpace, parse_space

SPACE = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 9, rungs: {eta: 3, min_epochs: 1}}\n"

UNHURRIED = SPACE.replace("min_epochs: 1", "min_epochs: 9")

MakeCampaign = Callable[..., Campaign]


@pytest.fixture
def space() -> SearchSpace:
    return parse_space(SPACE)


@pytest.fixture
def unhurried() -> SearchSpace:
    """The same space without early stopping."""
    return parse_space(UNHURRIED)


@pytest.fixture
def runs_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def make_campaign(runs_home: Path) -> MakeCampaign:
    """A campaign of a new run, or (`run=`) of one that goes on; as a search makes it."""

    def make(
        space: SearchSpace,
        *,
        budget: float | None = 0.04,
        budget_ms: float | None = None,
        objective: Objective = "gflops",
        profile: DeviceProfile | None = None,
        trials: int = 12,
        sampler: str = "tpe",
        seed: int = 0,
        confirm: int = 0,
        run: RunFolder | None = None,
        limit: TimeLimit | None = None,
        clock: Callable[[], float] = lambda: 0.0,
        listeners: tuple[Listener, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Campaign:
        feasible = space.feasible(budget, budget_ms=budget_ms, profile=profile, objective=objective)
        if run is None:
            header = SearchHeader(
                name="run",
                space_yaml=space.to_yaml(),
                budget_gflops=budget,
                budget_ms=budget_ms,
                objective=objective,
                profile=None if profile is None else {"digest": profile.digest},
                trials=trials,
                seed=seed,
                data=space.proxy.data,
                sampler=sampler,
                yardsticks=choose_yardsticks(space, feasible, trials=trials),
                options={"confirm": confirm, **(options or {})},
            )
            run = RunFolder.create("run", header)
        return new_campaign(
            run, space=space, feasible=feasible, limit=limit, clock=clock, listeners=listeners
        )

    return make
