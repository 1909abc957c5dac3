from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from front_case import result, trial, whole
from PIL import Image

from octnas.front import SearchResult
from octnas.front.labels import place_labels
from octnas.front.layers import backbone_colours, sort_layers, staircase
from octnas.front.picture import html_page, write_html, write_png
from octnas.front.report import front_report
from octnas.record import TrialState


class Page(HTMLParser):
    """What a browser would fetch, and the texts of the table's cells."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [f"{tag} {value}" for key, value in attrs if key in ("src", "href")]
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "td" and self.cells:
            self.cells[-1] += data.strip()


def _read(page: str) -> Page:
    parser = Page()
    parser.feed(page)
    return parser


def test_every_trial_with_an_accuracy_is_in_one_group() -> None:
    layers = sort_layers(whole())
    groups = {
        name: [record.id for record in getattr(layers, name)]
        for name in ("front", "dominated", "early", "uniform", "plain", "over", "front_line", "uniform_line")
    }
    assert groups == {
        "front": ["4", "5"],
        "dominated": ["6"],
        "early": ["7", "9"],
        "uniform": ["0", "1"],
        "plain": ["3"],
        "over": ["2"],
        "front_line": ["4", "0", "5"],
        "uniform_line": ["0", "1"],
    }


def test_the_range_shows_complete_trials_and_puts_outliers_at_the_edge() -> None:
    searched = whole()
    layers = sort_layers(searched)
    assert layers.low == pytest.approx(0.89 - 0.12 * 0.06)
    assert layers.high == pytest.approx(0.95 + 0.12 * 0.06)
    records = {record.id: record for record in searched.records}
    assert layers.is_below(records["7"])
    assert layers.below == 2
    assert layers.place(records["7"]) == (1.0, layers.low)
    assert layers.is_beyond(records["2"])
    assert not layers.is_beyond(records["1"])
    assert layers.relative(records["2"])[0] == pytest.approx(0.985)
    assert layers.place(records["5"]) == (1.7, 0.93)


def test_staircase_is_the_best_accuracy_so_far() -> None:
    xs, ys = staircase([trial("1", 1.0, 0.5), trial("2", 1.5, 0.7)], 2.0)
    assert list(zip(xs, ys, strict=True)) == [(1.0, 0.5), (1.5, 0.5), (1.5, 0.7), (2.0, 0.7)]
    assert staircase([], 2.0) == ([], [])


def test_crowded_labels_do_not_cover_each_other() -> None:
    names = [f"uniform-0.{i}" for i in range(4)]
    searched = result(*[trial(str(i), 1.5 + i / 100, 0.9, yardstick=name) for i, name in enumerate(names)])
    layers = sort_layers(searched)
    labels = place_labels(searched, layers)
    assert [label.text for label in labels] == names
    centres = []
    for label in labels:
        x, y = layers.relative(label.record)
        shift = {"left": 0.5, "center": 0.0, "right": -0.5}[label.anchor] * 0.0078 * len(label.text)
        centres.append((x + label.dx + shift, y + label.dy))
    for i, (x, y) in enumerate(centres):
        for other_x, other_y in centres[:i]:
            assert abs(x - other_x) > 0.0078 * 10 or abs(y - other_y) > 0.028


def test_a_label_tells_the_cost_of_what_is_drawn_at_the_edge() -> None:
    searched = whole()
    texts = [label.text for label in place_labels(searched, sort_layers(searched))]
    assert texts == ["best: trial 5", "uniform-0.25", "plain", "uniform-0.75", "plain-pooled, 4.00 →"]


def test_colours_are_the_same_in_every_picture_of_a_search() -> None:
    colours = backbone_colours(whole())
    assert list(colours) == ["resnet18", "resnet34", "resnet50"]
    assert len(set(colours.values())) == 3


def test_the_page_draws_with_no_network(tmp_path: Path) -> None:
    write_html(whole(), tmp_path / "front.html")
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    read = _read(page)
    assert read.fetched == []
    assert "Plotly.newPlot(" in page
    assert len(page) > 3_000_000, "plotly.js is inside"
    rows = [read.cells[i : i + 6] for i in range(0, len(read.cells), 6)]
    assert [row[0] for row in rows] == ["trial 4 (resnet18)", "uniform-0.25 resnet18", "trial 5 (resnet34)"]
    assert rows[2][1:3] == ["1.700", "93.00 %"]
    assert rows[0][5] == "1: 0.25 0.25 0.25 0.25; 2: 0.25 0.25 0.25 0.25; 3: 0.25 0.25 0.25 0.25; 4: 0 0 0 0"


def test_users_strings_are_text_not_markup() -> None:
    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    searched = result(
        trial("1", 1.0, 0.9, yardstick=evil),
        trial("2", 1.5, 0.95),
        name=evil,
    )
    clean = _read(html_page(result(trial("1", 1.0, 0.9, yardstick="uniform-0.5"), trial("2", 1.5, 0.95))))
    read = _read(html_page(searched))
    assert read.fetched == []
    assert read.tags == clean.tags
    assert read.cells[0] == f"{evil} resnet18"


@pytest.mark.parametrize(
    "searched",
    [
        whole(),
        result(),
        result(trial("1", 1.0, 0.9)),
        result(trial("1", 1.0, 0.3, state=TrialState.STOPPED)),
        result(trial("1", 1.0, None, state=TrialState.FAILED)),
        result(trial("1", 2.0, 1.0), trial("2", 2.0, 1.0)),
        result(trial("1", 1.0, 0.9), name="a$b$_{c}^d"),
    ],
    ids=["whole", "empty", "single", "stopped", "failed", "at-the-corner", "dollars"],
)
def test_a_picture_of_any_search(searched: SearchResult, tmp_path: Path) -> None:
    write_png(searched, tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as image:
        assert image.size == (1650, 1050)
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    assert "Plotly.newPlot(" in html_page(searched)


def test_the_png_shows_the_front_in_its_backbones_colour(tmp_path: Path) -> None:
    searched = whole()
    write_png(searched, tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    layers = sort_layers(searched)
    for record in layers.front:
        x, y = layers.relative(record)
        column = round((0.075 + 0.9 * x) * 1650)
        row = round((1 - 0.19 - 0.68 * y) * 1050)
        colour = backbone_colours(searched)[record.architecture.backbone]
        assert "#{:02X}{:02X}{:02X}".format(*pixels[row, column]) == colour


def test_the_report_holds_tables_and_pictures() -> None:
    report = front_report(whole())
    assert (report.front_size, report.finished) == (3, 9)
    assert report.hypervolume == whole().hypervolume
    front = list(csv.DictReader(io.StringIO(str(report.files["front.csv"]))))
    assert [(row["id"], row["gflops"], row["accuracy"]) for row in front] == [
        ("4", "1.2", "0.89"),
        ("0", "1.4", "0.9"),
        ("5", "1.7", "0.93"),
    ]
    trials = list(csv.DictReader(io.StringIO(str(report.files["trials.csv"]))))
    assert {row["id"] for row in trials} == {str(i) for i in range(10)}
    assert report.note.startswith("**Best: trial 5**, resnet34, 93.00 % at 1.700 GFLOPs")
    assert "10^9 multiply-adds" in report.note
    assert str(report.files["front.html"]).startswith("<!doctype html>")
    assert bytes(report.files["front.png"])[:4] == b"\x89PNG"
