"""What is left of a search that is taken up again, and where it goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from finished_run import finished_run

from octnas.engine.session import _cluster_to_go_on_with, _trials_left

SPACE = """
name: tiny
description: one backbone
granularity: stage
alphas: [0, 0.5]
backbones: [resnet18]
target: {input_size: 32, channels: 1, classes: 10, width: 8, stem: small}
proxy: {data: glyphs, width: 4, stem: small, input_size: 32, epochs: 1}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))


def test_nothing_is_left_of_a_search_that_ended() -> None:
    run = finished_run(SPACE)
    assert _trials_left(run) == 1  # confirmations, or an end that was not written down
    run.journal.append({"event": "end", "state": "interrupted"})
    assert _trials_left(run) == 1
    run.journal.append({"event": "end", "state": "complete"})
    assert _trials_left(run) == 0
    run.journal.append({"event": "resume"})
    assert _trials_left(run) == 1


def test_what_is_left_is_what_is_not_final() -> None:
    run = finished_run(SPACE)
    run.header = dataclasses.replace(run.header, trials=5)
    record = run.records()[0].to_dict()
    for trial_id, state in (("2", "running"), ("3", "paused"), ("4", "running"), ("4", "stopped")):
        run.journal.append({"event": "trial", "trial": {**record, "id": trial_id, "state": state}})
    assert _trials_left(run) == 3


@pytest.mark.parametrize(("asked", "goes_on_with"), [(None, "head:6379"), ("auto", "auto"), ("none", None)])
def test_a_search_goes_on_where_it_is_asked_to(asked: str | None, goes_on_with: str | None) -> None:
    header = dataclasses.replace(finished_run(SPACE).header, options={"cluster": "head:6379"})
    assert _cluster_to_go_on_with(asked, header) == goes_on_with
