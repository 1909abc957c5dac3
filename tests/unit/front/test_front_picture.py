from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_case import confirmed, result, trial, whole
from page_case import Page, groups_of, labels_of, of_some, page_of
from PIL import Image

from octnas.front import SearchResult
from octnas.front.axis import Axis
from octnas.front.labels import Canvas, Label, place_labels
from octnas.front.layers import Layers, backbone_colours, sort_layers, staircase
from octnas.front.picture import html_page, write_html, write_png
from octnas.front.report import front_report
from octnas.front.verdict import claim_sentence
from octnas.front.volume import volume_curve
from octnas.record import TrialState

CANVAS = Canvas(width=520, height=460, character=6.6, line=16)


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
    assert [record.id for record in layers.below] == ["7", "9"]
    assert layers.inside == ()
    assert layers.early_name == "stopped or under way"
    assert layers.place(records["7"]) == (1.0, layers.low)
    assert layers.is_beyond(records["2"])
    assert not layers.is_beyond(records["1"])
    assert layers.relative(records["2"])[0] == pytest.approx(0.985)
    assert layers.place(records["5"]) == (1.7, 0.93)


def test_staircase_is_the_best_accuracy_so_far() -> None:
    xs, ys = staircase([trial("1", 1.0, 0.5), trial("2", 1.5, 0.7)], 2.0, Axis())
    assert list(zip(xs, ys, strict=True)) == [(1.0, 0.5), (1.5, 0.5), (1.5, 0.7), (2.0, 0.7)]
    assert staircase([], 2.0, Axis()) == ([], [])


def test_crowded_labels_do_not_cover_each_other() -> None:
    names = [f"uniform-0.{i}" for i in range(4)]
    searched = result(*[trial(str(i), 1.5 + i / 100, 0.9, yardstick=name) for i, name in enumerate(names)])
    layers = sort_layers(searched)
    labels = place_labels(searched, layers, CANVAS)
    assert [label.text for label in labels] == names
    boxes = [_extent(label, layers) for label in labels]
    for i, (left, low, right, high) in enumerate(boxes):
        assert left >= -1e-9
        assert right <= CANVAS.width
        for other in boxes[:i]:
            assert right <= other[0] or other[2] <= left or high <= other[1] or other[3] <= low


def _extent(label: Label, layers: Layers) -> tuple[float, float, float, float]:
    """Left, lower, right and upper end of a label's text in px."""
    x, y = layers.relative(label.record)
    width = CANVAS.character * len(label.text)
    left = {"left": 0.0, "center": -0.5, "right": -1.0}[label.anchor] * width + CANVAS.width * x + label.dx
    low = CANVAS.height * y + label.dy - CANVAS.line / 2
    return left, low, left + width, low + CANVAS.line


def test_a_label_keeps_clear_of_the_line_through_its_neighbourhood() -> None:
    """The front's riser at 1.5 GFLOPs runs where the name of the yardstick at 1.52 would stand by default."""
    searched = result(
        trial("1", 1.0, 0.80),
        trial("2", 1.5, 0.90),
        trial("3", 1.52, 0.85, yardstick="uniform-0.5"),
    )
    layers = sort_layers(searched)
    label = next(each for each in place_labels(searched, layers, CANVAS) if each.record.id == "3")
    left, _, right, _ = _extent(label, layers)
    riser = CANVAS.width * (1.5 - layers.left) / (layers.right - layers.left)
    assert not left < riser < right


def test_a_label_tells_the_cost_of_what_is_drawn_at_the_edge() -> None:
    searched = whole()
    texts = [label.text for label in place_labels(searched, sort_layers(searched), CANVAS)]
    assert texts == ["best: trial 5", "uniform-0.25", "plain", "uniform-0.75", "plain-pooled, 4.00 →"]


def test_colours_are_the_same_in_every_picture_of_a_search() -> None:
    colours = backbone_colours(whole())
    assert list(colours) == ["resnet18", "resnet34", "resnet50"]
    assert len(set(colours.values())) == 3


def test_the_page_has_the_trials_in_their_groups_and_the_lines(tmp_path: Path) -> None:
    write_html(whole(), tmp_path / "front.html")
    page = Page((tmp_path / "front.html").read_text(encoding="utf-8"))
    assert page.fetched == []
    assert groups_of(page.search) == {
        "front": ["4", "5"],
        "dominated": ["6"],
        "early": ["7", "9"],
        "uniform": ["0", "1"],
        "plain": ["3"],
        "over": ["2"],
        "": ["8"],
    }
    axis = page.search["axes"]["gflops"]
    assert axis["front"] == [[1.2, 0.89], [1.4, 0.89], [1.4, 0.90], [1.7, 0.90], [1.7, 0.93], [2.0, 0.93]]
    assert axis["uniform"] == [[1.4, 0.90], [1.9, 0.90], [1.9, 0.91], [2.0, 0.91]]
    layers = sort_layers(whole())
    assert axis["range"] == [layers.left, layers.right, layers.low, layers.high]
    assert (axis["budget"], axis["limit"], axis["note"]) == (2.0, 2.0, "budget 2")
    assert axis["early"] == "stopped or under way"
    assert page.search["trials"]["id"][axis["best"]] == "5"
    assert labels_of(page.search) == {
        "5": "best: trial 5",
        "0": "uniform-0.25",
        "3": "plain",
        "1": "uniform-0.75",
        "2": "plain-pooled, 4.00 →",
    }


def test_the_table_has_what_the_terminal_has() -> None:
    page = page_of(whole())
    assert {trial_id: row["what"] for trial_id, row in page.row.items()} == {
        "0": "uniform-0.25, front",
        "1": "uniform-0.75",
        "2": "plain-pooled, over budget",
        "3": "plain",
        "4": "front",
        "5": "best",
        "6": "dominated",
        "7": "",
        "8": "",
        "9": "",
    }
    assert page.row["5"] == {
        "id": "5",
        "what": "best",
        "gflops": "1.700",
        "accuracy": "93.00 %",
        "backbone": "resnet34",
        "state": "complete",
        "epochs": "1",
        "alphas": "0.25 0.25 0.25 0.00",
    }
    assert page.row["8"]["state"] == "failed: loss is nan in epoch 1"
    assert page.row["8"]["accuracy"] == "-"


@pytest.mark.parametrize(
    "searched",
    [
        whole(),
        confirmed(),
        result(),
        result(trial("1", 1.0, 0.9)),
        result(trial("1", 1.0, 0.3, state=TrialState.STOPPED)),
        result(trial("1", 1.0, None, state=TrialState.FAILED)),
        result(trial("1", 2.0, 1.0), trial("2", 2.0, 1.0)),
        result(trial("1", 1.0, 0.9), name="a$b$_{c}^d"),
    ],
    ids=["whole", "confirmed", "empty", "single", "stopped", "failed", "at-the-corner", "dollars"],
)
def test_a_picture_of_any_search(searched: SearchResult, tmp_path: Path) -> None:
    write_png(searched, tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as image:
        assert image.size == (1650, 1470)
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    page = page_of(searched)
    assert page.search["name"] == searched.name
    assert page.search["trials"]["id"] == [record.id for record in searched.records]
    assert page.search["trials"]["accuracy"] == [record.accuracy for record in searched.records]


def test_the_png_shows_the_front_in_its_backbones_colour(tmp_path: Path) -> None:
    searched = whole()
    write_png(searched, tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    layers = sort_layers(searched)
    for record in layers.front:
        x, y = layers.relative(record)
        colour = backbone_colours(searched)[record.architecture.backbone]
        assert _colour(pixels, x, y) == colour


def _colour(pixels: Any, x: float, y: float) -> str:
    """At shares of the front's width and height in the PNG."""
    column = round((0.075 + 0.9 * x) * 1650)
    row = round((9.8 - 3.48 - 4.75 * y) * 150)
    return "#{:02X}{:02X}{:02X}".format(*pixels[row, column])


def _bars(searched: SearchResult) -> dict[str, list[Any]]:
    """Mean, standard deviation and seeds of the bars in the page, by trial."""
    return {trial_id: bar[:3] for trial_id, bar in of_some(page_of(searched).search, "seeds").items()}


def test_bars_stand_at_the_trials_with_further_seeds_and_nowhere_else(tmp_path: Path) -> None:
    searched = confirmed()
    assert _bars(whole()) == {}
    assert _bars(searched) == {
        "1": [pytest.approx(0.905), pytest.approx(0.001 * 7**0.5, rel=1e-5), 3],  # .903 .904 .908
        "5": [pytest.approx(0.920), pytest.approx(0.001), 3],  # .919 .920 .921
    }
    (_, _, _, words) = of_some(page_of(searched).search, "seeds")["5"]
    assert words == "validation 92.00 ± 0.10 %, test 90.90 ± 0.10 % (3 seeds)"

    write_png(searched, tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    layers = sort_layers(searched)
    assert [each.record.id for each in layers.confirmed] == ["5", "1"]
    for each in layers.confirmed:
        x, _ = layers.relative(each.record)
        y = (each.mean - layers.low) / (layers.high - layers.low)
        assert _colour(pixels, x, y) == "#1F2933"


def test_one_further_seed_has_no_bar() -> None:
    searched = result(trial("1", 1.0, 0.9).with_seed(1000, 0.89), trial("2", 1.5, 0.92))
    assert sort_layers(searched).confirmed == ()
    assert _bars(searched) == {"1": [0.89, None, 1]}


def test_bars_are_within_the_range() -> None:
    record = trial("1", 1.0, 0.9)
    for seed, accuracy in ((1000, 0.7), (1001, 0.8)):
        record = record.with_seed(seed, accuracy)
    layers = sort_layers(result(record, trial("2", 1.5, 0.92)))
    (bar,) = layers.confirmed
    assert bar.ends == pytest.approx((0.75 - 0.05 * 2**0.5, 0.75 + 0.05 * 2**0.5))
    assert layers.low < bar.ends[0]


def test_the_page_says_the_claim_first_and_shows_the_hypervolume_by_trial() -> None:
    searched = confirmed()
    page = html_page(searched)
    claim = searched.claim
    assert claim is not None
    assert f'<p class="claim">{claim_sentence(claim)}</p>' in page
    assert "<li>trial 5 (resnet34): validation 92.00 ± 0.10 %, test 90.90 ± 0.10 % (3 seeds)</li>" in page
    assert "Bars are means of fresh seeds" in page
    plain = html_page(whole())
    assert 'class="claim"' not in plain
    assert "Bars are means" not in plain


def test_hypervolume_by_trial_is_drawn_above_what_the_yardsticks_reach() -> None:
    searched = whole()
    search = page_of(searched).search
    drawn = [
        (search["trials"]["id"][place], number, value) for place, number, value in search["volume"]["points"]
    ]
    numbered = enumerate(searched.hypervolume_by_trial, start=1)
    assert drawn == [
        (record.id, number, pytest.approx(volume, rel=1e-5)) for number, (record, volume) in numbered
    ]
    assert len(drawn) == search["volume"]["count"] == 7
    curve = volume_curve(searched)
    # uniform-0.25 at 1.4, plain at 1.8 and uniform-0.75 at 1.9 GFLOPs under a budget of 2.
    assert curve.yardsticks == pytest.approx((0.90 * 0.6 + 0.005 * 0.2 + 0.005 * 0.1) / 2)
    assert search["volume"]["yardsticks"] == pytest.approx(curve.yardsticks, rel=1e-5)
    assert curve.low < curve.yardsticks < searched.hypervolume < curve.high
    assert search["volume"]["range"] == [curve.low, curve.high]
    over = result(trial("1", 3.0, 0.9, yardstick="plain-pooled"))
    assert volume_curve(over).points == ()
    assert page_of(over).search["volume"]["points"] == []


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
    assert {row["id"] for row in trials if row["on_front"] == "True"} == {"4", "0", "5"}
    found, rest, table, units = report.note.split("\n\n")
    assert found.startswith(
        "**Best candidate: trial 5**, resnet34, 93.00 % at 1.700 GFLOPs under a budget of 2 GFLOPs."
    )
    assert "is ahead of the best uniform yardstick" in found
    assert rest.startswith(
        "The most accurate candidate, trial 5 (resnet34), is 2.00 points below the plain pooled"
    )
    rows = [
        [cell.replace("&emsp;", "").strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
    ]
    assert {len(row) for row in rows} == {6}
    assert [row[0] for row in rows[2:]] == [
        "4",
        "0 uniform-0.25",
        "5",
        "3 plain",
        "1 uniform-0.75",
        "2 plain-pooled",
    ]
    assert rows[-1] == [
        "2 plain-pooled",
        "4.000",
        "95.00 %",
        "resnet50",
        "0.25 0.25 0.25 0.00",
        "over budget",
    ]
    assert "10^9 multiply-adds" in units
    assert all(row["accuracy_seed_mean"] == row["test_accuracy_sd"] == "" for row in trials)
    assert (report.claim, report.outcome) == ({}, None)
    assert report.hypervolumes == tuple(volume for _, volume in whole().hypervolume_by_trial)
    assert report.hypervolumes[-1] == report.hypervolume
    assert str(report.files["front.html"]).startswith("<!doctype html>")
    large, small = (
        Image.open(io.BytesIO(bytes(report.files[name]))).size for name in ("front.png", "front-small.png")
    )
    assert large == (1650, 1470)
    assert small[0] < large[0]
    assert small[1] == pytest.approx(small[0] * large[1] / large[0], abs=1)


def test_the_report_holds_the_claim() -> None:
    report = front_report(confirmed())
    assert report.outcome == "beats"
    half = 4.302652729749462 * 0.2 / 3**0.5  # the pairs differ by 1.3, 1.7 and 1.5 points
    assert report.claim == pytest.approx(
        {
            "claim_difference_points": 1.5,
            "claim_seeds": 3.0,
            "claim_candidate_accuracy": 0.909,
            "claim_yardstick_accuracy": 0.894,
            "claim_low_points": 1.5 - half,
            "claim_high_points": 1.5 + half,
        }
    )
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(str(report.files["trials.csv"])))}
    assert float(rows["5"]["accuracy_seed_mean"]) == pytest.approx(0.920)
    assert float(rows["5"]["test_accuracy_sd"]) == pytest.approx(0.001)
    assert rows["4"]["accuracy_seed_mean"] == ""
    assert "\n- trial 5 (resnet34): validation 92.00 ± 0.10 %, test 90.90 ± 0.10 % (3 seeds)" in report.note
