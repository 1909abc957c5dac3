"""What a search with shared weights reports: which number is which, how far the scores can be trusted."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from front_case import PROFILE, confirmed, mixed, result, timed, trial, whole
from page_case import Page
from rich.console import Console
from scipy.stats import kendalltau
from shared_run_case import BASES, PREDICTOR, shared_run

from octnas.architecture import Architecture
from octnas.front import SearchResult
from octnas.front.describe import start_words, units
from octnas.front.picture import html_page
from octnas.front.report import front_report
from octnas.front.shared import Shared
from octnas.front.shared_text import shared_lines, warning_lines
from octnas.front.text import front_table, result_text
from octnas.front.verdict import verdict
from octnas.record import RunFolder, SharedScore, SupernetRecord, TrialState, shared_scores

DATA = Path(__file__).parents[2] / "data"


def _print(renderable: object, width: int = 80) -> str:
    file = io.StringIO()
    Console(width=width, file=file).print(renderable)
    return file.getvalue()


def _words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTNAS_HOME", str(tmp_path_factory.mktemp("home") / "runs"))
        yield shared_run()


@pytest.fixture(scope="module")
def searched(run: RunFolder) -> SearchResult:
    return SearchResult.of(run)


def scored(*pairs: tuple[float, float], **changes: object) -> SearchResult:
    """A search whose complete trials have these (shared, trained) accuracies."""
    records = [
        replace(
            trial(str(number), 1.0 + number / 100, trained, shared_accuracy=shared),
            architecture=Architecture.uniform("resnet18", alpha=f"{number}/64", downsample="pooled"),
        )
        for number, (shared, trained) in enumerate(pairs)
    ]
    scores = tuple(
        SharedScore(architecture=each.architecture, accuracy=shared, loss=1 - shared)
        for each, (shared, _) in zip(records, pairs, strict=True)
    )
    shared = Shared(asked=len(pairs), scores=scores, supernets=(), predictor=None)
    found = result(*records, options={"init": "shared", "score": len(pairs)})
    return replace(found, **{"shared": shared, **changes})  # type: ignore[arg-type]


# ---------------------------------------------------------------- JSON
def test_the_json_of_a_search_from_scratch_has_nulls_alone() -> None:
    for found in (whole(), confirmed(), timed(), mixed()):
        document = found.to_dict()
        assert (document["init"], document["shared"], document["rank_warning"]) == ("scratch", None, None)
        assert {each["shared_accuracy"] for each in document["trials"]} == {None}


@pytest.mark.parametrize("name", ["journal-v1.jsonl", "journal-v1-latency.jsonl"])
def test_old_journals_are_from_scratch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    (tmp_path / "old").mkdir()
    shutil.copy(DATA / name, tmp_path / "old" / "journal.jsonl")
    document = SearchResult.from_run("old").to_dict()
    assert (document["init"], document["shared"]) == ("scratch", None)
    assert document["trials"]
    assert {each["shared_accuracy"] for each in document["trials"]} == {None}


def test_the_json_of_a_search_with_shared_weights(run: RunFolder, searched: SearchResult) -> None:
    document = json.loads(json.dumps(searched.to_dict(), allow_nan=False))
    assert document["init"] == "shared"
    shared = document["shared"]
    assert (shared["score"], shared["scored"]) == (300, 300)
    assert [each["backbone"] for each in shared["supernets"]] == list(BASES)
    dropped = shared["supernets"][-1]
    assert dropped == {
        "backbone": "resnet50",
        "state": "dropped",
        "reason": "its 12 probes are all below the front of the other backbones",
        "epochs": 2,
        "accuracy": pytest.approx(0.66 * 0.625),
        "seconds": 23.0,
    }
    assert shared["predictor"] == {key: value for key, value in PREDICTOR.items() if key != "chosen"}
    trials = {each["id"]: each for each in document["trials"]}
    by_digest = {each.architecture.digest: each for each in shared_scores(run.journal.read())}
    assert trials["0"]["shared_accuracy"] is None, "a yardstick that was not scored"
    assert trials["5"]["shared_accuracy"] == by_digest[trials["5"]["digest"]].accuracy
    assert trials["5"]["shared_accuracy"] != trials["5"]["accuracy"]


def test_the_agreement_is_kendalls_tau_over_complete_trials_with_a_shared_score(
    searched: SearchResult,
) -> None:
    assert searched.shared is not None
    smoothed = {}
    for backbone in {each.architecture.backbone for each in searched.shared.scores}:
        own = [each for each in searched.shared.scores if each.architecture.backbone == backbone]
        losses = [each.loss for each in own]
        slope, shift = np.polyfit(losses, [each.accuracy for each in own], 1)
        assert slope < 0
        smoothed |= {each.architecture.digest: slope * each.loss + shift for each in own}
    pairs = [
        (smoothed[each.architecture.digest], each.accuracy)
        for each in searched.trials
        if each.state is TrialState.COMPLETE and each.shared_accuracy is not None
    ]
    assert len(pairs) < len(searched.trials) - 3, "some were stopped"
    found = searched.to_dict()["shared"]["agreement"]
    assert found["trials"] == len(pairs)
    assert found["tau"] == pytest.approx(kendalltau(*zip(*pairs, strict=True)).statistic)
    low, high = found["tau_interval"]
    assert low < found["tau"] < high


def test_a_search_before_any_trial_has_no_agreement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    found = SearchResult.of(shared_run(scores=20, trials=0, predictor=None))
    shared = found.to_dict()["shared"]
    assert shared["agreement"] == {"tau": None, "tau_interval": None, "trials": 0}
    assert shared["predictor"] is None
    assert "no complete trials with a shared score: too few" in "\n".join(shared_lines(found))


def test_a_run_of_shared_weights_alone_says_how_to_search_with_them() -> None:
    weights = SupernetRecord(backbone="resnet18", state="complete", epochs=8, accuracy=0.62, seconds=92.4)
    alone = replace(
        result(options={"kind": "supernet", "init": "shared"}),
        shared=Shared(asked=0, scores=(), supernets=(weights,), predictor=None),
    )
    assert verdict(alone).startswith("These are shared weights by themselves")
    assert "`octnas search --init shared --supernet first`" in verdict(alone)
    line = "resnet18: complete after 8 epochs, plain network 62.00 % on shared weights, 92 s"
    assert shared_lines(alone) == [line]
    assert line in _words(_print(result_text(alone), 120))
    assert line in html_page(alone)


# ---------------------------------------------------------------- words
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({"init": "scratch"}, ""),
        ({"init": "shared", "fine_tune": None}, ", trained from scratch"),
        ({"init": "shared", "fine_tune": 2}, ", fine-tuned for 2 epochs from shared weights"),
        ({"init": "shared", "fine_tune": 1}, ", fine-tuned for 1 epoch from shared weights"),
        ({"init": "torchvision"}, ", trained from torchvision's weights"),
        ({"init": "torchvision", "fine_tune": 3}, ", fine-tuned for 3 epochs from torchvision's weights"),
        ({"init": "/home/me/mine.safetensors"}, ", trained from the weights in mine.safetensors"),
    ],
)
def test_which_number_an_accuracy_is(options: dict[str, object], words: str) -> None:
    header = result(trial("0", 1.0, 0.9), options=options).header
    assert start_words(header) == words
    assert f"accuracy: validation images, of the proxy{words}" in units(header)
    assert ("on shared weights, before any training of its own" in units(header)) == (
        options.get("init") == "shared"
    )


def test_lines_name_supernets_scores_agreement_and_predictor(searched: SearchResult) -> None:
    lines = shared_lines(searched)
    assert lines[0] == "resnet18: complete after 8 epochs, plain network 62.00 % on shared weights, 92 s"
    assert lines[3] == (
        "resnet50: dropped after 2 epochs, plain network 41.25 % on shared weights, 23 s: its 12 probes are "
        "all below the front of the other backbones"
    )
    assert searched.shared is not None
    found = sorted(100 * each.accuracy for each in searched.shared.scores)
    assert lines[4] == (
        "300 architectures scored on these weights, before any training of their own: "
        f"{found[0]:.2f} % to {found[-1]:.2f} %"
    )
    own = searched.agreement
    assert own.tau is not None
    assert lines[5].startswith(
        f"Kendall's tau of shared scores, by their losses, with this search's trainings {own.tau:.2f}, 95 % "
        "interval "
    )
    assert lines[6] == (
        "predictor: held-out tau 0.71, 95 % interval 0.68 to 0.74, 800 scores (0.52 by backbone and GFLOPs "
        "alone, 0.05 by shuffled scores); it ranked 19,612 more for scoring"
    )
    assert shared_lines(whole()) == []


def test_a_predictor_that_was_not_used_says_why(searched: SearchResult) -> None:
    assert searched.shared is not None
    low = {**PREDICTOR, "tau": 0.5, "tau_interval": [0.44, 0.56], "useful": False, "ranked": 0}
    few = {**PREDICTOR, "scored": 12, "tau": None, "tau_interval": None, "useful": False, "ranked": 0}
    last = {
        name: shared_lines(replace(searched, shared=replace(searched.shared, predictor=said)))[-1]
        for name, said in (("low", low), ("few", few))
    }
    assert last["low"] == (
        "predictor not used, as it is not surely better than what else ranks: held-out tau 0.50, 95 % "
        "interval 0.44 to 0.56, 800 scores; 0.52 by backbone and GFLOPs alone, 0.05 by shuffled scores"
    )
    assert last["few"] == "predictor not used: 12 scores are too few to learn from, or all the same"


def test_few_trials_are_said_to_be_few_and_do_not_warn() -> None:
    three = scored((0.5, 0.7), (0.6, 0.6), (0.7, 0.65))
    assert "3 complete trials with a shared score: too few" in shared_lines(three)[-1]
    assert warning_lines(three) == []
    six = scored((0.50, 0.61), (0.52, 0.60), (0.54, 0.62), (0.56, 0.60), (0.58, 0.63), (0.60, 0.62))
    low, high = six.agreement.tau_interval or (0.0, 0.0)
    assert low < 0.6 <= high
    assert high - low > 0.6
    assert shared_lines(six)[-1].endswith("6 trials: too few to tell whether it is above 0.6")
    assert warning_lines(six) == []


def test_low_agreement_warns_and_high_agreement_does_not() -> None:
    many = [(0.5 + 0.005 * i, 0.6 + 0.004 * ((7 * i) % 24)) for i in range(24)]
    low = scored(*many)
    (line,) = warning_lines(low)
    assert low.agreement.tau == pytest.approx(kendalltau(*zip(*many, strict=True)).statistic)
    assert f"is {low.agreement.tau:.2f}, 95 % interval" in line
    assert "24 trials: under 0.6" in line
    assert "`octnas rank first`" in line
    for shown in (_print(result_text(low), 200), html_page(low), front_report(low).note):
        assert "good architectures may have been passed over" in _words(shown)
    high = scored(*((0.5 + 0.005 * i, 0.6 + 0.005 * i) for i in range(24)))
    assert high.agreement.tau == 1.0
    assert warning_lines(high) == []


def test_what_rank_found_is_carried_by_any_report() -> None:
    said = "Kendall's tau of the proxy that the search ranks by is 0.41 over 16 architectures: under 0.6."
    found = replace(whole(), rank_warning=said)
    assert warning_lines(found) == [said]
    assert found.to_dict()["rank_warning"] == said
    assert said in _words(_print(result_text(found), 200))
    assert f'<p class="warn">{said.replace(chr(39), "&#x27;")}</p>' in html_page(found)
    assert f"**{said}**" in front_report(found).note


# ---------------------------------------------------------------- tables
def test_the_table_has_a_column_of_shared_scores(searched: SearchResult) -> None:
    rows = [line.split() for line in _print(front_table(searched)).splitlines()]
    heads = next(row for row in rows if "trial" in row)
    assert heads[:4] == ["trial", "GFLOPs", "accuracy", "shared"]
    best = searched.best
    assert best is not None
    assert best.accuracy is not None
    assert best.shared_accuracy is not None
    figures = [f"{100 * best.accuracy:.2f}", "%", f"{100 * best.shared_accuracy:.2f}", "%"]
    assert next(row for row in rows if row and row[0] == "best")[3:7] == figures
    plain = next(row for row in rows if "plain-pooled" in row)
    assert plain[-6:-4] == ["-", "resnet50"]
    assert "shared" not in _print(front_table(whole()))


@pytest.mark.parametrize("width", [80, 120])
def test_the_text_fits_with_latencies_and_3d_backbones_too(width: int) -> None:
    every = timed(of=mixed(), ms=24.0)
    found = replace(
        result(
            *(replace(each, shared_accuracy=0.4321) for each in every.records),
            budget=None,
            budget_ms=24.0,
            objective="latency",
            profile=PROFILE,
            options={"init": "shared", "input_shape": [1, 4, 20, 20]},
        ),
        shared=Shared(asked=9, scores=(), supernets=(), predictor=None),
    )
    text = _print(result_text(found), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert text.count("43.21 %") == len(found.compared)


def test_the_report_has_the_scores_as_metrics_columns_and_a_file(searched: SearchResult) -> None:
    report = front_report(searched)
    own = searched.agreement
    assert own.tau_interval is not None
    assert report.shared == {
        "shared_scored": 300.0,
        "shared_tau": own.tau,
        "shared_tau_low": own.tau_interval[0],
        "shared_tau_high": own.tau_interval[1],
        "predictor_tau": 0.71,
        "supernet_accuracy/resnet18": pytest.approx(0.62),
        "supernet_accuracy/resnet26": pytest.approx(0.70),
        "supernet_accuracy/resnet34": pytest.approx(0.68),
        "supernet_accuracy/resnet50": pytest.approx(0.66 * 0.625),
    }
    assert searched.shared is not None
    rows = list(csv.DictReader(io.StringIO(str(report.files["shared.csv"]))))
    assert len(rows) == 300
    first = searched.shared.scores[0]
    assert rows[0]["digest"] == first.architecture.digest
    assert float(rows[0]["shared_accuracy"]) == first.accuracy
    assert float(rows[0]["gflops"]) == first.gflops
    assert tuple(map(int, rows[0]["low_channels"].split())) == first.architecture.low_channels
    trials = {row["id"]: row for row in csv.DictReader(io.StringIO(str(report.files["trials.csv"])))}
    assert float(trials["5"]["shared_accuracy"]) == searched.trials[5].shared_accuracy
    assert trials["0"]["shared_accuracy"] == ""
    (head,) = (line for line in report.note.splitlines() if line.startswith("| trial"))
    assert [cell.strip().removesuffix("&emsp;") for cell in head.split("|")][3:5] == [
        "accuracy",
        "on shared weights",
    ]
    assert "- resnet50: dropped after 2 epochs" in report.note


def test_the_report_from_scratch_has_no_word_of_shared_weights() -> None:
    report = front_report(confirmed())
    assert report.shared == {}
    assert set(report.files) == {"front.csv", "trials.csv", "front.html", "front.png", "front-small.png"}
    assert "shared" not in report.note
    page = Page(str(report.files["front.html"]))
    assert "shared weights" not in page.words
    assert "shared weights" not in json.dumps(page.data)


# ---------------------------------------------------------------- the journal's lines
def test_a_shared_score_comes_back_from_its_line() -> None:
    architecture = Architecture.uniform("resnet18", alpha="0.5")
    known = SharedScore(architecture=architecture, accuracy=0.5, loss=1.25, gflops=1.137, latency_ms=12.5)
    bare = SharedScore(architecture=Architecture.uniform("resnet18", alpha=0), accuracy=0.4, loss=2.0)
    assert shared_scores([known.to_event(), bare.to_event()]) == [known, bare]
    old = {key: value for key, value in known.to_event().items() if key not in ("gflops", "latency_ms")}
    assert shared_scores([old]) == [replace(known, gflops=None, latency_ms=None)]
