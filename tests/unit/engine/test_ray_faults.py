"""What is made of an error that a trial of Tune's ended with, on a cluster that is made up."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from octnas.engine import ray_faults as module
from octnas.engine.losses import RETRIES
from octnas.engine.ray_faults import MOST_UNPLACED, Faults, every_loss_told
from octnas.errors import RunError

# isort: split
# `octnas.engine.ray_session`, which these import, sets what Ray reads when it is imported.
import ray
from ray.air.execution._internal.actor_manager import RayActorManager


class Driver:
    fault: BaseException | None = None

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str, kind: Any = "note") -> None:
        self.notes.append(text)


class Cluster:
    def __init__(self) -> None:
        self.held: list[str] = []

    def hold(self, node: str) -> bool:
        self.held.append(node)
        return True


@pytest.fixture(autouse=True)
def nodes(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Nodes that are up; actor "x" ran on node "a", and so on."""
    up = {"a", "b"}
    monkeypatch.setattr(module, "nodes_alive", lambda: up)
    monkeypatch.setattr(module, "name_of_node", str)
    monkeypatch.setattr(module, "node_of_actor", {"x": "a", "y": "b"}.get)
    return up


def ended_with(faults: Faults, error: BaseException | str, folder: Path) -> bool:
    """Whether the job of a trial that ended so is begun again; one that Tune does not pickle is a text."""
    pickled = folder / "error.pkl"
    if isinstance(error, str):
        (folder / "error.txt").write_text(error)
        trial = SimpleNamespace(trial_id="t", pickled_error_file=None, error_file=str(folder / "error.txt"))
    else:
        pickled.write_bytes(pickle.dumps(error))
        trial = SimpleNamespace(trial_id="t", pickled_error_file=str(pickled))
    faults.errored(trial)
    return faults.again("t", "1")


def init_failed(actor: str | None) -> ray.exceptions.RayActorError:
    return ray.exceptions.RayActorError(actor, "no module named torch", actor_init_failed=True)


def test_a_node_on_which_workers_do_not_start_is_held_by_what_the_error_knows(tmp_path: Path) -> None:
    driver, cluster = Driver(), Cluster()
    assert ended_with(Faults(driver, cluster), init_failed("y"), tmp_path)
    assert cluster.held == ["b"]
    assert "node b gets no trials, since no module named torch" in driver.notes[0]


@pytest.mark.parametrize(
    "error", [init_failed(None), "Failure # 1\nruntime_env setup failed: disk is full\n"]
)
@pytest.mark.parametrize("cluster", [None, Cluster()])
def test_workers_that_never_start_end_the_search_and_fail_no_trial(
    error: BaseException | str, cluster: Cluster | None, tmp_path: Path
) -> None:
    driver = Driver()
    faults = Faults(driver, cluster)
    for _ in range(MOST_UNPLACED):
        assert ended_with(faults, error, tmp_path)
        assert driver.fault is None
    assert ended_with(faults, error, tmp_path)
    assert isinstance(driver.fault, RunError)
    reason = "disk is full" if isinstance(error, str) else "no module named torch"
    assert reason in str(driver.fault)


def test_a_worker_that_starts_again_is_no_trouble(tmp_path: Path) -> None:
    driver = Driver()
    faults = Faults(driver, None)
    for _ in range(3):
        for _ in range(MOST_UNPLACED):
            ended_with(faults, init_failed(None), tmp_path)
        faults.ended("t", "1")
    assert driver.fault is None


def test_a_node_that_goes_while_its_worker_starts_counts_against_no_trial(
    nodes: set[str], tmp_path: Path
) -> None:
    faults = Faults(Driver(), Cluster())
    nodes.remove("b")
    died = ray.exceptions.RayActorError("y", "the node is gone")
    assert all(ended_with(faults, died, tmp_path) for _ in range(3 * RETRIES))


def test_what_ray_kills_to_save_memory_is_a_worker_that_died() -> None:
    heard: list[BaseException] = []
    task = SimpleNamespace(
        _tracked_actor=SimpleNamespace(actor_id=1, _on_error=None),
        _on_error=lambda actor, error: heard.append(error),
    )
    manager = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None)
    killed = ray.exceptions.OutOfMemoryError("the node is low on memory")
    with every_loss_told():
        RayActorManager._actor_task_failed(manager, task, killed)
    assert isinstance(heard[0], ray.exceptions.RayActorError)
    assert "low on memory" in str(heard[0])
    with pytest.raises(RuntimeError, match="unexpected"):  # as Ray has it
        RayActorManager._actor_task_failed(manager, task, killed)
