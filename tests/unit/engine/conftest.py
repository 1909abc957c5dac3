"""A small space, a run folder in a temporary home, and a campaign without any workers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from octnas.engine.campaign import Campaign, TimeLimit
from octnas.engine.events import Listener
from octnas.engine.optuna_adapter import Proposer
from octnas.engine.rungs import Rungs, rung_levels
from octnas.engine.yardsticks import choose_yardsticks
from octnas.record import RunFolder, SearchHeader
from octnas.space import SearchSpace, parse_space

sys.path.insert(0, str(Path(__file__).parents[2]))  # the stand-ins of tests/fakes.py

SPACE = """
name: tiny
description: two small backbones
granularity: stage
alphas: [0, 0.25, 0.5, 0.75]
backbones: [resnet18, resnet26]
target: {input_size: 32, channels: 1, classes: 10, width: 16, stem: small}
proxy: {data: fashion-sample, width: 16, epochs: 9, rungs: {eta: 3, min_epochs: 1}}
"""

MakeCampaign = Callable[..., Campaign]


@pytest.fixture
def space() -> SearchSpace:
    return parse_space(SPACE)


@pytest.fixture
def runs_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def make_campaign(runs_home: Path) -> MakeCampaign:
    """A campaign of a new run, or (`run=`) of one that goes on; as `octnas.engine.session` makes it."""

    def make(
        space: SearchSpace,
        *,
        budget: float = 0.04,
        trials: int = 12,
        sampler: str = "tpe",
        seed: int = 0,
        run: RunFolder | None = None,
        limit: TimeLimit | None = None,
        clock: Callable[[], float] = lambda: 0.0,
        listeners: tuple[Listener, ...] = (),
    ) -> Campaign:
        feasible = space.feasible(budget)
        if run is None:
            header = SearchHeader(
                name="run",
                space_yaml=space.to_yaml(),
                budget_gflops=budget,
                trials=trials,
                seed=seed,
                data=space.proxy.data,
                sampler=sampler,
                yardsticks=choose_yardsticks(space, feasible, trials=trials),
            )
            run = RunFolder.create("run", header)
        header, records = run.header, run.records()
        proxy = space.proxy
        levels = rung_levels(
            min_epochs=proxy.rungs.min_epochs, eta=proxy.rungs.eta, max_epochs=proxy.epochs or 1
        )
        rungs = Rungs(levels, eta=proxy.rungs.eta, rank_by=proxy.rank_by)
        rungs.replay(records)
        proposer = Proposer(
            feasible,
            sampler=header.sampler,
            seed=header.seed,
            rank_by=proxy.rank_by,
            reserved=[each.architecture for each in header.yardsticks],
            records=records,
        )
        return Campaign(
            run, space=space, proposer=proposer, rungs=rungs, limit=limit, clock=clock, listeners=listeners
        )

    return make
