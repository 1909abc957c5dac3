"""What the benchmark of `--init shared` reads off its searches."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from init_shared import Run, difference_words, file_of, keep, order, paired, report, stored, t_interval


def trial(name: str, gflops: float, accuracy: float, **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "backbone": "resnet26",
        "gflops": gflops,
        "accuracy": accuracy,
        "state": "complete",
        "yardstick": None,
        **changes,
    }


def run(arm: str, seed: int, volume: float) -> Run:
    shared = None
    if arm == "shared":
        shared = {"scored": 1000, "agreement": {"tau": 0.712, "tau_interval": [0.5, 0.8], "trials": 20}}
    trials = [
        trial("0", 1.8, 0.85, yardstick="uniform-0.25"),
        trial("1", 1.0, 0.8, shared_accuracy=0.79 if shared else None),
        trial("2", 1.5, 0.7, state="stopped"),
    ]
    document = {"hypervolume": volume, "front": ["0", "1"], "trials": trials, "shared": shared}
    return Run(arm=arm, seed=seed, minutes=20.5, gib=4.0, document=document)


RUNS = [
    run(arm, seed, volume)
    for seed, arm, volume in (
        (0, "scratch", 0.40),
        (0, "shared", 0.42),
        (1, "scratch", 0.38),
        (1, "shared", 0.42),
        (2, "scratch", 0.39),
    )
]


def test_who_is_first_alternates() -> None:
    kinds = [("scratch", 0), ("shared", 0), ("shared", 1), ("scratch", 1), ("scratch", 2), ("shared", 2)]
    assert order(3) == kinds


def test_differences_are_of_seeds_that_have_both() -> None:
    assert [(one.seed, other.seed) for one, other in paired(RUNS)] == [(0, 0), (1, 1)]
    # 0.02 and 0.04: mean 0.03, standard error 0.01, and t is 12.706 at one degree of freedom
    words = "+0.0300, 95 % t interval -0.0971 to +0.1571 (2 seeds)"
    assert difference_words([0.02, 0.04]) == words
    assert words in report(RUNS, [])
    assert t_interval([0.1]) is None
    low, high = t_interval([1.0, 2.0, 3.0]) or (0, 0)
    assert (low, high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    assert difference_words([]) == "no seed has both runs"


def test_the_front_comes_by_cost_and_yardsticks_are_no_candidates() -> None:
    one = RUNS[1]
    assert [member["id"] for member in one.front] == ["1", "0"]
    assert (one.count("complete"), one.count("stopped"), one.scored) == (1, 1, 1000)
    assert [one.best_below(cost) for cost in (0.9, 1.0, 1.79, 1.8)] == [0, 0.8, 0.8, 0.85]


def test_the_report_has_every_run_and_every_member_of_a_front() -> None:
    text = report(RUNS, ["--budget-gflops", "2"])
    assert "| 0 | shared | 0.4200 | 2 | 1 / 1 / 0 | 1000 | 0.71 (0.50 to 0.80) | 20.5 | 4.0 |" in text
    assert "| 2 | scratch | 0.3900 | 2 | 1 / 1 / 0 | - | - | 20.5 | 4.0 |" in text
    assert text.count("| uniform-0.25 |") == 5
    assert text.count("| 1.000 | 80.00 % | 79.00 % | resnet26 |") == 2
    assert "| scratch, mean of 3 | 80.00 % | 80.00 % | 80.00 % | 80.00 % | 85.00 % |" in text


def test_finished_runs_are_kept(tmp_path: Path) -> None:
    for each in RUNS:
        keep(file_of(tmp_path, each.arm, each.seed), each)
    assert stored(tmp_path, 3) == RUNS
    assert stored(tmp_path, 1) == RUNS[:2]
    assert stored(tmp_path / "none", 3) == []
