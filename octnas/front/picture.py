"""The front as a picture: one HTML page that draws with no network, or a PNG (`octnas.front.png`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from octnas.front.page import html_page
from octnas.front.png import write_png
from octnas.front.result import SearchResult
from octnas.record.links import RunLinks

__all__ = ["html_page", "write_html", "write_png"]


def write_html(
    results: SearchResult | Sequence[SearchResult],
    path: str | os.PathLike[str],
    *,
    links: Mapping[str, RunLinks] | None = None,
) -> None:
    """Writes `html_page` to a file.

    Raises:
        OSError: the file cannot be written.
    """
    Path(path).write_text(html_page(results, links=links), encoding="utf-8")
