"""What a notebook and a debugger show of a result."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from front_case import result, seeded, trial, whole
from PIL import Image

from octnas.front import SearchResult
from octnas.record import TrialState


class Page(HTMLParser):
    """Tags with their attributes, the cells of the table, and all text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    @property
    def picture(self) -> dict[str, str | None]:
        (attributes,) = [attributes for tag, attributes in self.tags if tag == "img"]
        return attributes


def shown(search: SearchResult) -> Page:
    return Page(search._repr_html_())


def test_one_line_says_the_most_wanted() -> None:
    assert repr(whole()) == (
        "<SearchResult 'first': 10 trials (1 running, 7 complete, 1 stopped, 1 failed), 3 on the front, "
        f"best 93.00 % at 1.700 GFLOPs, hypervolume {whole().hypervolume:.4f}>"
    )
    assert repr(result()) == "<SearchResult 'first': no trials, 0 on the front, hypervolume 0.0000>"


def test_the_table_is_the_front_beside_the_yardsticks() -> None:
    page = shown(whole())
    assert page.rows[0] == ["", "trial", "GFLOPs", "accuracy", "backbone", "mean alpha by stage"]
    assert [row[:4] for row in page.rows[1:]] == [
        ["front", "4", "1.200", "89.00 %"],
        ["front", "0 uniform-0.25", "1.400", "90.00 %"],
        ["best", "5", "1.700", "93.00 %"],
        ["", "3 plain", "1.800", "90.50 %"],
        ["", "1 uniform-0.75", "1.900", "91.00 %"],
        ["over", "2 plain-pooled", "4.000", "95.00 %"],
    ]
    assert {attributes.get("scope") for tag, attributes in page.tags if tag == "th"} == {"col"}
    assert "10^9 multiply-adds of the target network" in page.text


def test_the_picture_is_a_png_that_is_also_said_in_words() -> None:
    picture = shown(whole()).picture
    head, data = str(picture["src"]).split(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (1650, 1470)
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)  # a ground of its own, on any page
    assert picture["alt"] == (
        "Accuracy against compute of 10 trials; on the front, by cost: trial 4 (resnet18), 89.00 % at 1.200 "
        "GFLOPs; uniform-0.25 resnet18, 90.00 % at 1.400 GFLOPs; trial 5 (resnet34), 93.00 % at 1.700 GFLOPs."
    )


def test_it_says_in_a_sentence_what_was_found() -> None:
    best = seeded(trial("5", 1.0, 0.93), (0.93, 0.94, 0.935), (0.92, 0.93, 0.925))
    bar = seeded(trial("0", 1.4, 0.90, yardstick="uniform-0.25"), (0.9, 0.9, 0.91), (0.89, 0.9, 0.895))
    text = shown(result(best, bar)).text
    assert "The search beats the best uniform yardstick at equal or lower cost" in text
    assert "Not over" not in text


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.PAUSED])
def test_a_search_under_way_says_so(state: TrialState) -> None:
    page = shown(result(trial("1", 1.0, None, state=state)))
    assert "Not over: it still runs, or octnas resume first goes on" in page.text
    assert "No candidate is complete" in page.text
    assert not page.rows
    assert all(tag != "img" for tag, _ in page.tags)


def test_a_search_without_trials_is_shown() -> None:
    page = shown(result())
    assert "no trials; hypervolume 0.0000" in page.text
    assert not page.rows


def test_names_are_escaped() -> None:
    evil = "<script>alert('x')</script>\"&"
    records = (trial("<b>1</b>", 1.0, 0.9), replace(trial("2", 1.5, 0.8), yardstick='"><img src=x>'))
    html = result(*records, name=evil)._repr_html_()
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= {
        *("div", "p", "strong", "code", "small", "img", "table", "tbody", "tr", "th", "td")
    }
    assert evil in page.text
    assert "<b>1</b>" in str(page.picture["alt"])
    assert any(cell == "<b>1</b>" for row in page.rows for cell in row)
    assert "<script" not in html


def test_it_needs_no_network_no_script_and_no_colour_of_ours() -> None:
    html = whole()._repr_html_()
    assert not re.search(r"https?://|<script|<style|<link|(?<!border-)(?<!-)color:", html)


def test_latencies_have_a_column_and_a_star() -> None:
    slow, plain = trial("1", 1.0, 0.9, latency_ms=12.5), trial("2", 1.5, 0.8, latency_ms=10.0)
    search = result(slow, plain)
    header = replace(search.header, options={"plain_latency_ms": {"resnet18": 11.0}})
    page = shown(replace(search, header=header))
    assert page.rows[0][3] == "ms"
    assert [row[3] for row in page.rows[1:]] == ["12.50*"]  # the second is beaten by the first
    assert "predicted to take longer than the plain network of its backbone" in page.text
