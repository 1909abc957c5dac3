"""A front of accuracy against latency, and latencies beside the GFLOPs."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from front_case import PLAIN_MS, PROFILE, result, seeded, timed, trial, whole
from rich.console import Console

from octnas.architecture import Architecture
from octnas.engine.display import progress_text, trial_text
from octnas.engine.events import SearchEvent
from octnas.front import SearchResult, choose_to_confirm
from octnas.front.axis import Axis, budget_note, budget_words, cost_words, milliseconds
from octnas.front.describe import SLOWER_NOTE, units
from octnas.front.report import front_report
from octnas.front.text import front_table, result_text, runs_table
from octnas.front.verdict import claim_sentence, slower_sentences, verdict
from octnas.front.volume import volume_curve

DEVICE = "a processor, 2 cores, onnxruntime, 1 thread, batch 1"
LONG = {
    **PROFILE,
    "device": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz of a maker that likes long names <2>, 192 cores",
    "threads": 4,
    "batch": 8,
}


def _print(renderable: object, width: int) -> str:
    file = io.StringIO()
    Console(width=width, file=file).print(renderable)
    return file.getvalue()


def _duel() -> SearchResult:
    """`timed` with three fresh seeds for trial 6 and for uniform-0.75, 1.5 points apart on test images."""
    seeds = {
        "1": ((0.903, 0.904, 0.908), (0.895, 0.893, 0.894)),
        "6": ((0.919, 0.920, 0.921), (0.908, 0.910, 0.909)),
    }
    records = (seeded(each, *seeds[each.id]) if each.id in seeds else each for each in whole().records)
    return timed(of=result(*records))


# ---------------------------------------------------------------- front, hypervolume, claim
def test_the_front_is_of_accuracy_against_latency() -> None:
    searched = timed()
    # 11.0 ms 92 %, 22.0 ms 93 %; the yardsticks and trial 4 take longer than trial 6 and reach less
    assert [record.id for record in searched.front] == ["6", "5"]
    assert [record.id for record in searched.compared] == ["6", "0", "3", "1", "5", "2"]
    assert searched.best is not None
    assert searched.best.id == "5"
    assert searched.hypervolume == pytest.approx((0.92 * 11 + 0.93 * 2) / 24)
    history = {record.id: volume for record, volume in searched.hypervolume_by_trial}
    assert history["0"] == pytest.approx(0.90 * 11.5 / 24)
    assert history["6"] == searched.hypervolume
    alone = 0.90 * 11.5 + 0.005 * 11 + 0.005 * 4  # uniform-0.25, plain, uniform-0.75
    assert volume_curve(searched).yardsticks == pytest.approx(alone / 24)


def test_the_same_trials_by_gflops_have_another_front() -> None:
    searched = timed("gflops", gflops=2.0, ms=None)
    assert (
        [record.id for record in searched.front] == [record.id for record in whole().front] == ["4", "0", "5"]
    )
    assert searched.hypervolume == whole().hypervolume


def test_a_trial_over_either_budget_is_not_on_the_front() -> None:
    searched = timed(gflops=1.72, ms=24.0)  # trial 6 costs 1.75 GFLOPs
    assert [record.id for record in searched.front] == ["0", "5"]
    assert choose_to_confirm(searched.records, searched.limit, "latency") == ("0", "5")


def test_the_limit_is_the_budget_of_the_axis_else_the_largest_of_the_space() -> None:
    assert timed(ms=24.0).limit == 24.0
    assert timed(gflops=2.0, ms=None, limit=40.0).limit == 40.0
    open_ended = timed(gflops=2.0, ms=None, limit=40.0)
    assert (open_ended.budget, open_ended.budget_gflops, open_ended.budget_ms) == (None, 2.0, None)
    assert open_ended.hypervolume == pytest.approx((0.92 * 11 + 0.93 * 18) / 40)
    assert timed(gflops=2.0, ms=None, limit=21.0).limit == 22.0, "no trial within the budgets is left out"
    assert result(budget=None, budget_ms=None).hypervolume == 0.0


def test_sides_are_chosen_by_latency() -> None:
    searched = timed()
    # trial 5 takes longer than uniform-0.75, though it has fewer GFLOPs
    assert choose_to_confirm(searched.records, 24.0, "latency") == ("1", "6", "5")
    assert choose_to_confirm(searched.records, 2.0) == ("1", "5")
    with pytest.raises(ValueError, match="trial 0 has no latency"):
        choose_to_confirm(whole().records, 24.0, "latency")


def test_the_claim_is_at_equal_latency_and_names_the_device() -> None:
    claim = _duel().claim
    assert claim is not None
    assert (claim.candidate.id, claim.yardstick.id, claim.outcome) == ("6", "1", "beats")
    assert claim_sentence(claim) == (
        "The search beats the best uniform yardstick at equal or lower latency: trial 6 (resnet18) (90.90 % "
        "at 11.00 ms, 1.750 GFLOPs) against uniform-0.75 resnet34 (89.40 % at 20.00 ms, 1.900 GFLOPs), 1.50 "
        "points more with 55 % of its latency and 92 % of its multiply-adds, 95 % interval +1.00 to +2.00 "
        f"points, 3 paired seeds (means over fresh seeds, test images; ms: predicted for {DEVICE})."
    )
    assert claim.to_dict()["candidate"]["latency_ms"] == 11.0


def test_the_verdict_of_one_seed_is_at_equal_latency() -> None:
    text = verdict(timed())
    assert text.startswith(
        "By one seed each the search is ahead of the best uniform yardstick at equal or lower latency: trial "
        "6 (resnet18) (92.00 % at 11.00 ms, 1.750 GFLOPs) against uniform-0.75 resnet34 (91.00 % at 20.00 "
        f"ms, 1.900 GFLOPs), 1.00 points more; ms: predicted for {DEVICE}. No further seeds confirm that."
    )
    assert "with 73 % of its latency and 42 % of its multiply-adds." in text
    by_gflops = verdict(timed("gflops", gflops=2.0, ms=None))
    assert "at equal or lower cost: trial 5 (resnet34) (93.00 % at 1.700 GFLOPs, 22.00 ms)" in by_gflops
    assert verdict(_two(ours=30.0, theirs=20.0)).startswith(
        "No complete candidate is as fast as the best uniform yardstick, uniform-0.5 resnet18 (90.00 % at "
        f"20.00 ms, 1.500 GFLOPs); ms: predicted for {DEVICE}."
    )
    assert verdict(_two(ours=18.0, theirs=20.0, accuracy=0.88)).startswith(
        "The search does not beat the best uniform yardstick at equal or lower latency: its best there is "
        "trial 1 (resnet18) (88.00 % at 18.00 ms, 1.000 GFLOPs) against "
    )
    assert "equals the best uniform yardstick at lower latency: " in verdict(_two(18.0, 20.0, accuracy=0.9))


def _two(ours: float, theirs: float, accuracy: float = 0.95) -> SearchResult:
    """A candidate of these ms and this accuracy, and a yardstick of 90 % with more GFLOPs."""
    records = (
        replace(trial("0", 1.5, 0.90, yardstick="uniform-0.5"), latency_ms=theirs),
        replace(trial("1", 1.0, accuracy), latency_ms=ours),
    )
    return replace(timed(ms=40.0), records=records)


# ---------------------------------------------------------------- fewer FLOPs, slower
def test_slower_than_plain_is_told_of_octave_networks_alone() -> None:
    searched = timed()
    marks = {record.id: searched.slower_than_plain(record) for record in searched.records}
    assert {trial_id for trial_id, mark in marks.items() if mark} == {"4", "5"}
    assert set(marks.values()) == {True, False}
    plain = replace(
        searched.records[0],
        architecture=Architecture.uniform("resnet18", alpha=0, downsample="pooled"),
        latency_ms=99.0,
    )
    assert searched.slower_than_plain(plain) is False
    equal = replace(searched.records[0], latency_ms=PLAIN_MS["resnet18"])
    assert searched.slower_than_plain(equal) is False
    assert searched.slower_than_plain(replace(equal, latency_ms=None)) is None
    assert whole().slower_than_plain(whole().records[0]) is None
    other = replace(equal, architecture=Architecture.uniform("resnet26", alpha="0.25"))
    assert searched.slower_than_plain(other) is None, "the plain network's latency is not known"


def test_a_sentence_names_those_of_the_front_with_the_best_first() -> None:
    assert slower_sentences(timed("gflops", gflops=2.0, ms=None)) == [
        "Fewer FLOPs, slower than plain as predicted: the best candidate, trial 5 (resnet34), 22.00 ms "
        "against 21.50 ms of the plain resnet34; trial 4 (resnet18), 14.00 ms against 13.00 ms of the plain "
        "resnet18."
    ]
    by_latency = timed()  # trial 4 is not on this front
    (sentence,) = slower_sentences(by_latency)
    assert "trial 5" in sentence
    assert "trial 4" not in sentence
    assert sentence in verdict(by_latency)
    assert slower_sentences(whole()) == []
    many = [trial(str(i), 1 + i / 10, 0.80 + i / 100) for i in range(6)]
    header = timed().header
    shown = replace(
        timed(),
        header=header,
        records=tuple(replace(each, latency_ms=13.5 + i) for i, each in enumerate(many)),
    )
    (sentence,) = slower_sentences(shown)
    assert sentence.count(" ms against ") == 4
    assert sentence.endswith("; and 2 more of the front.")


# ---------------------------------------------------------------- JSON, tables
def test_a_journal_of_this_version_keeps_its_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written when latencies came into the journal; it must load forever."""
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    (tmp_path / "timed").mkdir()
    journal = Path(__file__).parents[2] / "data" / "journal-v1-latency.jsonl"
    shutil.copy(journal, tmp_path / "timed" / "journal.jsonl")
    value = SearchResult.from_run("timed").to_dict()
    assert (value["front"], value["best"], value["device"]) == (["0", "1"], "1", "a processor, 2 cores")
    assert value["hypervolume"] == pytest.approx((0.7 * 1.0 + 0.8 * 10.5) / 24)
    assert [each["slower_than_plain"] for each in value["trials"]] == [False, True, True]
    assert [each["latency_ms"] for each in value["trials"]] == [12.5, 13.5, 30.0]


def test_json_has_the_objective_its_limit_and_the_device() -> None:
    value = timed(gflops=1.95).to_dict()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    asked = {key: value[key] for key in ("budget_gflops", "budget_ms", "objective", "limit", "device")}
    assert asked == {
        "budget_gflops": 1.95,
        "budget_ms": 24.0,
        "objective": "latency",
        "limit": 24.0,
        "device": "a processor, 2 cores",
    }
    marks = {each["id"]: (each["latency_ms"], each["slower_than_plain"]) for each in value["trials"]}
    assert (marks["5"], marks["6"]) == ((22.0, True), (11.0, False))
    without = whole().to_dict()
    assert (without["budget_ms"], without["objective"], without["device"]) == (None, "gflops", None)
    assert {(each["latency_ms"], each["slower_than_plain"]) for each in without["trials"]} == {(None, None)}


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("profile", [PROFILE, LONG])
def test_the_table_shows_latencies_and_marks_the_slow(width: int, profile: dict[str, Any]) -> None:
    searched = timed(gflops=1.95, profile=profile)
    text = _print(result_text(searched), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    rows = [line.split() for line in text.splitlines() if " 0.25 0.25 0.25 0.00" in line]
    assert rows[0][:6] == ["front", "6", "1.750", "11.00", "92.00", "%"]
    assert rows[4][:7] == ["best", "5", "1.700", "22.00*", "93.00", "%", "resnet34"]
    words = " ".join(text.split())
    assert f"* {SLOWER_NOTE}" in words
    assert f"predicted latency of the target network on {profile['device']}, onnxruntime" in words
    assert "budget 1.95 GFLOPs and 24 ms" in words
    assert "*" not in _print(front_table(timed(plain_latency_ms={})), width), "nothing is known to be slow"
    assert " ms " not in _print(front_table(whole()), width)


def test_list_of_runs_with_both_kinds_of_budget() -> None:
    run = {"state": "complete", "trials": 3, "finished": 3, "space": "s", "created": ""}
    runs = [
        {**run, "name": "a", "budget_gflops": 2.0, "budget_ms": None},
        {**run, "name": "b", "budget_gflops": None, "budget_ms": 30.0},
        {**run, "name": "c", "budget_gflops": 2.0, "budget_ms": 30.0},
    ]
    text = _print(runs_table(runs), 80)
    cells = {
        line.split()[0]: " ".join(line.split()[4:]) for line in text.splitlines() if " complete " in line
    }
    assert cells == {"a": "2", "b": "30 ms", "c": "2, 30 ms"}
    assert "ms of its predicted latency" in text


def test_the_report_holds_latencies_and_marks() -> None:
    report = front_report(timed())
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(str(report.files["trials.csv"])))}
    assert (rows["5"]["latency_ms"], rows["5"]["slower_than_plain"]) == ("22.0", "True")
    assert (rows["6"]["latency_ms"], rows["6"]["slower_than_plain"]) == ("11.0", "False")
    assert list(rows) == ["7", "8", "6", "9", "0", "3", "4", "1", "5", "2"], "by latency"
    assert report.note.startswith(
        "**Best candidate: trial 5**, resnet34, 93.00 % at 22.00 ms, 1.700 GFLOPs under a budget of 24 ms."
    )
    (line,) = (line for line in report.note.splitlines() if line.startswith("| 5"))
    cells = [cell.replace("&emsp;", "").strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "5", "1.700", "22.00", "93.00 %", "resnet34", "0.25 0.25 0.25 0.00", "front, fewer FLOPs, slower",
    ]  # fmt: skip
    assert slower_sentences(timed())[0] in report.note
    assert f"on {DEVICE}" in report.note
    empty = {
        row["latency_ms"]
        for row in csv.DictReader(io.StringIO(str(front_report(whole()).files["front.csv"])))
    }
    assert empty == {""}


# ---------------------------------------------------------------- words
def test_words() -> None:
    assert [milliseconds(value) for value in (0.3456, 1.0, 12.345, 123.45)] == [
        "0.346",
        "1.00",
        "12.35",
        "123.5",
    ]
    record = replace(trial("1", 1.7, 0.9), latency_ms=12.345)
    assert cost_words(record) == "1.700 GFLOPs, 12.35 ms"
    assert cost_words(record, "latency") == "12.35 ms, 1.700 GFLOPs"
    assert cost_words(trial("1", 1.7, 0.9)) == "1.700 GFLOPs"
    assert Axis().figures(trial("1", 1.7, 0.9)) == "1.700 GFLOPs"
    assert budget_words(whole().header) == "2 GFLOPs"
    assert budget_words(timed(gflops=1.5, ms=30.0).header) == "1.5 GFLOPs and 30 ms"
    assert budget_words(timed().header) == "24 ms"
    assert budget_note(whole().header) == "budget 2"
    assert budget_note(timed("gflops", gflops=2.0, ms=30.0).header) == "budget 2 GFLOPs\nand 30 ms"
    assert budget_note(timed("gflops", gflops=None, ms=30.0).header) == "budget 30 ms,\nnot on this axis"
    assert units(timed(profile=LONG).header).endswith("192 cores, onnxruntime, 4 threads, batch 8")


def test_progress_tells_the_latency_beside_the_gflops() -> None:
    searched = timed()
    assert trial_text(searched.records[6]).startswith("trial 6 resnet18 1.750 GFLOPs, 11.00 ms: complete")
    assert trial_text(whole().records[6]).startswith("trial 6 resnet18 1.750 GFLOPs: complete")
    event = SearchEvent(
        kind="finished", name="first", planned=9, finished=9, running=(), confirming=(), front=2,
        best=searched.best, epochs=1, seconds=1.0, seconds_left=None,
    )  # fmt: skip
    assert progress_text(event) == "best 93.00 % at 1.700 GFLOPs, 22.00 ms (trial 5) · front 2"
