"""The fingerprints of users' networks: a run goes on with the network that it began with, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from record_case import complete, header, running

from octnas.architecture import Architecture
from octnas.backbones import Conv, LayerTable, Plain, families, layer_table
from octnas.errors import RunError
from octnas.record import RunFolder, Yardstick, list_runs, networks
from octnas.record.networks import fingerprint

USERS = "users_networks:plain_parts"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    return tmp_path / "runs"


def changed(table: LayerTable, change: Callable[[Conv | Plain], Conv | Plain]) -> str:
    nodes = [change(node) if isinstance(node, Conv | Plain) else node for node in table.nodes]
    return fingerprint(replace(table, nodes=tuple(nodes)))


def test_a_fingerprint_is_of_the_layers_and_not_of_their_lines() -> None:
    table = layer_table(USERS)
    same = fingerprint(table)
    assert networks([USERS, "resnet18"]) == {USERS: same}
    assert changed(table, lambda node: node) == same
    moved = changed(table, lambda node: replace(node, where="net.py:99") if isinstance(node, Plain) else node)
    assert moved == same
    kernels = changed(table, lambda node: replace(node, kernel=5) if isinstance(node, Conv) else node)
    others = changed(table, lambda node: replace(node, what="Other") if isinstance(node, Plain) else node)
    assert len({same, kernels, others}) == 3


def _run(name: str = "mine", **networks_now: str) -> RunFolder:
    yardstick = Yardstick(label="uniform-0.5", architecture=Architecture.uniform(USERS, alpha=0.5))
    run = RunFolder.create(
        name, header(name, yardsticks=(yardstick,), options={"networks": networks_now or networks([USERS])})
    )
    run.journal.append_trial(complete("1", architecture=yardstick.architecture))
    run.journal.append_trial(running("2", architecture=yardstick.architecture))
    run.journal.append({"event": "end", "state": "interrupted"})
    run.journal.release()
    return run


def test_a_run_is_opened_with_the_network_that_it_began_with() -> None:
    run = RunFolder.open(_run().name)
    assert run.header.yardsticks[0].architecture == run.record("1").architecture


def test_another_network_is_refused_in_one_line_and_its_run_is_listed_and_deleted() -> None:
    _run(**{USERS: "0123456789ab"})
    with pytest.raises(RunError, match=f"{USERS} must be the network that 'mine' began with, .*restore it"):
        RunFolder.open("mine")
    (summary,) = list_runs()
    assert (summary.state, summary.trials, summary.finished, summary.budget_gflops) == (
        "interrupted",
        2,
        1,
        2,
    )
    RunFolder.delete("mine")
    assert list_runs() == []


def test_code_that_is_gone_is_refused_in_one_line_and_its_run_is_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _run()
    families._built.cache_clear()

    def gone(name: str) -> None:
        from octnas.errors import FactoryError

        raise FactoryError(f"{name} is gone")

    monkeypatch.setattr(families, "_elsewhere", [gone])
    with pytest.raises(RunError, match=f"run 'mine' needs the network {USERS}: {USERS} is gone"):
        RunFolder.open("mine")
    assert [each.state for each in list_runs()] == ["interrupted"]
