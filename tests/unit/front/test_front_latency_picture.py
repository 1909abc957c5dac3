"""The pictures of a front of accuracy against latency."""

from __future__ import annotations

import io
from typing import Any

import pytest
from front_case import PROFILE, timed, whole
from page_case import groups_of, labels_of, page_of

from octnas.front.axis import milliseconds
from octnas.front.labels import Canvas, place_labels
from octnas.front.layers import sort_layers
from octnas.front.png import png_bytes

DEVICE = "a processor, 2 cores, onnxruntime, 1 thread, batch 1"
LONG = {
    **PROFILE,
    "device": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz of a maker that likes long names <2>, 192 cores",
    "threads": 4,
    "batch": 8,
}


def _costs(search: dict[str, Any], axis: str) -> dict[str, float]:
    """Of the members of the front, without yardsticks."""
    costs = dict(zip(search["trials"]["id"], search["trials"][axis], strict=True))
    return {trial_id: costs[trial_id] for trial_id in groups_of(search, axis)["front"]}


def test_the_latency_axis_names_the_device_and_the_budgets() -> None:
    search = page_of(timed(gflops=1.95)).search
    axis = search["axes"]["latency"]
    assert (axis["title"], axis["unit"]) == ("predicted latency of the target network, ms", "ms")
    assert axis["below"] == [DEVICE]
    assert (axis["budget"], axis["note"]) == (24.0, "budget 24 ms\nand 1.95 GFLOPs")
    assert "plain-pooled, 30.00 →" in labels_of(search, "latency").values()
    assert _costs(search, "latency") == {"6": 11.0, "5": 22.0}
    ids = search["trials"]["id"]
    assert [ids[place] for place in search["trials"]["slower"]] == ["4", "5"]
    assert page_of(whole()).search["trials"]["slower"] == []
    assert list(search["axes"]) == ["latency", "gflops"], "the search's own first"
    assert (search["trials"]["gflops"][5], search["trials"]["params"][5]) == (1.7, 11_689_512)


def test_the_gflops_axis_stays_and_the_table_tells_the_latency() -> None:
    page = page_of(timed("gflops", gflops=2.0, ms=None))
    axis = page.search["axes"]["gflops"]
    assert axis["title"] == "GFLOPs of the target network (10^9 multiply-adds)"
    assert axis["below"] == []
    assert _costs(page.search, "gflops") == {"4": 1.2, "5": 1.7}
    assert {row["id"]: row["latency"] for row in page.rows} == {
        each.id: milliseconds(each.latency_ms or 0.0) for each in timed().records
    }


def test_a_budget_of_the_other_cost_has_no_line_but_a_note() -> None:
    searched = timed(gflops=1.95, ms=None, limit=40.0)
    search = page_of(searched).search
    axis = search["axes"]["latency"]
    assert (axis["budget"], axis["note"]) == (None, "budget 1.95 GFLOPs,\nnot on this axis")
    layers = sort_layers(searched)
    # 9 to 22 ms fit, the budget of GFLOPs holds plain-pooled back
    assert (layers.left, layers.right) == pytest.approx((9 - 0.08 * 13, 22 + 0.16 * 13))
    assert search["volume"]["limit"] == "the largest latency of the space"
    assert page_of(timed()).search["volume"]["limit"] == "the budget"


def test_the_page_of_a_latency_search() -> None:
    page = page_of(timed(profile=LONG))
    assert page.title == "Accuracy against latency: first"
    best = page.row["5"]
    assert (best["gflops"], best["latency"], best["accuracy"]) == ("1.700", "22.00", "93.00 %")
    assert best["what"] == "best, fewer FLOPs, slower"
    assert "<2>" not in page.text, "a device's name is text"
    below = page.search["axes"]["latency"]["below"]
    assert " ".join(below) == f"{LONG['device']}, onnxruntime, 4 threads, batch 8"
    assert max(map(len, below)) <= 90
    assert "latency" not in page_of(whole()).row["5"]
    assert page_of(whole()).search["trials"]["latency"] is None


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
