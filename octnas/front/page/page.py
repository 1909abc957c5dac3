"""The front page, put together: template, style, code and data in one file that fetches nothing."""

from __future__ import annotations

import datetime
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from octnas.front.axis import samples
from octnas.front.describe import what_search
from octnas.front.page.document import MOST_DRAWN, document
from octnas.front.page.table import trials_table
from octnas.front.page.template import script, style, template
from octnas.front.result import SearchResult
from octnas.front.shared_text import shared_lines, warning_lines
from octnas.front.text import state_counts
from octnas.front.verdict import SEEDS_HEAD, confirmed_lines, verdict_sentences
from octnas.record.links import RunLinks

__all__ = ["html_page"]


def html_page(
    results: SearchResult | Sequence[SearchResult], *, links: Mapping[str, RunLinks] | None = None
) -> str:
    """The page of a search, or of several laid over one another; nothing is fetched when it is shown.

    Args:
        results: of searches with different names.
        links: where searches and their trials are seen in MLflow, by the searches' names.

    Raises:
        ValueError: no result.
    """
    several = [results] if isinstance(results, SearchResult) else list(results)
    if not several:
        raise ValueError("a page needs one result or more, but got none")
    names = " and ".join(each.name for each in several)
    page = template().substitute(
        title=html.escape(f"{several[0].axis.subject}: {names}"),
        made=html.escape(datetime.datetime.now().astimezone().isoformat(timespec="seconds")),
        style=style(),
        searches="\n".join(_head(each, several=len(several) > 1) for each in several),
        notes=_notes(several),
        table=trials_table(several),
        shared="\n".join(filter(None, map(_shared, several))),
        data=_json(document(several, links or {})),
        script=script(),
    )
    # A path that is no text has surrogates in it, which no file of UTF-8 can hold.
    return page.encode("utf-8", "replace").decode("utf-8")


def _json(value: Any) -> str:
    """JSON for inside a script element: no "<" of a string can end it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _head(result: SearchResult, *, several: bool) -> str:
    """What was searched, what came of it, the answer in bold where seeds confirm it."""
    counts = f"{state_counts(result)}; hypervolume {result.hypervolume:.4f}"
    first, *rest = (html.escape(sentence) for sentence in verdict_sentences(result))
    name = f"<h2>{html.escape(result.name)}</h2>" if several else ""
    said = f'{name}<p class="muted">{html.escape(f"{what_search(result.header)}; {counts}")}</p>'
    if result.claim is None:
        said += f"<p>{' '.join((first, *rest))}</p>"
    else:
        said += f'<p class="claim">{first}</p><p>{" ".join(rest)}</p>'
    said += "".join(f'<p class="warn">{html.escape(line)}</p>' for line in warning_lines(result))
    lines = confirmed_lines(result)
    if lines:
        said += f"<details><summary>{SEEDS_HEAD}</summary>{_list(lines)}</details>"
    return f'<div class="search">{said}</div>'


def _notes(results: Sequence[SearchResult]) -> str:
    """What must be known to read the chart, beyond its legend."""
    notes = []
    if len(results) > 1 and len({_proxy(each) for each in results}) > 1:
        notes.append(
            "These searches have other spaces, data or starting weights: their accuracies are of different "
            "proxies and say little about one another."
        )
    if any(each.trainings for each in results):
        notes.append(
            "A star is the accuracy of the same trial trained in full by octnas train, joined to the proxy's "
            "by a line: it is of another training, and only the proxy's has a place on the front."
        )
    if any(len(each.records) > MOST_DRAWN for each in results):
        notes.append(
            f"Of a search with more than {MOST_DRAWN:,} trials the page holds the front, the yardsticks and "
            "the latest; trials.csv has all."
        )
    if any(each.shared is not None and each.shared.scores for each in results):
        notes.append(
            "Faint dots are shared scores, on the same axes: what an architecture reaches on the weights "
            "that all of its backbone share, before any training of its own. They widen the picture by a "
            "third at most."
        )
    if any(each.mixed for each in results):
        notes.append("Marks with a plus are of 3D backbones.")
    if any(each.confirm_seeds for result in results for each in result.records):
        kinds = " and ".join(dict.fromkeys(samples(each.header) for each in results))
        notes.append(
            f"Bars are means of fresh seeds on validation {kinds} with one standard deviation to each "
            "side; a dotted stroke leads to the trial's point, which is the one seed that the search saw and "
            "chose by."
        )
    return "".join(f"<p>{html.escape(note)}</p>" for note in notes)


def _proxy(result: SearchResult) -> tuple[str, str, str]:
    header = result.header
    return header.space_yaml, header.data_fingerprint or header.data, result.init


def _shared(result: SearchResult) -> str:
    """What is known of shared weights; nothing without any."""
    lines = shared_lines(result)
    if not lines:
        return ""
    return f"<h3>Shared weights of {html.escape(result.name)}</h3>{_list(lines)}"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"
