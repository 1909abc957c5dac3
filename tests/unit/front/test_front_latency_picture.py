"""The pictures of a front of accuracy against latency."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from typing import Any

import pytest
from front_case import PROFILE, timed, whole

from octnas.front.describe import SLOWER_NOTE
from octnas.front.labels import Canvas, place_labels
from octnas.front.layers import sort_layers
from octnas.front.picture import html_page
from octnas.front.plot import front_figure
from octnas.front.png import png_bytes

DEVICE = "a processor, 2 cores, onnxruntime, 1 thread, batch 1"
LONG = {
    **PROFILE,
    "device": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz of a maker that likes long names <2>, 192 cores",
    "threads": 4,
    "batch": 8,
}


def test_the_latency_axis_names_the_device_and_the_budgets() -> None:
    figure = front_figure(timed(gflops=1.95))
    title = figure.layout.xaxis.title.text
    assert title.startswith("predicted latency of the target network, ms<br>")
    assert DEVICE in title
    texts = {note.text: note.x for note in figure.layout.annotations}
    assert texts["budget 24 ms<br>and 1.95 GFLOPs"] == 24.0
    assert any("plain-pooled, 30.00 →" in text for text in texts)
    (points,) = (trace for trace in figure.data if trace.name == "front" and trace.customdata)
    assert dict(zip(points.customdata, points.x, strict=True)) == {"6": 11.0, "5": 22.0}
    (hover,) = (text for text in points.text if "trial 5" in text)
    assert "1.700 GFLOPs, 22.00 ms, 11.69 M parameters of the target" in hover
    assert f"<b>{SLOWER_NOTE}</b>" in hover
    assert sum(SLOWER_NOTE in text for text in points.text) == 1
    (rings,) = (trace for trace in figure.data if trace.name == "fewer FLOPs, slower")
    assert dict(zip(rings.customdata, rings.x, strict=True)) == {"4": 14.0, "5": 22.0}
    assert not [trace for trace in front_figure(whole()).data if trace.name == "fewer FLOPs, slower"]


def test_the_gflops_axis_stays_and_hovers_tell_the_latency() -> None:
    figure = front_figure(timed("gflops", gflops=2.0, ms=None))
    assert figure.layout.xaxis.title.text == "GFLOPs of the target network (10<sup>9</sup> multiply-adds)"
    (points,) = (trace for trace in figure.data if trace.name == "front" and trace.customdata)
    assert dict(zip(points.customdata, points.x, strict=True)) == {"4": 1.2, "5": 1.7}
    assert all(" ms, " in text for text in points.text)


def test_a_budget_of_the_other_cost_has_no_line_but_a_note() -> None:
    searched = timed(gflops=1.95, ms=None, limit=40.0)
    figure = front_figure(searched)
    assert figure.layout.shapes == ()
    assert "budget 1.95 GFLOPs,<br>not on this axis" in {note.text for note in figure.layout.annotations}
    layers = sort_layers(searched)
    # 9 to 22 ms fit, the budget of GFLOPs holds plain-pooled back
    assert (layers.left, layers.right) == pytest.approx((9 - 0.08 * 13, 22 + 0.16 * 13))
    assert "the largest latency of the space" in html_page(searched)
    assert "the largest latency of the space" not in html_page(timed())


def test_the_page_of_a_latency_search() -> None:
    page = html_page(timed(profile=LONG))
    assert "<title>Accuracy against latency: first</title>" in page
    assert "<th>GFLOPs</th><th>ms</th><th>accuracy</th>" in page
    assert "<td>22.00 (fewer FLOPs, slower)</td>" in page
    assert "<2>" not in page, "a device's name is text"
    cells = _Cells()
    cells.feed(page)
    assert cells.rows[1][:4] == ["5", "1.700", "22.00 (fewer FLOPs, slower)", "93.00 %"]
    assert "<th>ms</th>" not in html_page(whole())


class _Cells(HTMLParser):
    """The texts of the table's cells, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        self._inside = tag == "td"
        if self._inside:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "td"
        self.rows = self.rows if tag != "thead" else []

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


@pytest.mark.parametrize("profile", [PROFILE, LONG])
def test_the_png_gives_the_device_room(profile: dict[str, Any]) -> None:
    """What stands below the axis' title must not reach the legend: nothing is drawn between the two."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(png_bytes(timed(gflops=1.95, profile=profile)))) as image:
        assert image.size == (1650, 1470)
        ink = (np.asarray(image.convert("L")) < 200)[:, :].any(axis=1)
    legend = round((9.8 - 2.94) * 150)
    assert not ink[legend - 12 : legend].any()
    assert ink[legend - 60 : legend - 12].any()
    assert ink[legend : legend + 40].any()


def test_the_best_is_labelled_as_slow() -> None:
    searched = timed()
    canvas = Canvas(width=520, height=460, character=6.6, line=16)
    texts = [label.text for label in place_labels(searched, sort_layers(searched), canvas)]
    assert texts[0] == "best: trial 5, slower than plain"
    assert texts[-1] == "plain-pooled, 30.00 →"
