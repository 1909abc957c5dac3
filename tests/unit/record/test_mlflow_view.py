"""What MLflow's pages are told: charts of one search's trials, and its description."""

from __future__ import annotations

import json

from record_case import PROFILE, header

from octnas.record.mlflow_view import charts_view, with_links


def test_charts_are_of_one_searchs_trials_against_each_cost_that_is_known() -> None:
    tag, text = charts_view(header(budget_ms=24.0, profile=PROFILE))
    assert tag == "mlflow.sharedViewState.octnas-first"
    state = json.loads(text)
    assert state["searchFilter"] == "tags.`octnas.search` = 'first' and tags.`octnas.kind` = 'trial'"
    assert [chart["type"] for chart in state["compareRunCharts"]] == ["SCATTER", "SCATTER", "PARALLEL"]
    axes = [(chart["xaxis"]["key"], chart["yaxis"]["key"]) for chart in state["compareRunCharts"][:2]]
    assert axes == [("gflops", "accuracy"), ("latency_ms", "accuracy")]
    stages = ["alpha.stage1", "alpha.stage2", "alpha.stage3", "alpha.stage4"]
    assert state["compareRunCharts"][2]["selectedParams"] == stages
    (section,) = state["compareRunSections"]
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {section["uuid"]}


def test_a_tag_of_the_longest_name_is_one_that_mlflow_takes() -> None:
    tag, text = charts_view(header("n" * 100, profile=PROFILE))
    assert len(tag) <= 250
    assert len(text) <= 5000


def test_without_yardsticks_only_accuracy_and_cost_are_drawn() -> None:
    state = json.loads(charts_view(header(yardsticks=()))[1])
    assert state["compareRunCharts"][-1]["selectedParams"] == []


def test_a_description_of_one_paragraph_has_its_links_and_picture() -> None:
    links, first, picture, rest = with_links("found", header(), "3", "abc").split("\n\n")
    assert links.count("](#/experiments/3/runs") == 3
    assert (first, rest) == ("found", "")
    assert picture == "![The front](get-artifact?path=front-small.png&run_uuid=abc)"
