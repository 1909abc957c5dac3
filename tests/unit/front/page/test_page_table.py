"""The table of trials in the document itself, as a reader without JavaScript has it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from front_case import mixed, result, timed, trial, whole
from page_case import page_of
from searched import random_result

from octnas.front import SearchResult
from octnas.front.axis import milliseconds
from octnas.front.describe import mean_alphas, percent
from octnas.record import TrialState


def _named(searched: SearchResult, name: str) -> SearchResult:
    return replace(searched, header=replace(searched.header, name=name))


@pytest.mark.parametrize("seed", range(3))
def test_every_trial_has_exactly_one_element(seed: int) -> None:
    searched = random_result(seed)
    page = page_of(searched)
    assert page.buttons == [(record.id, None) for record in searched.records]
    assert [row["id"] for row in page.rows] == [record.id for record in searched.records]


def test_of_several_searches_each_element_says_whose_it_is() -> None:
    searches = [_named(random_result(seed, count=20), f"search-{seed}") for seed in range(3)]
    page = page_of(searches)
    expected = [(record.id, each.name) for each in searches for record in each.records]
    assert page.buttons == expected
    assert max(Counter(page.buttons).values()) == 1
    assert [(row["id"], row["search"]) for row in page.rows] == expected
    assert page.data["searches"][1]["trials"]["id"] == [record.id for record in searches[1].records]


@pytest.mark.parametrize("seed", range(3))
def test_cells_are_the_trials_figures(seed: int) -> None:
    searched = random_result(seed)
    page = page_of(searched)
    best = searched.best
    front = {each.id for each in searched.front}
    assert best is not None
    for record, row in zip(searched.records, page.rows, strict=True):
        assert row["gflops"] == f"{record.gflops:.3f}"
        assert row["latency"] == milliseconds(record.latency_ms or 0.0)
        assert row["accuracy"] == percent(record.accuracy)
        assert row["backbone"] == record.architecture.backbone
        assert row["epochs"] == str(record.epochs)
        assert row["alphas"] == mean_alphas(record)
        assert row["state"] == (f"failed: {record.reason}" if record.reason else str(record.state))
        words = row["what"].split(", ")
        assert ("best" in words) == (record.id == best.id)
        assert ("front" in words) == (record.id in front and record.id != best.id)
        assert ("over budget" in words) == (not record.within_budget)
        dominated = record.state is TrialState.COMPLETE and record.id not in front
        assert ("dominated" in words) == (dominated and record.yardstick is None)
        assert record.yardstick is None or words[0] == record.yardstick


def test_rows_of_the_front_are_marked_for_the_filter() -> None:
    page = page_of(whole())
    assert page.text.count('<tr class="front">') == len(whole().front) == 3
    for trial_id in ("4", "0", "5"):
        assert (
            f'<tr class="front"><th scope="row"><button type="button" data-trial="{trial_id}">' in page.text
        )


def test_columns_are_there_where_they_have_something_to_say() -> None:
    always = ["id", "what", "gflops", "accuracy", "backbone", "state", "epochs", "alphas"]
    assert list(page_of(whole()).rows[0]) == always
    assert set(page_of(timed()).rows[0]) - set(always) == {"latency"}
    two = page_of([whole(), _named(timed(), "second")])
    assert set(two.rows[0]) - set(always) == {"latency", "search"}
    assert two.rows[0]["latency"] == ""
    assert two.rows[10]["latency"] == "12.50"


def test_slower_than_plain_is_said_in_the_row() -> None:
    rows = page_of(timed()).row
    assert {trial_id for trial_id, row in rows.items() if "fewer FLOPs, slower" in row["what"]} == {"4", "5"}


def test_the_dimensions_are_told_where_both_occur() -> None:
    rows = page_of(mixed()).row
    assert (rows["5"]["backbone"], rows["0"]["backbone"]) == ("i3d_resnet18 (3D)", "resnet18 (2D)")
    assert page_of(whole()).row["5"]["backbone"] == "resnet34"


@pytest.mark.parametrize(
    ("count", "many", "groups"),
    [(0, False, [0]), (1, False, [1]), (300, False, [300]), (301, True, [100, 100, 100, 1])],
)
def test_many_rows_stand_in_groups_of_which_the_page_lays_out_those_in_sight(
    count: int, many: bool, groups: list[int]
) -> None:
    page = page_of(result(*(trial(str(place), 1.0, 0.5) for place in range(count))))
    opening = page.text.split('<table id="trials"')[1].split(">")[0]
    assert ("many" in opening.split("style")[0]) == many
    bodies = page.text.split("<tbody")[1:]
    assert [int(each.split("--rows:")[1].split('"')[0]) for each in bodies] == groups
    assert [each.count("data-trial=") for each in bodies] == groups
    assert len(page.rows) == count


def test_every_column_has_a_width() -> None:
    for searched in (whole(), timed(), [whole(), _named(timed(), "second")]):
        page = page_of(searched)
        style = page.text.split('style="--columns:')[1].split('"')[0]
        assert len(style.replace("minmax(13em,1fr)", "13em").split()) == len(page.rows[0])
