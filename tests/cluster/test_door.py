"""What a search looks at when it joins a cluster, and what it refuses before anything is trained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cluster_case import Driver, Place, add_nodes, check_whole
from clusters import LocalCluster, free_port, wait_for

from octnas.cli import app
from octnas.engine import ray_cluster
from octnas.errors import RunError

OLD_TORCH = "torch-2.0.9.dist-info"


def with_old_torch(folder: Path) -> str:
    """A PYTHONPATH on which torch says it is of another version."""
    info = folder / "old" / OLD_TORCH
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.0.9\n", encoding="utf-8")
    return f"{info.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("ray://127.0.0.1:10001", "ray job submit"),
        ("somewhere", "HOST:PORT"),
        (":6379", "HOST:PORT"),
        (f"127.0.0.1:{free_port()}", "no Ray cluster answers"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
    ],
)
def test_an_address_that_cannot_be_joined(address: str, says: str) -> None:
    with pytest.raises(RunError, match=says), ray_cluster.joined(address, cpus=1, gpus=None):
        pass


def test_a_ray_client_in_the_environment_is_no_cluster_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(RunError, match="is a Ray Client"), ray_cluster.joined("auto", cpus=1, gpus=None):
        pass


def test_a_dry_run_joins_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    options = ["--cluster", "auto", "--gpus-per-trial", "0.25", "--storage", "s3://no-such-bucket/octnas"]
    command = ["search", "--budget-gflops", "2.0", "--dry-run", "--no-estimate", "--json", *options]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cluster
def test_a_node_with_other_versions_is_named(cluster: LocalCluster, place: Place, tmp_path: Path) -> None:
    add_nodes(cluster, place, "a")
    add_nodes(cluster, place, "odd", env={"PYTHONPATH": with_old_torch(tmp_path)})
    driver = Driver(place, cluster=cluster.address)
    driver.ended(code=2)
    line = driver.errors.strip().splitlines()[-1]
    assert "torch 2.0.9 (here" in line
    assert "127.0.0.1" in line
    assert not (place.folder / "runs" / "it").exists()
    assert place.trained() == []


@pytest.mark.cluster
def test_a_node_with_other_versions_that_comes_later_gets_no_trials(
    cluster: LocalCluster, place: Place, tmp_path: Path
) -> None:
    add_nodes(cluster, place, "a")
    driver = Driver(place, cluster=cluster.address)
    place.wait_for_nodes("a")
    add_nodes(cluster, place, "odd", env={"PYTHONPATH": with_old_torch(tmp_path)})
    wait_for(lambda: "gets no trials" in driver.errors, "the odd node to be found out", 180)
    check_whole(place, driver.ended())
    assert {epoch.node for epoch in place.trained()} == {"a"}
    assert "gets no trials, since it has torch 2.0.9" in driver.errors


@pytest.mark.cluster
def test_a_node_that_does_not_see_the_runs_needs_storage(cluster: LocalCluster, place: Place) -> None:
    (place.folder / "runs").mkdir()
    add_nodes(cluster, place, "a")
    add_nodes(cluster, place, "far", first=f"mount -t tmpfs tmpfs {place.folder / 'runs'}")
    driver = Driver(place, cluster=cluster.address)
    driver.ended(code=2)
    assert "every node must see the folder of runs" in driver.errors
    assert "--storage" in driver.errors
    (place.folder / "gate").unlink()
    shared = place.folder / "shared"
    driver = Driver(place, cluster=cluster.address, storage=str(shared))
    place.wait_for_nodes("a", "far")
    check_whole(place, driver.ended())
    assert {epoch.node for epoch in place.trained()} == {"a", "far"}
    assert list((place.folder / "runs" / "it" / "checkpoints").iterdir()) == []
    assert list((shared / "it" / "checkpoints").iterdir())


@pytest.mark.cluster
def test_trials_share_a_gpu_and_nodes_without_one_are_named(cluster: LocalCluster, place: Place) -> None:
    add_nodes(cluster, place, "gpu", cpus=8, gpus=2)
    add_nodes(cluster, place, "cpu", cpus=8)
    options = {"cluster": cluster.address, "gpus_per_trial": 0.5, "trials": 4}
    driver = Driver(place, **options)
    check_whole(place, driver.ended(), trials=4)
    assert "1 node takes 4 trials of 1 core and 0.5 GPUs at once" in driver.errors
    assert "without one takes none" in driver.errors
    assert {epoch.node for epoch in place.trained()} == {"gpu"}
    assert len({epoch.pid for epoch in place.trained()}) <= 4
