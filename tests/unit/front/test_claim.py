from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from front_case import confirmed, result, seeded, trial, whole
from hypothesis import given
from hypothesis import strategies as st

from octnas.front import SearchResult, choose_to_confirm
from octnas.front.claim import Claim, paired_interval
from octnas.front.verdict import claim_sentence, confirmed_lines, verdict
from octnas.record import TrialState


def test_the_interval_of_known_differences() -> None:
    low, high = paired_interval([1.0, 2.0, 3.0])  # mean 2, deviation 1
    half = 4.302652729749462 / math.sqrt(3)
    assert (low, high) == pytest.approx((2 - half, 2 + half))
    assert paired_interval([1.5, 1.5, 1.5]) == (1.5, 1.5)
    # scipy.stats.ttest_1samp([.4, -.2, .9, .3, .1], 0).confidence_interval(.95)
    assert paired_interval([0.4, -0.2, 0.9, 0.3, 0.1]) == pytest.approx(
        (-0.2043663003530608, 0.8043663003530609)
    )


def _duel(ours: tuple[float, ...], theirs: tuple[float, ...], *, test: bool = True) -> SearchResult:
    """A candidate at 1.5 and uniform-0.5 at 1.6 GFLOPs with these accuracies over further seeds."""
    no_test = ((0.5,) * len(ours), (0.5,) * len(theirs))
    sides = (
        seeded(
            trial("1", 1.6, 0.90, yardstick="uniform-0.5"),
            no_test[1] if test else theirs,
            theirs if test else (),
        ),
        seeded(trial("2", 1.5, 0.91), no_test[0] if test else ours, ours if test else ()),
    )
    return result(*sides)


def _claim(searched: SearchResult) -> Claim:
    assert searched.claim is not None
    return searched.claim


def test_a_clear_win_is_called_one() -> None:
    claim = _claim(_duel((0.920, 0.925, 0.921), (0.900, 0.904, 0.902)))  # 2.0, 2.1 and 1.9 points
    half = 4.302652729749462 * 0.1 / math.sqrt(3)
    assert claim.interval == pytest.approx((2 - half, 2 + half))
    assert (claim.outcome, claim.images, claim.seeds) == ("beats", "test", (1000, 1001, 1002))
    assert claim.difference == pytest.approx(2.0)
    assert claim_sentence(claim) == (
        "The search beats the best uniform yardstick at equal or lower cost: trial 2 (resnet18) (92.20 % at "
        "1.500 GFLOPs) against uniform-0.5 resnet18 (90.20 % at 1.600 GFLOPs), 2.00 points more with 94 % of "
        "its multiply-adds, 95 % interval +1.75 to +2.25 points, 3 paired seeds (means over fresh seeds, "
        "test images)."
    )


def test_a_clear_loss_is_called_one() -> None:
    claim = _claim(_duel((0.880, 0.884, 0.882), (0.900, 0.905, 0.901)))
    assert claim.outcome == "does not beat"
    sentence = claim_sentence(claim)
    assert sentence.startswith("The search does not beat the best uniform yardstick at equal or lower cost: ")
    assert "2.00 points less with 94 % of its multiply-adds, 95 % interval -2.25 to -1.75 points" in sentence


def test_an_interval_around_zero_decides_nothing() -> None:
    claim = _claim(_duel((0.93, 0.91, 0.90), (0.90, 0.905, 0.902)))
    assert claim.difference == pytest.approx(100 * (0.03 + 0.005 - 0.002) / 3)
    assert claim.interval is not None
    assert claim.interval[0] < 0 < claim.interval[1]
    assert claim.outcome == "cannot be told apart"
    sentence = claim_sentence(claim)
    assert sentence.startswith(
        "The search and the best uniform yardstick cannot be told apart at equal or lower cost: "
    )
    assert "1.10 points more" in sentence
    assert "beats" not in sentence


def test_equal_accuracies_decide_nothing() -> None:
    claim = _claim(_duel((0.9, 0.9, 0.9), (0.9, 0.9, 0.9)))
    assert claim.interval == (0.0, 0.0)
    assert claim.outcome == "cannot be told apart"


def test_without_test_images_the_claim_is_on_validation_images_and_says_so() -> None:
    claim = _claim(_duel((0.92, 0.925, 0.921), (0.90, 0.904, 0.902), test=False))
    assert (claim.images, claim.outcome) == ("validation", "beats")
    assert claim.difference == pytest.approx(2.0)
    assert claim_sentence(claim).endswith(
        "fresh seeds, validation images, which also chose the two, as the data has no test images)."
    )


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 paired seed is too few"), (2, "2 paired seeds are too few")]
)
def test_fewer_than_three_seeds_give_no_interval_and_no_win(count: int, words: str) -> None:
    claim = _claim(_duel((0.99, 0.98)[:count], (0.90, 0.904)[:count]))
    assert claim.interval is None
    assert claim.outcome == "cannot be told apart"
    assert words in claim_sentence(claim)
    assert claim.to_dict()["interval_points"] is None


def test_only_seeds_of_both_count() -> None:
    searched = _duel((0.92, 0.925, 0.921, 0.5), (0.90, 0.904, 0.902))
    claim = _claim(searched)
    assert claim.seeds == (1000, 1001, 1002)
    assert claim.candidate_accuracies == (0.92, 0.925, 0.921)
    ours, theirs = searched.records[1], searched.records[0]
    swapped = replace(ours, confirm_seeds=(1002, 1000, 1001, 7))
    claim = _claim(result(theirs, swapped))
    assert claim.seeds == (1002, 1000, 1001)
    assert claim.yardstick_accuracies == (0.902, 0.90, 0.904)
    strangers = replace(ours, confirm_seeds=(1, 2, 3, 4))
    assert result(theirs, strangers).claim is None


def test_nothing_is_claimed_before_both_are_confirmed() -> None:
    assert whole().claim is None
    one_side = _duel((0.92, 0.925, 0.921), ())
    assert one_side.claim is None
    assert "ahead of the best uniform yardstick at equal or lower cost: trial 2" in verdict(one_side)
    assert "beats" not in verdict(one_side)
    old = replace(trial("2", 1.5, 0.91), accuracy_seeds=(0.9, 0.91, 0.92))
    assert result(trial("1", 1.6, 0.9, yardstick="uniform-0.5"), old).claim is None
    assert confirmed_lines(result(old)) == []


def test_the_verdict_begins_with_the_claim() -> None:
    searched = confirmed()
    text = verdict(searched)
    assert text.startswith(claim_sentence(_claim(searched)))
    assert "1.50 points more with 89 % of its multiply-adds, 95 % interval +1.00 to +2.00 points" in text
    assert text.endswith("Every other accuracy is of one seed.")
    assert text.count("best uniform yardstick") == 1
    assert "single-seed differences under 0.85 points are noise" in verdict(searched, 0.3)
    assert confirmed_lines(searched) == [
        "trial 5 (resnet34): validation 92.00 ± 0.10 %, test 90.90 ± 0.10 % (3 seeds)",
        "uniform-0.75 resnet34: validation 90.50 ± 0.26 %, test 89.40 ± 0.10 % (3 seeds)",
    ]


def test_the_claim_in_json() -> None:
    value = confirmed().to_dict()
    claim = value["claim"]
    assert json.loads(json.dumps(claim, allow_nan=False)) == claim
    assert set(claim) == {
        "outcome",
        "images",
        "seeds",
        "difference_points",
        "interval_points",
        "confidence",
        "candidate",
        "yardstick",
    }
    assert (claim["outcome"], claim["images"], claim["confidence"]) == ("beats", "test", 0.95)
    assert claim["candidate"] == {
        "id": "5",
        "yardstick": None,
        "backbone": "resnet34",
        "gflops": 1.7,
        "latency_ms": None,
        "accuracies": [0.908, 0.910, 0.909],
        "mean_accuracy": pytest.approx(0.909),
    }
    assert (claim["yardstick"]["id"], claim["yardstick"]["yardstick"]) == ("1", "uniform-0.75")
    assert value["trials"][5]["test_accuracy_seeds"] == [0.908, 0.910, 0.909]
    assert value["trials"][5]["accuracy_seeds"] == [0.919, 0.920, 0.921]


def test_the_yardstick_the_candidate_at_its_cost_and_the_best_are_worth_seeds() -> None:
    assert choose_to_confirm(whole().records, 2.0) == ("1", "5")
    records = [
        trial("0", 1.2, 0.80, yardstick="uniform-0.75"),
        trial("1", 1.5, 0.90, yardstick="uniform-0.5"),
        trial("2", 3.0, 0.99, yardstick="plain-pooled"),  # over the budget
        trial("3", 1.4, 0.97, yardstick="plain"),  # strided: not uniform
        trial("4", 1.5, 0.91),  # as dear as the yardstick
        trial("5", 1.4, 0.89),
        trial("6", 1.9, 0.98),
        trial("7", 1.0, 0.99, state=TrialState.STOPPED),
        trial("8", 1.1, None, state=TrialState.FAILED),
    ]
    assert choose_to_confirm(records, 2.0) == ("1", "4", "6")
    assert choose_to_confirm(records, 1.45) == (), "no candidate is as cheap, none is on the front"
    assert choose_to_confirm([each for each in records if each.id != "3"], 1.45) == ("0", "5")
    assert choose_to_confirm([each for each in records if not each.yardstick], 2.0) == ("6",)
    assert choose_to_confirm([each for each in records if each.yardstick], 2.0) == ()
    assert choose_to_confirm([], 2.0) == ()


def test_ties_go_to_the_cheaper_then_to_the_first() -> None:
    records = [
        trial("0", 1.6, 0.90, yardstick="uniform-0.5"),
        trial("1", 1.5, 0.90, yardstick="uniform-0.75"),
        trial("2", 1.4, 0.91),
        trial("3", 1.3, 0.91),
        trial("4", 1.3, 0.91),
    ]
    assert choose_to_confirm(records, 2.0) == ("1", "3")


@given(
    costs=st.lists(st.integers(5, 25), min_size=1, max_size=12),
    seed=st.integers(0, 2**16),
)
def test_the_choice_stays_while_seeds_come_in(costs: list[int], seed: int) -> None:
    """What a resumed search confirms is what it would have confirmed without the interruption."""
    rng = np.random.default_rng(seed)
    records = [
        trial(
            str(i),
            cost / 10,
            float(rng.integers(1, 10)) / 10,
            yardstick="uniform-0.5" if rng.random() < 0.4 else None,
            state=TrialState.COMPLETE if rng.random() < 0.8 else TrialState.STOPPED,
        )
        for i, cost in enumerate(costs)
    ]
    chosen = choose_to_confirm(records, 2.0)
    assert len(chosen) == len(set(chosen)) <= 3
    picked = [record for record in records if record.id in chosen]
    assert all(record.state is TrialState.COMPLETE and record.gflops <= 2.0 for record in picked)
    assert sum(record.yardstick is not None for record in picked) <= 1
    for trial_id in chosen:
        records = [
            seeded(each, [float(rng.random()) for _ in range(3)]) if each.id == trial_id else each
            for each in records
        ]
        assert choose_to_confirm(records, 2.0) == chosen
    claim = result(*records).claim
    if claim is not None:
        assert {claim.candidate.id, claim.yardstick.id} <= set(chosen)
        assert claim.candidate.gflops <= claim.yardstick.gflops


def test_fresh_seeds_that_vary_more_than_the_measured_noise_are_believed() -> None:
    searched = _duel((0.80, 0.84, 0.76), (0.81, 0.81, 0.82), test=False)
    text = verdict(searched, 0.65)
    assert "by 4.00 points over this search's fresh seeds" in text
    assert "differences of single seeds under 11.31 points are noise" in text
    assert "single-seed differences under 14.14 points are noise" in verdict(searched, 5.0)
