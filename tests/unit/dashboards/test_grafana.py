"""The Grafana dashboard and what provisions it: sound, and asking only for what octnas and Ray export.

What its queries answer on a real cluster: `tests/cluster/test_metrics.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from grafana_case import GRAFANA, metrics_of, panels, targets

from octnas.engine.ray_metrics import METRICS

OURS = {f"ray_{each.name}": each for each in METRICS}
BOARD: dict[str, Any] = json.loads((GRAFANA / "octnas.json").read_text(encoding="utf-8"))


def ours_of(expression: str) -> Iterator[tuple[str, str]]:
    """The metrics of octnas in an expression, and what stands between their braces."""
    for name, labels in re.findall(r"\b(ray_octnas_\w+)\{([^}]*)\}", expression):
        yield re.sub(r"_bucket$", "", name), labels


def text_of(name: str) -> Any:
    return yaml.safe_load((GRAFANA / name).read_text(encoding="utf-8"))


# ---------------------------------------------------------------- the dashboard
def test_it_keeps_its_address() -> None:
    assert BOARD["uid"] == "octnas-cluster"
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("panel", panels(), ids=lambda each: str(each["title"]))
def test_every_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"].strip()
    assert panel["description"].strip().endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    references = [each["refId"] for each in panel["targets"]]
    assert len(set(references)) == len(references)
    for each in panel["targets"]:
        assert each["legendFormat"].strip() not in ("", "__auto")


@pytest.mark.parametrize("target", targets(), ids=lambda each: str(each["expr"]))
def test_every_query_asks_for_what_is_exported(target: dict[str, Any], rays_metrics: set[str]) -> None:
    expression = target["expr"]
    asked = metrics_of(expression)
    assert asked
    for name in asked:
        assert name in rays_metrics or re.sub(r"_bucket$", "", name) in OURS, name
    for name, labels in ours_of(expression):
        assert 'search="$search"' in labels, "else it would mix searches"
        assert set(re.findall(r"(\w+)=", labels)) <= set(OURS[name].labels)
        assert name in asked or OURS[name].kind == "histogram"
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped


def test_everything_that_octnas_exports_is_shown() -> None:
    shown = {name for each in targets() for name, _ in ours_of(each["expr"])}
    assert shown == set(OURS)


def test_no_panel_covers_another() -> None:
    for one, other in combinations((panel["gridPos"] for panel in BOARD["panels"]), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
    assert all(0 <= each["gridPos"]["x"] <= 24 - each["gridPos"]["w"] for each in BOARD["panels"])


def test_the_search_is_chosen_from_those_that_export() -> None:
    (variable,) = BOARD["templating"]["list"]
    name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
    assert label in OURS[name].labels
    assert (variable["name"], variable["query"]["query"]) == ("search", variable["definition"])
    assert not variable["multi"]
    assert not variable["includeAll"]


# ---------------------------------------------------------------- what starts it
def test_what_provisions_it_fits_together() -> None:
    (source,) = text_of("provisioning/datasources/prometheus.yaml")["datasources"]
    (provider,) = text_of("provisioning/dashboards/octnas.yaml")["providers"]
    services = text_of("compose.yaml")["services"]
    used = {each["datasource"]["uid"] for each in (*targets(), *panels(), *BOARD["templating"]["list"])}
    assert used == {source["uid"]}
    (listens,) = [x for x in services["prometheus"]["command"] if x.startswith("--web.listen-address=")]
    assert source["url"] == f"http://{listens.partition('=')[2]}"
    mounts = {
        to: GRAFANA / place
        for service in services.values()
        for place, to in (each.split(":")[:2] for each in service["volumes"])
        if place.startswith("./")
    }
    assert all(place.exists() for place in mounts.values())
    assert mounts[f"{provider['options']['path']}/octnas.json"] == GRAFANA / "octnas.json"
    interval = text_of("prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval
    (job,) = text_of("prometheus.yml")["scrape_configs"]
    (found,) = [file for each in job["file_sd_configs"] for file in each["files"]]
    assert f"{Path(found).parent}:{Path(found).parent}:ro" in services["prometheus"]["volumes"]


def test_compose_takes_the_services_and_they_stay_on_loopback() -> None:
    compose = text_of("compose.yaml")
    jsonschema.validate(compose, get_builtin_schema("vendor.compose-spec"))
    for service in compose["services"].values():
        assert service["network_mode"] == "host"
        assert "ports" not in service
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    environment = compose["services"]["grafana"]["environment"]
    assert environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert "--web.listen-address=127.0.0.1:9090" in compose["services"]["prometheus"]["command"]


@pytest.fixture(scope="module")
def rays_metrics() -> set[str]:
    """The metrics that Ray exports, from its own source: those of its agents, and those that its dashboards
    ask for, which come from its compiled parts."""
    import ray

    modules = Path(ray.__file__).parent / "dashboard" / "modules"
    agent = (modules / "reporter" / "reporter_agent.py").read_text(encoding="utf-8")
    names = {f"ray_{name}" for name in re.findall(r'Gauge\(\s*"(\w+)"', agent)}
    for path in (modules / "metrics" / "dashboards").glob("*.py"):
        names |= set(re.findall(r"\bray_\w+", path.read_text(encoding="utf-8")))
    assert {"ray_node_cpu_utilization", "ray_node_gpus_utilization", "ray_tasks"} <= names
    return names
