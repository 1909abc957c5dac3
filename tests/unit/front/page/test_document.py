"""The page's data: columns by trial, what few trials have, spans, hypervolume, links; and which are drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from front_case import confirmed, mixed, result, seeded, timed, trial, whole
from page_case import groups_of, of_some, page_of
from searched import many, random_result, with_records

import octnas.front.page.document as data
import octnas.front.page.page as whole_page
from octnas.architecture import Architecture
from octnas.front.layers import BACKBONE_COLOURS, backbone_colours
from octnas.front.page.axes import against
from octnas.front.page.document import document, drawn_trials
from octnas.front.spans import Span
from octnas.record import TrialRecord, TrialState
from octnas.record.links import RunLinks
from octnas.record.trainings import Training


def _ids(records: list[TrialRecord]) -> list[str]:
    return [each.id for each in records]


# ---------------------------------------------------------------- columns
def test_columns_are_the_records() -> None:
    searched = random_result(0)
    search = page_of(searched).search
    states = page_of(searched).data["states"]
    assert states == ["running", "paused", "complete", "stopped", "failed"]
    trials = search["trials"]
    columns = zip(
        trials["id"],
        trials["yardstick"],
        [search["backbones"][each]["name"] for each in trials["backbone"]],
        [states[each] for each in trials["state"]],
        trials["gflops"],
        trials["latency"],
        trials["accuracy"],
        trials["epochs"],
        trials["params"],
        strict=True,
    )
    assert list(columns) == [
        (
            each.id,
            each.yardstick,
            each.architecture.backbone,
            str(each.state),
            each.gflops,
            each.latency_ms,
            each.accuracy,
            each.epochs,
            each.params,
        )
        for each in searched.records
    ]


def test_figures_have_six_digits() -> None:
    record = replace(trial("1", 1.23456789, 0.876543219), latency_ms=12.3456789, seconds=12.3456)
    trials = page_of(result(record)).search["trials"]
    assert (trials["gflops"], trials["accuracy"], trials["latency"]) == ([1.23457], [0.876543], [12.3457])
    assert trials["seconds"] == [12.3]


def test_what_few_trials_have_stands_at_their_index() -> None:
    strided = Architecture.uniform("resnet18", alpha="0.25", downsample="strided")
    searched = result(
        trial("a", 1.0, None, state=TrialState.FAILED),
        replace(trial("b", 1.2, 0.8), architecture=strided, shared_accuracy=0.4321),
        replace(trial("c", 1.3, 0.7, state=TrialState.STOPPED), reason="outside the best third"),
        trial("d", 3.0, 0.95, yardstick="plain-pooled"),
        seeded(trial("e", 1.4, 0.85), (0.84, 0.86), (0.80, 0.81)),
    )
    search = page_of(searched).search
    assert of_some(search, "reason") == {"a": "loss is nan in epoch 1", "c": "outside the best third"}
    assert of_some(search, "downsample") == {"b": "strided"}
    assert of_some(search, "shared") == {"b": 0.4321}
    assert [search["trials"]["id"][place] for place in search["trials"]["over"]] == ["d"]
    words = "validation 85.00 ± 1.41 %, test 80.50 ± 0.71 % (2 seeds)"
    assert of_some(search, "seeds") == {"e": [0.85, pytest.approx(0.01 * 2**0.5, rel=1e-5), 2, words]}
    assert of_some(search, "full") == {}


def test_full_trainings_stand_at_their_trial_and_change_nothing_else() -> None:
    trainings = (
        Training(trial_id="4", scale="proxy", epochs=8, accuracy=0.88),
        Training(trial_id="5", scale="full", epochs=36, accuracy=0.945, test_accuracy=0.941),
        Training(trial_id="5", scale="target", epochs=90, accuracy=0.97),
        Training(trial_id="77", scale="full", epochs=1, accuracy=0.99),  # of a trial that there is no more
    )
    searched = replace(whole(), trainings=trainings)
    page = page_of(searched)
    assert of_some(page.search, "full") == {
        "4": [["proxy", 8, 0.88, None]],
        "5": [["full", 36, 0.945, 0.941], ["target", 90, 0.97, None]],
    }
    assert page.search["axes"] == page_of(whole()).search["axes"]
    assert {trial_id: row["full"] for trial_id, row in page.row.items() if row["full"]} == {"5": "97.00 %"}
    assert "full" not in page_of(whole()).row["5"]
    assert "A star is the accuracy of the same trial trained in full" in page.words


def test_backbones_have_the_colours_of_every_other_picture() -> None:
    searched = mixed()
    told = {each["name"]: each["colour"] for each in page_of(searched).search["backbones"]}
    assert told == backbone_colours(searched)


# ---------------------------------------------------------------- several searches
def test_two_searches_have_a_colour_each_and_stay_apart() -> None:
    page = page_of([whole(), replace(mixed(), header=replace(mixed().header, name="second"))])
    first, second = page.data["searches"]
    assert (first["name"], second["name"]) == ("first", "second")
    assert (first["colour"], second["colour"]) == BACKBONE_COLOURS[:2]
    assert groups_of(first)["front"] == ["4", "5"]
    assert groups_of(second) == groups_of(page_of(mixed()).search)
    assert page_of(whole()).search["colour"] is None


def test_more_searches_than_colours_begin_anew() -> None:
    found = [replace(whole(), header=replace(whole().header, name=f"n{place}")) for place in range(9)]
    colours = [each["colour"] for each in document(found, {})["searches"]]
    assert colours == [*BACKBONE_COLOURS, BACKBONE_COLOURS[0]]


# ---------------------------------------------------------------- spans and hypervolume
def _span(trial_id: str, start: float, end: float | None, **changes: Any) -> Span:
    known: dict[str, Any] = {"ending": "complete", "worker": "node/1", "lane": 0} | changes
    return Span(trial_id=trial_id, start=start, end=end, **known)


def test_spans_name_their_worker_trial_and_ending() -> None:
    searched = replace(
        whole(),
        spans=(
            _span("0", 0.04, 10.06),
            _span("5", 2.0, 6.0, lane=1, worker="node/2", ending="paused"),
            _span("5", 12.0, 20.0, confirming=True),
            _span("9", 15.0, None, lane=2, worker=None, ending=None),
            _span("gone", 16.0, 18.0, lane=3),
        ),
    )
    search = page_of(searched).search
    assert search["spans"] == [
        [0, "node/1", 0, 0.0, 10.1, "complete", 0],
        [1, "node/2", 5, 2.0, 6.0, "paused", 0],
        [0, "node/1", 5, 12.0, 20.0, "complete", 1],
        [2, None, 9, 15.0, None, None, 0],
    ]
    # 10.02 + 4 + 8 + 5 s, as one is under way until the last end, and 2 of a trial that is not drawn
    assert search["work"] == {"workers": 4, "at_once": 3, "end": 20.0, "busy": 29.0}
    assert page_of(whole()).search["work"] == {"workers": 0, "at_once": 0, "end": 0.0, "busy": 0}


def test_a_worker_that_takes_the_place_of_another_is_none_beside_it() -> None:
    one, two = _span("0", 0.0, 10.0), _span("4", 0.0, 12.0, lane=1, worker="node/2")
    for start, at_once in ((10.5, 2), (9.2, 2), (8.8, 3)):
        after = _span("5", start, 20.0, lane=2, worker="node/3", confirming=True)
        work = page_of(replace(whole(), spans=(one, two, after))).search["work"]
        assert (work["workers"], work["at_once"]) == (3, at_once)


def test_hypervolume_follows_the_order_of_finishing() -> None:
    order = ("6", "3", "0", "1", "2", "5", "4")
    searched = replace(whole(), finished=order)
    search = page_of(searched).search
    points = search["volume"]["points"]
    assert [(search["trials"]["id"][place], number) for place, number, _ in points] == [
        (trial_id, number) for number, trial_id in enumerate(order, start=1)
    ]
    values = [value for *_, value in points]
    # trial 6 alone: 92 % from 1.75 to 2 GFLOPs
    assert values[0] == pytest.approx(0.92 * 0.25 / 2)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(searched.hypervolume, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("objective", ["gflops", "latency"])
def test_hypervolume_by_trial_is_that_of_the_front_so_far(seed: int, objective: Any) -> None:
    ms = {"gflops": None, "latency": 22.0}[objective]
    searched = random_result(seed, count=40, objective=objective, ms=ms)
    for number, (_, volume) in enumerate(searched.hypervolume_by_trial, start=1):
        so_far = [record for record, _ in searched.hypervolume_by_trial[:number]]
        options = {"limit": searched.limit}
        assert volume == pytest.approx(with_records(searched, so_far, **options).hypervolume, abs=1e-12)


# ---------------------------------------------------------------- links
def test_links_are_those_of_the_search_and_of_its_trials() -> None:
    links = RunLinks(
        uri="http://user:secret@tracking:5000", experiment_id="3", run_id="aa", trials={"5": "bb", "9": "cc"}
    )
    search = page_of(whole(), links={"first": links}).search
    known = search["links"]
    assert known["search"] == "http://tracking:5000/#/experiments/3/runs/aa?workflowType=machine_learning"
    assert known["trials"][5] == "http://tracking:5000/#/experiments/3/runs/bb?workflowType=machine_learning"
    assert [place for place, each in enumerate(known["trials"]) if each] == [5, 9]
    text = page_of(whole(), links={"first": links}).text
    assert "secret" not in text
    assert page_of(whole(), links={"other": links}).search["links"] is None


def test_links_into_a_local_store_name_no_server() -> None:
    links = RunLinks(uri="sqlite:////home/me/mlflow.db", experiment_id="1", run_id="aa", trials={})
    page = page_of(whole(), links={"first": links})
    assert page.search["links"]["search"].startswith("#/experiments/1/runs/aa?")
    assert "/home/me" not in page.text


# ---------------------------------------------------------------- very many trials
@pytest.fixture
def few_drawn() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (data, whole_page):
            patch.setattr(module, "MOST_DRAWN", 30)
        yield


@pytest.mark.usefixtures("few_drawn")
def test_of_very_many_trials_what_matters_is_kept_and_the_latest() -> None:
    searched = random_result(1, count=200, ms=22.0)
    early = [each for each in searched.records[10:60] if each.state is TrialState.COMPLETE]
    plain = [each for each in early if each not in searched.front][:3]
    one, two, three = (each.id for each in plain)
    records = [seeded(each, (0.5, 0.6)) if each.id == one else each for each in searched.records]
    searched = replace(
        searched,
        records=tuple(records),
        trainings=(
            Training(trial_id=two, scale="full", epochs=1, accuracy=0.5),
            Training(trial_id=three, scale="target", epochs=1, accuracy=0.5),
        ),
    )
    kept = _ids(drawn_trials(searched))
    fronts = {*_ids(searched.front), *_ids(against(searched, "latency").front)}
    assert len(fronts) > len(searched.front), "the other axis has members of its own"
    wanted = {*fronts, one, two, three, "0", "1", "2", "3"}
    assert wanted <= set(kept)
    assert len(kept) == 30
    assert kept == sorted(kept, key=int), "in the order in which they started"
    latest = [each for each in range(199, -1, -1) if str(each) not in wanted][: 30 - len(wanted)]
    assert set(kept) - wanted == set(map(str, latest))

    page = page_of(searched)
    search = page.search
    assert search["trials"]["id"] == kept == [row["id"] for row in page.rows]
    for objective in ("gflops", "latency"):
        whole_front = [each.id for each in against(searched, objective).front if each.yardstick is None]
        assert sorted(groups_of(search, objective)["front"]) == sorted(whole_front)
    assert of_some(search, "seeds").keys() == {one}
    assert of_some(search, "full").keys() == {two, three}
    ended = sum(each.state.final and each.yardstick is None for each in searched.records)
    counts = search["survival"][0]
    assert counts["complete"] + counts["ended"] == ended, "all of them, not the drawn ones alone"


@pytest.mark.usefixtures("few_drawn")
def test_of_very_many_trials_the_figures_are_those_of_all() -> None:
    searched = many(200)
    search = page_of(searched).search
    curve = searched.hypervolume_by_trial
    assert search["volume"]["count"] == len(curve) > 30
    places = {record.id: number for number, (record, _) in enumerate(curve, start=1)}
    steps = [
        number
        for number, (_, volume) in enumerate(curve, start=1)
        if volume > (curve[number - 2][1] if number > 1 else 0.0)
    ]
    drawn = [places[trial_id] for trial_id in search["trials"]["id"] if trial_id in places]
    points = {number: value for _, number, value in search["volume"]["points"]}
    assert list(points) == sorted({*steps, *drawn})
    assert points == {number: pytest.approx(curve[number - 1][1], rel=1e-5) for number in points}
    assert all((place is None) == (number not in drawn) for place, number, _ in search["volume"]["points"])
    assert [each[2] for each in search["spans"]] == list(range(30))
    busy = sum((each.end or 0.0) - each.start for each in searched.spans)
    end = max(each.end or 0.0 for each in searched.spans)
    assert search["work"] == {"workers": 8, "at_once": 8, "end": end, "busy": busy}
    complete = [
        each for each in searched.records if each.yardstick is None and each.state is TrialState.COMPLETE
    ]
    told = {search["backbones"][each["backbone"]]["name"]: each for each in search["wanted"]}
    for name, each in told.items():
        assert each["complete"] == sum(record.architecture.backbone == name for record in complete)
    assert sum(each["complete"] for each in told.values()) > 30
    note = "Of a search with more than 30 trials the page holds the front, the yardsticks and the latest"
    assert note in page_of(searched).words
    assert note not in page_of(many(30)).words


@pytest.mark.usefixtures("few_drawn")
def test_all_yardsticks_are_kept_even_if_there_are_too_many() -> None:
    records = [trial(str(place), 1.0, 0.5, yardstick=f"uniform-{place}") for place in range(40)]
    searched = result(*records, trial("40", 1.0, 0.4))
    assert _ids(drawn_trials(searched)) == [str(place) for place in range(40)]


def test_the_data_is_json_without_any_nan() -> None:
    for searched in (whole(), confirmed(), timed(gflops=1.95), mixed(), result()):
        text = json.dumps(document([searched], {}), allow_nan=False)
        assert [each["name"] for each in json.loads(text)["searches"]] == [searched.name]


def test_five_thousand_trials_take_less_than_three_megabytes() -> None:
    searched = many(5000)
    page = page_of(searched)
    assert len(page.rows) == len(page.search["trials"]["id"]) == len(page.search["spans"]) == 5000
    assert len(page.text.encode()) < 3_000_000
