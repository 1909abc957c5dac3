"""Searches on real Ray clusters of several nodes, which are killed, slow, odd or full."""

from __future__ import annotations

import os
import signal
import time

import pytest
from cluster_case import (
    Driver,
    Place,
    add_nodes,
    check_whole,
    images_by_class,
    tell_fault,
    wait_until_trained,
)
from clusters import LocalCluster, Machine, wait_for
from fault_table import tell


def searching_on_spot(
    cluster: LocalCluster, place: Place, *, slow: int = 1
) -> tuple[Driver, Machine, list[int]]:
    """A search on a (slow) node and on one at a spot price; that one, and its two processes that train."""
    add_nodes(cluster, place, "a", env={"CLUSTER_TEST_SLOW": str(slow)})
    add_nodes(cluster, place, "spot", cpus=2)
    driver = Driver(place, cluster=cluster.address)
    place.wait_for_nodes("a", "spot")
    wait_for(lambda: len(workers_on(place, "spot")) == 2, "two trainings there", 180)
    return driver, cluster.nodes[1], workers_on(place, "spot")


def workers_on(place: Place, node: str) -> list[int]:
    """Processes that have trained there."""
    return sorted({epoch.pid for epoch in place.trained() if epoch.node == node})


def test_a_node_is_killed_in_the_middle_and_another_one_joins(cluster: LocalCluster, place: Place) -> None:
    add_nodes(cluster, place, "a", "b")
    driver = Driver(place, cluster=cluster.address)
    place.wait_for_nodes("a", "b")
    lost = place.trained()[-1]
    cluster.nodes["ab".index(lost.node)].kill()
    since = time.time()
    add_nodes(cluster, place, "c")
    place.wait_for_nodes("c")
    check_whole(place, driver.ended())
    tell_fault(place, "a node is killed, another one joins", since, lost=lost.id)
    assert "is gone" in driver.errors
    assert place.events()[0]["header"]["options"]["cluster"] == cluster.address


@pytest.mark.cluster
def test_a_worker_is_killed(cluster: LocalCluster, place: Place) -> None:
    add_nodes(cluster, place, "a", "b")
    driver = Driver(place, cluster=cluster.address)
    place.wait_for_nodes("a", "b")
    for _ in range(2):
        lost, since, known = place.trained()[-1], time.time(), len(place.trained())
        os.kill(lost.pid, signal.SIGKILL)
        wait_until_trained(place, known + 1)
    check_whole(place, driver.ended())
    assert "is gone" not in driver.errors
    assert len({epoch.pid for epoch in place.trained()}) >= 3
    tell_fault(place, "a worker's process is killed, twice", since, lost=lost.id)


@pytest.mark.cluster
def test_the_driver_is_killed_and_the_search_taken_up_again(cluster: LocalCluster, place: Place) -> None:
    add_nodes(cluster, place, "a", "b")
    first = Driver(place, cluster=cluster.address)
    place.wait_for_nodes("a", "b")
    place.open_gate()
    wait_until_trained(place, 20)
    lost, since = place.trained()[-1], time.time()
    first.kill()
    final = {record.id: record for record in place.records() if record.state.final}
    result = Driver(place, how="resume").ended()
    check_whole(place, result)
    assert {record.id: record for record in place.records() if record.id in final} == final
    tell_fault(place, "the driver is killed, and `octnas resume`", since, lost=lost.id)


@pytest.mark.cluster
def test_a_slow_node_holds_nobody_up(cluster: LocalCluster, place: Place) -> None:
    add_nodes(cluster, place, "quick")
    add_nodes(cluster, place, "slow", env={"CLUSTER_TEST_SLOW": "5"})
    driver = Driver(place, cluster=cluster.address)
    place.wait_for_nodes("quick", "slow")
    check_whole(place, driver.ended())
    nodes = [epoch.node for epoch in place.trained()]
    assert nodes.count("quick") > 2 * nodes.count("slow") > 0
    tell("a node is five times slower", "nothing", 0.0)


@pytest.mark.cluster
def test_a_preemption_notice(cluster: LocalCluster, place: Place) -> None:
    driver, spot, known = searching_on_spot(cluster, place)
    cluster.notice(spot, seconds=3)
    until = time.monotonic() + 3
    # One of its two workers dies while the node is up: after a notice that is the node's fault, and the core
    # that is free again stays so.
    os.kill(known[0], signal.SIGKILL)
    wait_for(lambda: "is begun again elsewhere" in driver.errors, "the trial to be given out again")
    assert spot.id in cluster.up()
    time.sleep(max(0.0, until - time.monotonic()))
    lost = [epoch for epoch in place.trained() if epoch.pid == known[1]][-1]
    spot.kill()
    since = time.time()
    add_nodes(cluster, place, "c")
    place.wait_for_nodes("c")
    check_whole(place, driver.ended())
    assert workers_on(place, "spot") == known
    tell_fault(place, "a preemption notice, and 3 s later the node is gone", since, lost=lost.id)


@pytest.mark.cluster
def test_no_trial_begins_on_a_node_with_a_preemption_notice(cluster: LocalCluster, place: Place) -> None:
    # An epoch of the other node takes 4 s, so that the workers on spot are free before it.
    driver, spot, _ = searching_on_spot(cluster, place, slow=20)
    wait_for(lambda: place.trained()[-1].time < time.time() - 6.0, "all trainings to stand at the gate")
    cluster.notice(spot, seconds=60)
    add_nodes(cluster, place, "c")
    begun = {epoch.id for epoch in place.trained() if epoch.node == "spot"}
    check_whole(place, driver.ended())
    assert {epoch.id for epoch in place.trained() if epoch.node == "spot"} == begun


@pytest.mark.cluster
def test_the_disk_of_one_node_is_full(cluster: LocalCluster, place: Place) -> None:
    """Two nodes do not see the images and fetch them from the storage; one of them has no room for them."""
    images, cache = images_by_class(place.folder / "images"), place.folder / "cache"
    cache.mkdir()
    hidden = f"mount -t tmpfs tmpfs {images}; mount -t tmpfs -o size=%s tmpfs {cache}"
    env = {"OCTNAS_DATA": str(cache)}
    add_nodes(cluster, place, "roomy", env=env, first=hidden % "50m")
    add_nodes(cluster, place, "full", env=env, first=hidden % "300k")
    options = {"data": str(images), "memory_limit": 10_000, "storage": str(place.folder / "shared")}
    driver = Driver(place, cluster=cluster.address, **options)
    place.wait_for_nodes("roomy")
    wait_for(lambda: "gets no trials" in driver.errors, "the full node to be found out", 180)
    check_whole(place, driver.ended())
    assert {epoch.node for epoch in place.trained()} == {"roomy"}
    assert "gets no trials, since" in driver.errors
    assert "No space left" in driver.errors
    tell("the disk of a node is full", "nothing; that node gets no trials", 0.0)


@pytest.mark.cluster
def test_a_search_whose_only_node_is_full_ends(cluster: LocalCluster, place: Place) -> None:
    images, cache = images_by_class(place.folder / "images"), place.folder / "cache"
    cache.mkdir()
    hidden = f"mount -t tmpfs tmpfs {images}; mount -t tmpfs -o size=300k tmpfs {cache}"
    add_nodes(cluster, place, "full", env={"OCTNAS_DATA": str(cache)}, first=hidden)
    options = {"data": str(images), "memory_limit": 10_000, "storage": str(place.folder / "shared")}
    driver = Driver(place, cluster=cluster.address, **options)
    driver.ended(code=1)
    assert "no node is left that can take a trial" in driver.errors
    assert "octnas resume it" in driver.errors
    assert not any(record.state.final for record in place.records())


@pytest.mark.cluster
def test_images_in_memory_reach_nodes_that_do_not_see_their_folder(
    cluster: LocalCluster, place: Place
) -> None:
    images = images_by_class(place.folder / "images")
    add_nodes(cluster, place, "far", first=f"mount -t tmpfs tmpfs {images}")
    driver = Driver(place, cluster=cluster.address, data=str(images), trials=2)
    check_whole(place, driver.ended(), trials=2)
