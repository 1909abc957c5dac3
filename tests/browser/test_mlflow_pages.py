"""MLflow's own pages of a search in a real browser: the run, its description, its charts, its front."""

from __future__ import annotations

import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_store import dashboard, stored
from playwright.sync_api import Browser, Page, expect

from octnas.record import RunFolder
from octnas.record.links import RunLinks, charts_page, run_page

sys.path.append(str(Path(__file__).parents[1] / "unit" / "front"))
from front_case import confirmed

PATIENCE_MS = 45_000
SHUT = (
    "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
    "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
)
"""Of a panel for chats that MLflow opens beside every page."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `octnas dashboard first --json` says, while it runs."""
    folder = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTNAS_HOME", str(folder / "octnas-runs"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        stored(confirmed(), folder)
        links = RunLinks.of(RunFolder.open("first"))
        assert links is not None
        with dashboard(folder, "first") as said:
            yield {**said, "links": links, "server": said["url"].partition("/#")[0]}
    with pytest.raises(urllib.error.URLError):  # nothing listens any more
        urllib.request.urlopen(said["url"].partition("/#")[0], timeout=5)


@pytest.fixture
def view(browser: Browser) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1440, "height": 1000}) as context:
        context.add_init_script(SHUT)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield page


def test_the_dashboard_says_where_the_search_is(served: dict[str, Any]) -> None:
    links = served["links"]
    assert (served["search"], served["run_id"], served["served"]) == ("first", links.run_id, True)
    assert served["server"].startswith("http://127.0.0.1:")
    assert served["url"] == f"{served['server']}/{links.front_page}"


def test_the_front_is_shown_inside_mlflow(served: dict[str, Any], view: Page) -> None:
    view.goto(served["url"])
    front = view.frame_locator("iframe.mlflow-html-iframe")
    expect(front.locator('[data-trial="5"]').first).to_be_attached()
    expect(front.locator("h1")).to_contain_text("first")


def test_the_description_has_its_picture_and_links_that_work(served: dict[str, Any], view: Page) -> None:
    view.goto(served["run_url"])
    expect(view.get_by_text("Best candidate: trial 5")).to_be_visible()
    picture = view.locator("img[src*='front-small.png']")
    expect(picture).to_be_attached()
    view.wait_for_function("document.querySelector('img[src*=\"front-small.png\"]').naturalWidth > 0")
    beside = view.get_by_text(served["run_id"], exact=True).bounding_box()
    assert beside is not None
    assert beside["x"] + beside["width"] <= 1440, "the picture pushes nothing out of the window"
    with view.expect_popup() as opened:
        view.get_by_role("link", name="charts of its trials").click()
    assert opened.value.url.endswith("&viewStateShareKey=octnas-first&compareRunsMode=CHART")


def test_the_chart_view_draws_accuracy_against_compute(served: dict[str, Any], view: Page) -> None:
    view.goto(charts_page(served["server"], served["links"].experiment_id, "first"))
    expect(view.get_by_text("gflops vs. accuracy")).to_be_visible()
    view.wait_for_selector(".scatterlayer .point")
    complete = sum(record.accuracy is not None for record in confirmed().records)
    assert view.locator(".scatterlayer .point").count() == complete
    expect(view.get_by_text("Parallel Coordinates")).to_be_visible()


def test_the_list_of_runs_has_the_columns_that_matter(served: dict[str, Any], view: Page) -> None:
    view.goto(run_page(served["server"], served["links"].experiment_id))
    for column in ("accuracy", "gflops", "backbone", "octnas.on_front", "octnas.state"):
        expect(view.locator(".ag-header-cell", has_text=column).first).to_be_attached()


def test_runs_sort_by_accuracy_and_are_found_by_what_they_are(served: dict[str, Any], view: Page) -> None:
    front = "metrics.accuracy > 0.5 and tags.octnas.on_front = 'true' and tags.octnas.state = 'complete'"
    order = urllib.parse.urlencode({"searchFilter": front, "orderByKey": "metrics.`accuracy`"})
    experiment = served["links"].experiment_id
    view.goto(f"{run_page(served['server'], experiment)}&{order}&orderByAsc=false")
    names = view.locator(".ag-row [col-id='runName'] a, .ag-row a[href*='/runs/']")
    expect(names).to_have_text(["5 resnet34", "0 uniform-0.25 resnet18", "4 resnet18"])


def test_system_metrics_and_epochs_are_drawn(served: dict[str, Any], view: Page) -> None:
    links = served["links"]
    page = f"{served['server']}/#/experiments/{links.experiment_id}/runs"
    view.goto(f"{page}/{links.run_id}/system-metrics?workflowType=machine_learning")
    expect(view.get_by_text("cpu_utilization_percentage").first).to_be_visible()
    view.wait_for_selector(".scatterlayer .trace")
    view.goto(f"{page}/{links.trials['5']}/model-metrics?workflowType=machine_learning")
    expect(view.get_by_text("accuracy", exact=True).first).to_be_visible()
