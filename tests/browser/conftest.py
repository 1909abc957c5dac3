"""A real Chromium for the tests of this folder: Debian's package, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_shown import READY, Show
from playwright.sync_api import Browser, Page, sync_playwright

from octnas.front import SearchResult
from octnas.front.picture import write_html

_OPTIONS = ("--no-sandbox", "--disable-background-networking")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("no chromium here: apt-get install chromium, or leave this folder out")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_OPTIONS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page 1,200 px wide; what its code raises or complains of fails the test."""
    with browser.new_context(viewport={"width": 1200, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(30_000)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        yield page
        assert complaints == []


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    """A page for MLflow's own, whose complaints are not ours, without the panel that it opens for the new."""
    with browser.new_context(viewport={"width": 1440, "height": 1000}) as context:
        context.add_init_script("localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')")
        context.add_init_script(
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
        )
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield page


@pytest.fixture
def show(page: Page, tmp_path: Path) -> Show:
    """Opens the page of searches, once all of it is drawn."""

    def opened(*results: SearchResult, **more: Any) -> Page:
        path = tmp_path / "front.html"
        write_html(results, path, **more)
        page.goto(path.as_uri())
        page.wait_for_function(READY)
        return page

    return opened
