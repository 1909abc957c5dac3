"""Other ways onto a cluster: a job that is submitted, and machines that an autoscaler starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from cluster_case import TESTS, Driver, Place, add_nodes, check_whole
from clusters import SETTINGS, free_port, local_cluster, wait_for
from stand_ins import TINY_SPACE

from octnas.record import Journal

pytestmark = pytest.mark.cluster


def test_a_submitted_job_searches_on_its_cluster(place: Place) -> None:
    (place.folder / "small.yaml").write_text(
        TINY_SPACE
        + "proxy: {data: fashion-sample, width: 16, steps: 4, evaluations: 1, train_images: 500}\n",
        encoding="utf-8",
    )
    port = free_port()
    root = str(TESTS.parent)
    with local_cluster(dashboard_port=port, env={**place.env, "PYTHONPATH": root}) as cluster:
        add_nodes(cluster, place, "a", env={"PYTHONPATH": root})
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "job", "submit", f"--address=http://127.0.0.1:{port}",
            "--runtime-env-json=" + json.dumps({"env_vars": {**place.env, "PYTHONPATH": root}}), "--",
            "sh", "-c", f"cd {place.folder} && {sys.executable} -m octnas search --space small.yaml "
            "--budget-gflops 0.04 --trials 2 --confirm 0 --name it --cluster auto --json > result.json",
        ]  # fmt: skip

        def submitted() -> subprocess.CompletedProcess[str] | None:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=300,
                env={**os.environ, **SETTINGS},
                check=False,
            )
            early = "No available agent" in done.stderr or "Failed to connect" in done.stderr
            return None if early else done

        done = wait_for(submitted, "Ray to take jobs", 120)
    assert done is not None
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((place.folder / "result.json").read_text())
    assert result["front"]
    assert "joined the cluster at auto: 1 node takes 1 trial" in done.stdout
    assert Journal(place.folder / "runs" / "it" / "journal.jsonl").records()
    resume = [sys.executable, "-m", "octnas", "resume", "it", "--json"]
    again = subprocess.run(
        resume,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=place.folder,
        env={**os.environ, **place.env},
        check=False,
    )
    assert again.returncode == 0, again.stderr  # the cluster is gone, and nothing is left to train on it
    assert json.loads(again.stdout)["front"] == result["front"]


def test_an_autoscaler_starts_machines_for_a_search(place: Place) -> None:
    env = {**place.env, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    with local_cluster(machines=2, env=env) as cluster:
        driver = Driver(place, cluster=cluster.address)
        wait_for(lambda: len(cluster.up()) == 3, "two machines to be started", 90)
        check_whole(place, driver.ended())
        assert "no node takes a trial of 1 core yet" in driver.errors
        wait_for(lambda: len(cluster.up()) == 1, "the machines to be given back", 120)


def test_machines_are_given_back_when_the_driver_dies(place: Place) -> None:
    env = {**place.env, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    with local_cluster(machines=1, env=env) as cluster:
        driver = Driver(place, cluster=cluster.address)
        wait_for(place.trained, "a machine to be started and used", 120)
        driver.kill()
        wait_for(lambda: len(cluster.up()) == 1, "the machine to be given back", 180)
