from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from record_case import complete, running, score

from octnas.record import EpochScore, TrialRecord, TrialState

CONTRACT = {
    "id",
    "digest",
    "state",
    "reason",
    "backbone",
    "dims",
    "downsample",
    "low_channels",
    "gflops",
    "accuracy",
    "epochs",
    "seconds",
    "yardstick",
}


def test_summary_has_the_documented_keys_and_values() -> None:
    summary = complete("7", yardstick="uniform-0.5").summary()
    assert set(summary) >= CONTRACT
    assert summary["id"] == "7"
    assert summary["state"] == "complete"
    assert summary["dims"] == 2
    assert summary["downsample"] == "pooled"
    assert summary["low_channels"] == [32] * 4 + [64] * 4 + [128] * 4 + [0] * 4
    assert summary["alphas"] == [0.5] * 12 + [0.0] * 4
    assert (summary["gflops"], summary["accuracy"], summary["epochs"], summary["seconds"]) == (
        1.137,
        0.7,
        2,
        4.0,
    )
    assert summary["yardstick"] == "uniform-0.5"
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


@pytest.mark.parametrize(
    "record",
    [
        running(),
        complete("a-1", accuracy_seeds=(0.71, 0.72), checkpoint="checkpoints/a-1.pt"),
        complete("2").with_state(TrialState.STOPPED, "rung 2: rank 5 of 9"),
        complete("3").failed("worker died"),
        complete("4", latency_ms=12.5),
        complete("5", shared_accuracy=0.61),
    ],
)
def test_dict_round_trip_through_strict_json(record: TrialRecord) -> None:
    text = json.dumps(record.to_dict(), allow_nan=False)
    assert TrialRecord.from_dict(json.loads(text)) == record


def test_a_record_of_an_older_version_has_no_shared_accuracy() -> None:
    value = {key: item for key, item in complete().to_dict().items() if key != "shared_accuracy"}
    assert TrialRecord.from_dict(value).shared_accuracy is None
    assert complete(shared_accuracy=0.61).summary()["shared_accuracy"] == 0.61
    with pytest.raises(ValueError, match="`shared_accuracy` of trial 0 must be finite or None, but got nan"):
        complete(shared_accuracy=math.nan)


def test_keys_of_a_newer_version_are_ignored() -> None:
    value = {**complete().to_dict(), "colour": "blue"}
    assert TrialRecord.from_dict(value) == complete()


@pytest.mark.parametrize(
    ("number", "change"), [("loss", {"loss": math.nan}), ("train_loss", {"train_loss": math.inf})]
)
def test_a_score_that_is_not_finite_fails_the_trial_and_says_where(
    number: str, change: dict[str, float]
) -> None:
    record = complete().with_state(TrialState.RUNNING).with_score(score(3, **change))
    assert record.state is TrialState.FAILED
    assert record.reason == f"{number} is {change[number]} in epoch 3"
    assert record.accuracy is None
    assert [each.epoch for each in record.scores] == [1, 2]


@pytest.mark.parametrize("field", ["accuracy", "loss", "gflops", "latency_ms", "seconds"])
def test_no_record_holds_a_number_that_is_not_finite(field: str) -> None:
    with pytest.raises(ValueError, match=f"`{field}` of trial 0 must be finite"):
        replace(complete(), **{field: math.nan})


def test_cost_is_that_of_the_objective() -> None:
    timed = complete("4", latency_ms=12.5)
    assert (timed.cost("gflops"), timed.cost("latency"), timed.summary()["latency_ms"]) == (1.137, 12.5, 12.5)
    assert complete().cost("gflops") == 1.137
    assert complete().summary()["latency_ms"] is None
    with pytest.raises(ValueError, match="trial 0 has no latency: its search had no profile"):
        complete().cost("latency")


def test_complete_without_accuracy_cannot_be() -> None:
    with pytest.raises(ValueError, match="must have an accuracy"):
        running(state=TrialState.COMPLETE)
    ended = running().with_state(TrialState.COMPLETE)
    assert (ended.state, ended.reason) == (TrialState.FAILED, "the training ended without a score")


def test_a_reason_is_one_line() -> None:
    assert running().failed("CUDA\n  error:\tfull").reason == "CUDA error: full"


def test_scores_of_a_retry_take_the_place_of_what_followed() -> None:
    record = running()
    for each in (score(1, 0.1), score(2, 0.2), score(3, 0.3), score(2, 0.25)):
        record = record.with_score(each)
    assert [(each.epoch, each.accuracy) for each in record.scores] == [(1, 0.1), (2, 0.25)]
    assert (record.accuracy, record.epochs, record.seconds) == (0.25, 2, 4.0)


def test_the_last_three_states_are_final() -> None:
    assert [str(state) for state in TrialState] == ["running", "paused", "complete", "stopped", "failed"]
    assert [state.final for state in TrialState] == [False, False, True, True, True]


def test_score_round_trip() -> None:
    assert EpochScore.from_dict(json.loads(json.dumps(score(4, 0.8).to_dict()))) == score(4, 0.8)


def test_a_score_knows_its_worker_where_somebody_told() -> None:
    told = score(4, worker="node-1/4711")
    assert told.to_dict()["worker"] == "node-1/4711"
    read = [EpochScore.from_dict(json.loads(json.dumps(told.to_dict()))) for _ in range(2)]
    assert read == [told, told]
    assert read[0].worker is read[1].worker is told.worker  # one string for all the scores of a search
    assert told.non_finite is None
    assert score(4, worker="node-1/4711", loss=math.nan).non_finite == "loss is nan"
    assert score(4).worker is None
    assert "worker" not in score(4).to_dict()  # as older versions wrote


def test_seconds_of_an_epoch_are_the_mean_of_those_scored() -> None:
    assert running().epoch_seconds == 0.0
    record = running().with_score(score(1, seconds=1.0)).with_score(score(2, seconds=4.0))
    assert record.epoch_seconds == 2.5
