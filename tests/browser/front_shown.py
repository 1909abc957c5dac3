"""What the tests of the front page do on it: open it, find a trial's entry and mark, read what is said."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import FrameLocator, Locator, Page

__all__ = ["READY", "Show", "entry", "in_chart", "mark", "told"]

READY = "performance.getEntriesByName('octnas-ready').length"
"""In the page: whether all of it is drawn."""

Show = Callable[..., Page]
"""Opens the page of searches, once all of it is drawn."""


def entry(page: Page | FrameLocator, trial_id: str) -> Locator:
    return page.locator(f'[data-trial="{trial_id}"]')


def told(page: Page) -> str:
    """What the box beside the pointer says."""
    return page.locator("#chart .tip").inner_text()


def mark(page: Page | FrameLocator, trial_id: str) -> tuple[float, float]:
    """Where a trial's mark is on the screen: its entry in the table has the focus, and the mark a ring."""
    entry(page, trial_id).focus()
    ring = page.locator("#chart .ring")
    ring.scroll_into_view_if_needed()
    box = ring.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def in_chart(page: Page, trial_id: str) -> tuple[float, float]:
    """Where a trial's mark is in the picture."""
    x, y = mark(page, trial_id)
    box = page.locator("#chart").bounding_box()
    assert box is not None
    return x - box["x"], y - box["y"]
