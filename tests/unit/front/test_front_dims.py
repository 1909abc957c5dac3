"""Backbones of 2D and of 3D told apart in every table and picture, and deep backbones in a few lines."""

from __future__ import annotations

import csv
import io

import numpy as np
from front_case import mixed, result, seeded, trial, whole
from page_case import page_of
from PIL import Image
from rich.console import Console

from octnas.front import SearchResult
from octnas.front.describe import stages, units, what_search
from octnas.front.labels import Canvas, place_labels
from octnas.front.layers import backbone_colours, backbone_names, sort_layers
from octnas.front.picture import html_page
from octnas.front.png import png_bytes
from octnas.front.report import front_report
from octnas.front.text import front_table
from octnas.front.verdict import claim_sentence

CANVAS = Canvas(width=520, height=460, character=6.6, line=16)


def _lines(searched: SearchResult, width: int = 80) -> list[list[str]]:
    file = io.StringIO()
    Console(width=width, file=file).print(front_table(searched))
    assert "…" not in file.getvalue()
    return [line.split() for line in file.getvalue().splitlines()]


def test_the_table_has_a_column_only_where_both_occur() -> None:
    rows = {line[1]: line for line in _lines(mixed()) if line and line[0] in ("best", "front", "over")}
    assert rows["5"][-6:] == ["i3d_resnet18", "3D", "0.25", "0.25", "0.25", "0.00"]
    assert rows["0"][-6:] == ["resnet18", "2D", "0.25", "0.25", "0.25", "0.00"]
    assert not any("2D" in line or "dims" in line for line in _lines(whole()))


def test_the_stages_of_a_mobilenet_fold_and_are_all_there() -> None:
    searched = result(trial("1", 1.0, 0.9, backbone="mobilenet_v2"), trial("2", 1.5, 0.95))
    lines = _lines(searched)
    first = next(i for i, line in enumerate(lines) if line[:2] == ["front", "1"])
    cells = [
        word for line in lines[first : first + 3] for word in line if word[:2] == "0." and len(word) == 4
    ]
    assert len(cells) >= 8


def test_rows_say_which_dimension() -> None:
    searched = mixed()
    trials = {each["id"]: each["dims"] for each in searched.to_dict()["trials"]}
    assert (trials["0"], trials["1"], trials["4"]) == (2, 3, 2)
    report = front_report(searched)
    table = report.files["front.csv"]
    assert isinstance(table, str)
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(table))}
    assert {key: row["dims"] for key, row in rows.items()} == {"3": "2", "0": "2", "4": "2", "5": "3"}
    assert "| i3d_resnet18 | 3D | 0.25 0.25 0.25 0.00 |" in report.note
    assert " 2D |" not in front_report(whole()).note


def test_pictures_mark_all_trials_of_3d_backbones_and_them_alone() -> None:
    searched = mixed()
    layers = sort_layers(searched)
    assert {record.id for record in layers.volumetric} == {"1", "2", "5", "7", "8"}
    assert sort_layers(whole()).volumetric == ()
    only = result(trial("1", 1.0, 0.9, backbone="i3d_resnet18"))
    assert sort_layers(only).volumetric == ()

    search = page_of(searched).search
    volumetric = {
        trial_id
        for trial_id, index in zip(search["trials"]["id"], search["trials"]["backbone"], strict=True)
        if search["backbones"][index]["dims"] == 3
    }
    assert (search["mixed"], volumetric) == (True, {"1", "2", "5", "7", "8"})
    (backbone,) = (each for each in search["backbones"] if each["dims"] == 3)
    assert backbone["colour"] == backbone_colours(searched)["i3d_resnet18"]
    assert not page_of(whole()).search["mixed"]
    assert not page_of(only).search["mixed"]


def test_names_and_labels_say_it() -> None:
    searched = mixed()
    assert backbone_names(searched) == {
        "resnet18": "resnet18 (2D)",
        "i3d_resnet18": "i3d_resnet18 (3D)",
        "resnet152": "resnet152 (2D)",
    }
    assert list(backbone_colours(searched)) == ["resnet18", "resnet152", "i3d_resnet18"]
    assert set(backbone_names(whole())) == set(backbone_names(whole()).values())
    texts = {label.text for label in place_labels(searched, sort_layers(searched), CANVAS)}
    assert texts == {"best: trial 5, 3D", "uniform-0.25", "uniform-0.75, 3D", "plain-pooled, 3D, 4.00 →"}
    page = page_of(searched)
    assert page.row["5"]["backbone"] == "i3d_resnet18 (3D)"
    assert [each["label"] for each in page.search["backbones"]] == list(backbone_names(searched).values())
    assert "Marks with a plus are of 3D backbones" in page.words
    assert "with a plus" not in html_page(whole())


def test_the_png_has_a_white_plus_in_a_mark_of_3d() -> None:
    picture = np.asarray(Image.open(io.BytesIO(png_bytes(mixed()))).convert("RGB")).astype(int)
    layers = sort_layers(mixed())
    x, y = layers.relative(next(record for record in layers.volumetric if record.id == "5"))
    height, width, _ = picture.shape
    row, column = height - round(height * (3.48 + 4.75 * y) / 9.8), round(width * (0.075 + 0.9 * x))
    tint = [int(backbone_colours(mixed())["i3d_resnet18"][i : i + 2], 16) for i in (1, 3, 5)]
    around = picture[row - 12 : row + 13, column - 12 : column + 13]
    assert np.abs(around[12, 12] - 255).max() < 40, "white in the middle of the mark"
    assert (np.abs(around - tint).max(axis=2) < 40).sum() > 30, "in the colour of the backbone"


def test_a_deep_stage_takes_few_words() -> None:
    deep = trial("1", 1.0, 0.9, backbone="resnet152")
    lines = stages(deep)
    assert lines[0] == "1: 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25"
    assert lines[2] == "3: 0.25 x 108"


def test_words_of_clips() -> None:
    searched = mixed()
    assert what_search(searched.header).startswith("space imagenet-2d, data glyphs as 1x4x20x20, budget")
    assert "validation clips" in units(searched.header)
    assert "validation images" in units(whole().header)
    records = [seeded(each, (0.9, 0.91, 0.92), (0.9, 0.91, 0.92)) for each in searched.records]
    again = result(*records, options=dict(searched.header.options))
    assert again.claim is not None
    assert "test clips" in claim_sentence(again.claim)
