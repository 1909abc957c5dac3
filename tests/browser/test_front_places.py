"""Where the front page puts things in a real browser: names, boxes of words, marks at the edges, rows."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from front_shown import READY, Show, entry
from fronts_drawn import synthetic_search
from playwright.sync_api import Page, expect

from octnas.architecture import Architecture
from octnas.front import SearchResult
from octnas.record import TrialState
from octnas.record.trainings import Training

sys.path.append(str(Path(__file__).parents[1] / "unit" / "front"))
from front_case import confirmed, result, timed, trial, whole

WIDTHS = (500, 800, 1200)
Box = tuple[float, float, float, float]

BOXES = """(selector) => [...document.querySelectorAll(selector)].map((each) => {
    const { left, top, right, bottom } = each.getBoundingClientRect();
    return [left, top, right, bottom];
})"""


def boxes(page: Page, selector: str) -> list[Box]:
    """Left, top, right and bottom of each element, in px of the window."""
    return [tuple(each) for each in page.evaluate(BOXES, selector)]


def apart(one: Box, other: Box) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def within(one: Box, other: Box) -> bool:
    return one[0] >= other[0] and one[1] >= other[1] and one[2] <= other[2] and one[3] <= other[3]


def resized(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    expect(page.locator("#chart svg")).to_have_attribute(
        "width", str(page.evaluate("document.getElementById('chart').clientWidth"))
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_said_of_a_mark_never_covers_it_nor_leaves_the_window(show: Show, width: int) -> None:
    page = show(confirmed())
    resized(page, width)
    page.locator("#chart .glass").focus()
    page.keyboard.press("Home")
    for _ in confirmed().records[:9]:
        (tip,) = boxes(page, "#chart .tip")
        (ring,) = boxes(page, "#chart .ring")
        assert apart(tip, ring)
        assert within(tip, (0, 0, width, 700))
        page.keyboard.press("ArrowRight")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("trials", [30, 400])
def test_names_keep_clear_of_one_another_and_of_the_frame(show: Show, width: int, trials: int) -> None:
    page = show(synthetic_search(trials))
    resized(page, width)
    names = boxes(page, "#chart text.name")
    texts = page.locator("#chart text.name").all_text_contents()
    assert [text.split(",")[0] for text in texts[1:]] == ["uniform-0", "uniform-0.25", "plain-pooled"]
    (frame,) = boxes(page, "#chart svg")
    for place, name in enumerate(names):
        assert within(name, frame)
        assert all(apart(name, other) for other in names[place + 1 :])


def test_the_words_of_a_mark_are_those_of_the_legend(show: Show) -> None:
    page = show(whole())
    legend = page.locator("#legend").all_inner_texts()[0].splitlines()
    said = {}
    page.locator("#chart .glass").focus()
    page.keyboard.press("Home")
    for _ in range(9):
        name, what = page.locator("#chart .tip").inner_text().splitlines()[:2]
        said[name] = what
        page.keyboard.press("ArrowRight")
    assert said == {
        "trial 4": "front",
        "trial 5": "front, the best",
        "trial 6": "dominated",
        "trial 7": "stopped early",
        "trial 9": "under way, running",
        "uniform-0.25 resnet18": "uniform alpha, pooled, on the front",
        "uniform-0.75 resnet34": "uniform alpha, pooled",
        "plain-pooled resnet50": "over budget",
        "plain resnet18": "plain network",
    }
    groups = ["front", "dominated", "stopped or under way", "uniform alpha, pooled", "plain network"]
    assert [line for line in legend if line in {*groups, "over budget"}] == [*groups, "over budget"]


def test_listeners_hear_what_the_keys_point_at(show: Show) -> None:
    page = show(whole())
    page.locator("#chart .glass").focus()
    page.keyboard.press("End")
    assert page.locator("#said").inner_text().startswith("plain-pooled resnet50; over budget; 95.00 %")
    page.mouse.move(300, 400)
    assert page.locator("#said").inner_text().startswith("plain-pooled resnet50")


def test_one_box_speaks_of_a_row(show: Show) -> None:
    page = show(confirmed())
    resized(page, 500)
    entry(page, "5").focus()
    (tip,) = boxes(page, ".tip:not([hidden])")
    (row,) = boxes(page, "#trials tr:focus-within")
    assert page.locator("#rows .tip b").inner_text() == "trial 5"
    assert apart(tip, row)
    assert within(tip, (0, 0, 500, 700))


def test_a_closer_look_keeps_the_focus_and_escape_ends_it(show: Show) -> None:
    page = show(synthetic_search(100))
    glass = page.locator("#chart .glass")
    (left, top, _, _) = boxes(page, "#chart .glass")[0]
    page.mouse.move(left + 300, top + 100)
    page.mouse.down()
    page.mouse.move(left + 700, top + 350, steps=3)
    page.mouse.up()
    expect(page.locator("#reset")).to_be_visible()
    page.keyboard.press("Home")
    (frame,), (ring,) = boxes(page, "#chart .glass"), boxes(page, "#chart .ring")
    assert within(ring, frame)
    page.keyboard.press("Escape")
    expect(page.locator("#reset")).to_be_hidden()
    assert glass.evaluate("(each) => document.activeElement === each")


def test_a_full_training_beyond_the_picture_has_an_arrow_at_its_edge(show: Show) -> None:
    trained = (
        Training(trial_id="5", scale="full", epochs=12, accuracy=0.94),
        Training(trial_id="5", scale="target", epochs=90, accuracy=0.76),
    )
    page = show(replace(whole(), trainings=trained))
    (inside, beyond), (arrow,) = boxes(page, "#chart .star"), boxes(page, "#chart .arrow")
    assert arrow[1] > inside[3]
    assert not apart((0, beyond[1], 2000, beyond[3]), arrow)
    assert "stars with an arrow lie beyond it" in page.locator("#about").inner_text()
    assert "arrow" not in show(whole()).locator("#about").inner_text()


def test_several_searches_differ_by_letters_and_strokes(show: Show) -> None:
    page = show(whole(), synthetic_search(30))
    letters = page.evaluate(
        "[...document.querySelectorAll('#chart text.letter')].map((each) => each.textContent)"
    )
    assert set(letters) == {"A", "B"}
    dashes = page.evaluate(
        "[...document.querySelectorAll('#chart path.front-line')].map((each) => each.style.strokeDasharray)"
    )
    assert dashes == ["none", "16, 4"]
    keys = page.locator("#legend label", has=page.locator("text.letter"))
    assert keys.all_inner_texts() == ["A\nfirst", "B\nsynthetic"]
    assert page.locator("#chart svg > text", has_text="budget 2").all_text_contents() == ["budget 2"]
    other = replace(whole(), header=replace(whole().header, name="dearer", budget_gflops=3.0))
    page = show(whole(), other)
    notes = page.locator("#chart svg > text", has_text="budget").all_text_contents()
    assert notes == ["A: budget 2", "B: budget 3"]


def test_letters_in_marks_can_be_read(show: Show) -> None:
    """White on the dark of octnas's colours, black on the light: 4.5 to 1."""
    many = ("resnet18", "resnet34", "resnet50", "resnet26", "resnet101", "resnet152", "resnet10", "resnet200")
    page = show(result(*(trial(str(i), 1 + 0.1 * i, 0.5 + 0.01 * i, backbone=b) for i, b in enumerate(many))))
    inks = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('#legend text.letter')].map((each) =>
            [each.previousElementSibling.getAttribute('fill'), each.getAttribute('fill')]))"""
    )
    white = {colour for colour, ink in inks.items() if ink == "#fff"}
    assert len(inks) == 8
    assert white == {"#0072B2", "#7F5539", "#6A4C93"}


def test_what_was_unticked_stays_so_on_the_other_axis(show: Show) -> None:
    page = show(timed("gflops", gflops=2.0, ms=None))
    page.locator("#legend").get_by_label("resnet34").uncheck()
    page.get_by_label("latency (ms)").check()
    expect(page.locator("#legend").get_by_label("resnet34")).not_to_be_checked()
    assert "resnet34" not in page.locator("#chart text.name").all_text_contents()[0]


def test_thousands_of_rows_are_laid_out_by_groups(show: Show) -> None:
    searched = synthetic_search(420)
    page = show(searched)
    groups = "[...document.getElementById('trials').tBodies]"
    assert page.evaluate(f"{groups}.map((each) => each.rows.length)") == [100, 100, 100, 100, 20]
    page.locator("#filter").select_option("complete")
    complete = sum(each.state is TrialState.COMPLETE for each in searched.records)
    shown = page.evaluate(f"{groups}.map((each) => +each.style.getPropertyValue('--rows'))")
    assert sum(shown) == complete
    assert shown == sorted(shown, reverse=True)
    page.locator("#filter").select_option("all")
    page.locator("#trials thead").get_by_role("button", name="GFLOPs").click()
    costs = page.evaluate(
        "[...document.querySelectorAll('#trials tbody tr')].map((row) => row.cells[2].textContent)"
    )
    assert len(costs) == 420
    assert costs == sorted(costs)
    last = page.evaluate(
        "[...document.getElementById('trials').tBodies[0].rows].at(-1).querySelector('button').dataset.trial"
    )
    entry(page, last).focus()
    page.keyboard.press("ArrowDown")
    (focused,) = boxes(page, "#trials tr:focus-within")
    (frame,) = boxes(page, "#rows")
    assert frame[1] <= focused[1]
    assert focused[3] <= frame[3]


def test_keys_can_go_past_the_table(show: Show) -> None:
    page = show(synthetic_search(40))
    page.locator("#past").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#wanted') !== null")


def test_keys_reach_every_stretch_of_training_and_open_its_trial(show: Show) -> None:
    searched = synthetic_search(20)
    page = show(searched)
    page.locator("#workers .glass").focus()
    seen = []
    page.keyboard.press("Home")
    for _ in searched.spans:
        seen.append(page.locator("#workers .tip b").inner_text())
        page.keyboard.press("ArrowRight")
    assert len(set(seen)) == len(searched.spans)
    page.keyboard.press("Enter")
    expect(page.locator("#architecture-head")).to_have_text(seen[-1][0].upper() + seen[-1][1:])


def test_hypervolume_is_seen_only_inside_its_axes(show: Show) -> None:
    poor, good = trial("1", 1.9, 0.3), trial("3", 1.2, 0.95)
    page = show(result(poor, trial("2", 1.4, 0.9, yardstick="uniform-0.25"), good))
    (line,) = boxes(page, "#volume g path.stroke")
    assert line[3] > max(axis[3] for axis in boxes(page, "#volume line.axis"))
    assert page.locator("#volume g path.stroke").locator("..").get_attribute("clip-path") is not None


def test_times_without_length_are_not_drawn(show: Show) -> None:
    searched = synthetic_search(10)
    still = replace(searched, spans=tuple(replace(each, start=0.0, end=0.0) for each in searched.spans))
    assert show(still).locator("#workers").is_hidden()


def test_hours_are_told_in_hours(show: Show) -> None:
    searched = synthetic_search(40)
    long = replace(searched, spans=tuple(longer(each, 600) for each in searched.spans))
    page = show(long)
    assert page.locator("#workers svg text", has_text="hours since the search began").count() == 1
    assert page.locator("#workers").inner_text().count("8 workers trained for") == 1


def test_a_worker_that_came_for_another_left_no_place_idle(show: Show) -> None:
    searched = synthetic_search(4)
    one, two, three, four = (
        replace(span, lane=lane, start=start, end=end)
        for span, lane, start, end in zip(
            searched.spans, (0, 1, 1, 2), (0, 0, 8, 14), (20, 8, 12, 20), strict=True
        )
    )
    page = show(replace(searched, spans=(one, two, three, four)))
    said = "3 workers, at most 2 at once, trained for 95 % of the time that 2 have from first to last."
    expect(page.locator("#workers")).to_contain_text(said)


def longer(span: Any, times: float) -> Any:
    return replace(span, start=times * span.start, end=times * span.end)


def test_without_octaves_a_sentence_stands_for_the_picture(show: Show) -> None:
    plain = Architecture.uniform("resnet18", alpha=0, downsample="pooled")
    records = [replace(trial(str(i), 1.8, 0.9 + 0.01 * i), architecture=plain) for i in range(3)]
    page = show(result(*records))
    assert "None has an octave in any layer." in page.locator("#wanted").inner_text()
    assert page.locator("#wanted .chart").count() == 0


def test_without_trials_there_is_nothing_to_open(show: Show) -> None:
    page = show(result())
    assert page.locator("#architecture").is_hidden()
    assert page.locator("#table").is_hidden()
    assert page.locator("#legend label").count() == 0


def test_a_page_without_room_draws_once_it_has_some(show: Show) -> None:
    page = show(whole())
    page.set_viewport_size({"width": 150, "height": 700})
    page.reload()
    page.wait_for_function(READY)
    assert page.locator("#chart path.mark").count() == 0
    resized(page, 800)
    assert page.locator("#chart path.mark").count() == 6
    assert "Crosses at the right edge" in page.locator("#about").inner_text()


def test_searches_share_an_axis_even_where_one_is_empty(show: Show) -> None:
    empty = result(budget=None, name="empty", budget_ms=20.0, objective="latency")
    page = show(empty, whole())
    assert page.locator("#chart path.mark").count() == 6
    assert page.locator("#axis").is_hidden()


def test_names_of_any_length_fit(show: Show) -> None:
    name = "a-search-" * 11
    page = show(replace_name(whole(), name), replace_name(synthetic_search(30), name + "b"))
    resized(page, 500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 500
    (frame,) = boxes(page, "#chart")
    assert all(box[0] >= frame[0] - 1 and box[2] <= frame[2] + 1 for box in boxes(page, "#chart svg > text"))


def replace_name(searched: SearchResult, name: str) -> SearchResult:
    return replace(searched, header=replace(searched.header, name=name))
