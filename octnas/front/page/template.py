"""The front page's template: in the wheel's `octnas/_dashboards`, else the checkout's `dashboards/front`."""

from __future__ import annotations

import functools
from pathlib import Path
from string import Template

import octnas

__all__ = ["SCRIPTS", "script", "style", "template"]

SCRIPTS = (
    "svg.js",
    "words.js",
    "glass.js",
    "marks.js",
    "labels.js",
    "chart.js",
    "legend.js",
    "depth.js",
    "architecture.js",
    "figures.js",
    "workers.js",
    "table.js",
    "main.js",
)
"""In the order in which they run, one script together."""


def template() -> Template:
    """The page without its content; see `dashboards/README.md` for the names in it."""
    return Template(_text("front.html"))


def style() -> str:
    """The style sheet."""
    return _text("front.css")


def script() -> str:
    """All of the page's own code."""
    return "\n".join(_text(name) for name in SCRIPTS)


@functools.cache
def _text(name: str) -> str:
    package = Path(octnas.__file__).parent
    for folder in (package / "_dashboards", package.parent / "dashboards" / "front"):
        if folder.is_dir():
            return (folder / name).read_text(encoding="utf-8")
    raise FileNotFoundError(f"{name} of the front page is in neither {package} nor beside it")
