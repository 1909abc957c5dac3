from __future__ import annotations

import io

from front_case import result, trial, whole
from rich.console import Console

from octnas.front.describe import units
from octnas.front.text import front_table, result_text, runs_table
from octnas.front.verdict import verdict
from octnas.record import TrialState


def _print(renderable: object, width: int = 80) -> str:
    file = io.StringIO()
    Console(width=width, file=file).print(renderable)
    return file.getvalue()


def test_the_table_holds_the_front_and_the_yardsticks_in_80_columns() -> None:
    text = _print(front_table(whole()))
    lines = [line.split() for line in text.splitlines()]
    rows = {
        line[1] if line[0] in ("best", "front", "over") else line[0]: line for line in lines if "%" in line
    }
    assert set(rows) == {"4", "0", "5", "3", "1", "2"}
    assert rows["5"][:5] == ["best", "5", "1.700", "93.00", "%"]
    assert rows["0"][:3] == ["front", "0", "uniform-0.25"]
    assert rows["2"][0] == "over"
    assert rows["4"][-4:] == ["0.25", "0.25", "0.25", "0.00"]
    assert " ".join(units(whole().header).split()) in " ".join(text.split())
    assert "…" not in text


def test_the_whole_text_names_failures_and_escapes_markup() -> None:
    searched = whole()
    text = " ".join(_print(result_text(searched), 200).split())
    assert "1 running, 7 complete, 1 stopped, 1 failed" in text
    assert "trial 8 (resnet18) failed: loss is nan in epoch 1" in text
    assert "[red]x" in _print(front_table(result(trial("[red]x", 1.0, 0.9))))


def test_verdict_where_the_search_is_ahead_of_the_uniform_line_by_one_seed() -> None:
    text = verdict(whole())
    assert text.startswith(
        "By one seed each the search is ahead of the best uniform yardstick at equal or lower cost: trial 5 "
        "(resnet34) (93.00 % at 1.700 GFLOPs) against uniform-0.75 resnet34 (91.00 % at 1.900 GFLOPs), 2.00 "
        "points more. No further seeds confirm that."
    )
    assert (
        "2.00 points below the plain pooled resnet50 (95.00 % at 4.000 GFLOPs, which is over the budget)"
        in text
    )
    assert "with 42 % of its multiply-adds." in text
    assert text.endswith("the noise between seeds was not measured for this proxy.")


def test_verdict_where_it_does_not() -> None:
    searched = result(
        trial("0", 1.5, 0.92, yardstick="uniform-0.5"),
        trial("1", 1.5, 0.90),
        trial("2", 1.9, 0.91),
    )
    text = verdict(searched)
    assert "does not beat the best uniform yardstick at equal or lower cost" in text
    assert "trial 1 (resnet18) (90.00 % at 1.500 GFLOPs) against uniform-0.5 resnet18" in text
    assert "2.00 points less." in text
    assert "Every member of the front is a yardstick." in text


def test_plain_pooled_within_the_budget_is_the_uniform_alpha_0() -> None:
    searched = result(trial("0", 1.8, 0.95, yardstick="plain-pooled"), trial("1", 1.5, 0.90))
    assert "does not beat" in verdict(searched)
    strided = result(trial("0", 1.8, 0.95, yardstick="plain"), trial("1", 1.5, 0.90))
    assert "No uniform yardstick is complete" in verdict(strided)


def test_verdict_calls_small_differences_noise() -> None:
    searched = result(trial("0", 1.5, 0.920, yardstick="uniform-0.5"), trial("1", 1.5, 0.925))
    noisy = verdict(searched, 0.2)
    assert "do not differ beyond seed noise" in noisy
    assert "0.50 points more with " in noisy
    assert "beats" not in noisy
    assert "Accuracy varies by 0.20 points" in verdict(searched, 0.2)
    assert "single-seed differences under 0.57 points are noise" in verdict(searched, 0.2)
    assert "is ahead of the best uniform yardstick" in verdict(searched, 0.1)


def test_verdict_without_candidates_or_at_another_cost() -> None:
    assert verdict(result(trial("0", 1.5, 0.9, yardstick="uniform-0.5"))).startswith(
        "No candidate is complete"
    )
    stopped = result(trial("0", 1.5, 0.9, state=TrialState.STOPPED))
    assert verdict(stopped).startswith("No candidate is complete")
    dearer = result(trial("0", 1.0, 0.9, yardstick="uniform-0.5"), trial("1", 1.5, 0.95))
    assert "No complete candidate costs as little as the best uniform yardstick" in verdict(dearer)
    equal = result(trial("0", 1.5, 0.9, yardstick="uniform-0.5"), trial("1", 1.2, 0.9))
    assert "equals the best uniform yardstick at lower cost" in verdict(equal)


def test_list_of_runs() -> None:
    runs = [
        {
            "name": "a",
            "state": "complete",
            "trials": 30,
            "finished": 29,
            "space": "small-2d",
            "budget_gflops": 0.04,
            "created": "2026-11-01T10:15:00.1+00:00",
        },
        {
            "name": "b",
            "state": "damaged",
            "trials": 0,
            "finished": 0,
            "space": "",
            "budget_gflops": None,
            "created": "",
        },
    ]
    lines = [
        line for line in _print(runs_table(runs), 120).splitlines() if "complete" in line or "damaged" in line
    ]
    assert lines[0].replace("│", " ").split() == [
        "a",
        "complete",
        "29/30",
        "small-2d",
        "0.04",
        "2026-11-01",
        "10:15",
    ]
    assert lines[1].replace("│", " ").split() == ["b", "damaged", "0/0", "-"]
    name = "imagenet-2d-20261124-211352"
    text = _print(runs_table([{**runs[0], "name": name, "state": "interrupted", "space": "imagenet-2d"}]), 80)
    assert "…" not in text
    assert f" {name} " in text, "a name is there to be copied"
    assert " interrupted " in text
    assert "no searches here yet" in _print(runs_table([]))
