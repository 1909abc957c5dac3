"""The fronts of searches that are there: read from their journals, printed, and put on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from octnas.engine.checks import refuse_supernet
from octnas.errors import RunError
from octnas.front import SearchResult
from octnas.record import RunFolder
from octnas.record.links import RunLinks

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["fronts", "fronts_text", "write_page"]


def fronts(names: Sequence[str]) -> list[SearchResult]:
    """The results of searches, finished or under way, in this order.

    Raises:
        RunError: there is no such search, it is shared weights alone, its journal cannot be read, or a name
            comes twice.
    """
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise RunError(f"each search may be named once, but got {twice!r} twice: leave one out")
    runs = [RunFolder.open(name) for name in names]
    for run in runs:
        refuse_supernet(run)
    return [SearchResult.of(run) for run in runs]


def write_page(results: Sequence[SearchResult], path: Path) -> None:
    """Writes the page of searches that are in the folder of all runs, with links to their runs in MLflow.

    Raises:
        RunError: the file cannot be written.
    """
    from octnas.front.picture import write_html

    found = {each.name: RunLinks.of(RunFolder.open(each.name)) for each in results}
    links = {name: each for name, each in found.items() if each is not None}
    try:
        write_html(results, path, links=links)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; name a file in a writable folder") from None


def fronts_text(results: Sequence[SearchResult]) -> RenderableType:
    """What `octnas front` prints of several searches: each as by itself."""
    from rich.console import Group
    from rich.text import Text

    from octnas.front.text import result_text

    parts: list[RenderableType] = []
    for result in results:
        parts += [*([Text()] if parts else []), result_text(result)]
    return Group(*parts)
