"""The Grafana dashboard's queries on a real cluster: a search runs, a real Prometheus scrapes Ray's nodes."""

from __future__ import annotations

import math
import time

import pytest
from cluster_case import Driver, Place, add_nodes
from clusters import free_port, local_cluster, wait_for
from grafana_case import GRAFANA, metrics_of, targets
from servers import Prometheus, prometheus

from octnas.record import TrialState

pytestmark = pytest.mark.cluster

OF_GPUS = {"ray_node_gpus_utilization", "ray_node_gram_used"}
"""Ray exports these where there is a GPU only. That they are Ray's is checked against its own source, as all
names are, in `tests/unit/dashboards/test_grafana.py`."""
SECONDS = 180.0


def answered(server: Prometheus, expression: str) -> list[float]:
    """The numbers that an expression of the dashboard gives, with its variable filled in."""
    found = server.ask(expression.replace("$search", "it"))
    return [each["value"] for each in found if not math.isnan(each["value"])]


def test_every_query_of_the_dashboard_is_answered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "5000")  # and not its usual ten seconds
    expressions = {each["expr"] for each in targets()}
    here = {each for each in expressions if not metrics_of(each) & OF_GPUS}
    assert len(expressions - here) == len(OF_GPUS)
    place.open_gate()
    with local_cluster(dashboard_port=free_port()) as cluster:
        add_nodes(cluster, place, "a", "b")
        config = (GRAFANA / "prometheus.yml").read_text(encoding="utf-8")
        for usual, quick in (("/tmp/ray/", f"{cluster.folder}/"), ("15s", "2s"), ("10s", "2s")):
            assert usual in config
            config = config.replace(usual, quick)
        with prometheus(config, place.folder / "prometheus") as server:
            driver = Driver(place, cluster=cluster.address, trials=80)
            left, until = here, time.monotonic() + SECONDS
            while left and time.monotonic() < until:
                assert driver.process.poll() is None, driver.errors
                time.sleep(1.0)
                left = {each for each in left if not answered(server, each)}
            assert left == set()

            # all at one moment, while the search runs
            name = '{search="it"}'
            planned = answered(server, f"ray_octnas_trials_planned{name}")
            assert planned == [80.0 + yardsticks(place)]
            states = {
                each["labels"]["state"]: each["value"] for each in server.ask(f"ray_octnas_trials{name}")
            }
            assert states.keys() == {str(state) for state in TrialState}
            assert states["complete"] >= 1
            assert 1 <= states["running"] <= 2
            assert sum(states.values()) < planned[0]
            assert answered(server, f"ray_octnas_workers{name}") == [2.0]
            assert answered(server, f"ray_octnas_images_per_second{name}")[0] in (100.0, 200.0)
            # an epoch takes 0.2 s, 0.01 s of which is said to be training steps
            assert 0.9 < answered(server, f"ray_octnas_worker_idle_ratio{name}")[0] < 1.0
            (best,) = answered(server, f"ray_octnas_best_accuracy{name}")
            assert best in {record.accuracy for record in place.records()}
            count = "count(count by (instance) (ray_node_cpu_count))"
            wait_for(lambda: answered(server, count) == [3.0], "three nodes to report")

            driver.kill()
            wait_for(lambda: not server.ask(f"ray_octnas_workers{name}"), "a dead search to be shown no more")


def yardsticks(place: Place) -> int:
    return len(place.events()[0]["header"]["yardsticks"])
