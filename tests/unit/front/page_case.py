"""A front page as a reader of HTML has it, for the tests of this folder and of the one below."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

from octnas.front import SearchResult
from octnas.front.picture import html_page
from octnas.record.links import RunLinks

_KEYS = {
    "trial": "id",
    "search": "search",
    "what": "what",
    "GFLOPs": "gflops",
    "ms": "latency",
    "accuracy": "accuracy",
    "in full": "full",
    "on shared weights": "shared",
    "backbone": "backbone",
    "state": "state",
    "epochs": "epochs",
    "mean alpha by stage": "alphas",
}
"""By the headings of the table."""


class Page(HTMLParser):
    """What a page consists of: its tags, what it would fetch, the table's cells, and its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.handlers: list[str] = []
        """Attributes that would run code."""
        self.others: list[str] = []
        """Comments, and whatever else is neither a tag nor text."""
        self.buttons: list[tuple[str, str | None]] = []
        """Trial and search of each element that has the former."""
        self.policy = ""
        self.title = ""
        self.words = ""
        """All text outside scripts and styles."""
        self.data: dict[str, Any] = {}
        self._heads: list[str] = []
        self._rows: list[list[str]] = []
        self._inside: str | None = None
        self._in_table = False
        self.feed(text)
        self.close()

    @property
    def rows(self) -> list[dict[str, str]]:
        """The table's rows, by its columns' names."""
        keys = [_KEYS[head] for head in self._heads]
        return [dict(zip(keys, row, strict=True)) for row in self._rows]

    @property
    def row(self) -> dict[str, dict[str, str]]:
        """The same by trial, of a page of one search."""
        return {row["id"]: row for row in self.rows}

    @property
    def search(self) -> dict[str, Any]:
        """The data of the only search."""
        (search,) = self.data["searches"]
        return dict(search)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        known = dict(attrs)
        self.fetched += [f"{tag} {value}" for key, value in attrs if key in ("src", "href", "srcset", "data")]
        self.handlers += [key for key, _ in attrs if key.startswith("on")]
        if known.get("http-equiv") == "Content-Security-Policy":
            self.policy = known.get("content") or ""
        if "data-trial" in known:
            self.buttons.append((known["data-trial"] or "", known.get("data-search")))
        self._inside = "data" if known.get("id") == "data" else tag
        if tag == "table" and known.get("id") == "trials":
            self._in_table = True
        elif self._in_table and tag == "tr":
            self._rows.append([])
        elif self._in_table and tag in ("th", "td"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = None
        if tag == "table":
            self._in_table = False
            self._heads, *self._rows = self._rows

    def handle_data(self, data: str) -> None:
        if self._inside == "data":
            self.data = json.loads(data)
        elif self._inside not in ("script", "style"):
            self.words += data
            if self._inside == "title":
                self.title += data
            if self._in_table and self._rows:
                self._rows[-1][-1] += data.strip("\n")

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def unknown_decl(self, data: str) -> None:
        self.others.append(data)

    def handle_pi(self, data: str) -> None:
        self.others.append(data)


def page_of(
    results: SearchResult | Sequence[SearchResult], links: Mapping[str, RunLinks] | None = None
) -> Page:
    """The page of a search or several, read."""
    return Page(html_page(results, links=links))


def groups_of(search: Mapping[str, Any], axis: str | None = None) -> dict[str, list[str]]:
    """Ids of the trials in each group of an axis, the search's own if not given; "" for those in none."""
    names = ("front", "dominated", "early", "uniform", "plain", "over")
    found: dict[str, list[str]] = {name: [] for name in (*names, "")}
    groups = search["axes"][axis or search["objective"]]["groups"]
    for trial_id, group in zip(search["trials"]["id"], groups, strict=True):
        found["" if group < 0 else names[group]].append(trial_id)
    return found


def labels_of(search: Mapping[str, Any], axis: str | None = None) -> dict[str, str]:
    """The names that stand in the picture, by trial."""
    labels = search["axes"][axis or search["objective"]]["labels"]
    return {search["trials"]["id"][place]: text for place, text, *_ in labels}


def of_some(search: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What few trials have, by their ids."""
    return {search["trials"]["id"][int(place)]: value for place, value in search["trials"][key].items()}
