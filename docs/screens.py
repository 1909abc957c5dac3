"""Screenshots of each view of the front page, light and dark: `python docs/screens.py NAME OTHER`.

From the runs NAME and OTHER under OCTNAS_HOME and from synthetic trials, as Debian's Chromium shows
them (`apt-get install chromium`). Writes `VIEW-light.png` and `VIEW-dark.png`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from octnas import engine
from octnas.front.picture import write_html

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from fronts_drawn import synthetic_search

__all__ = ["MANY", "VIEWS", "take"]

MANY = 5000
"""Trials of the synthetic page."""

_WIDTH, _HEIGHT = 1000, 900
_MARGIN = 8
_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

_FRONT = "section[aria-labelledby='front-head']"


def _hover(page: Page) -> str:
    """The pointer is on the trial that the page opens with: the best."""
    page.locator("#rows tr.open [data-trial]").focus()
    ring = page.locator("#chart .ring")
    ring.scroll_into_view_if_needed()
    box = ring.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.locator("#chart .tip").wait_for()
    return "#chart"


def _as_it_is(selector: str) -> Callable[[Page], str]:
    return lambda page: selector


def _table(page: Page) -> str:
    page.locator("#filter").select_option("front")
    return "#table"


VIEWS: dict[str, tuple[Literal["one", "two", "many"], Callable[[Page], str]]] = {
    "chart": ("one", _as_it_is(_FRONT)),
    "hover": ("one", _hover),
    "architecture": ("one", _as_it_is("#architecture")),
    "table": ("one", _table),
    "wanted": ("one", _as_it_is("#wanted")),
    "volume": ("one", _as_it_is("#volume")),
    "survival": ("one", _as_it_is("#survival")),
    "workers": ("one", _as_it_is("#workers")),
    "two": ("two", _as_it_is(_FRONT)),
    "many": ("many", _as_it_is(_FRONT)),
}
"""By name: which page shows the view, and what brings it about on it and says which element it is."""


def take(browser: Browser, pages: Mapping[str, Path], folder: Path) -> list[Path]:
    """Writes each view of the pages `one`, `two` and `many` to `folder`; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for view, (which, show) in VIEWS.items():
        for scheme in _SCHEMES:
            page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme=scheme)
            page.goto(pages[which].resolve().as_uri())
            page.wait_for_function("performance.getEntriesByName('octnas-ready').length")
            path = folder / f"{view}-{scheme}.png"
            _shoot(page, show(page), path)
            page.close()
            written.append(path)
    return written


def _shoot(page: Page, selector: str, path: Path) -> None:
    """The element, or what of it the window has room for, with some margin."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    top = box["y"] + page.evaluate("scrollY")
    clip = {
        "x": max(0.0, box["x"] - _MARGIN),
        "y": max(0.0, top - _MARGIN),
        "width": box["width"] + 2 * _MARGIN,
        "height": min(box["height"], _HEIGHT) + 2 * _MARGIN,
    }
    page.screenshot(path=path, full_page=True, clip=clip)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="of a run under OCTNAS_HOME")
    parser.add_argument("other", help="the run that is laid over it")
    parser.add_argument("--to", type=Path, default=Path("docs/front-page"), help="folder to write in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        pages = {which: Path(scratch) / f"{which}.html" for which in ("one", "two", "many")}
        engine.write_page(engine.fronts([options.name]), pages["one"])
        engine.write_page(engine.fronts([options.name, options.other]), pages["two"])
        write_html(synthetic_search(MANY), pages["many"])
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-background-networking"],
        )
        for path in take(browser, pages, options.to):
            print(path)
        browser.close()


if __name__ == "__main__":
    main()
