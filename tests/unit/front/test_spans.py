"""Who trained what when, from the lines of a journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from front_case import trial

from octnas.front import SearchResult
from octnas.front.spans import Span, SpanReader, spans
from octnas.record import EpochScore, RunFolder, SearchHeader, TrialState

BEGAN = 1_700_000_000.0
"""The time of the first line."""


def at(moment: float, event: str, **values: Any) -> dict[str, Any]:
    return {"event": event, **values, "time": BEGAN + moment}


def scored(epoch: int, worker: str | None, *, seconds: float = 2.0) -> dict[str, Any]:
    return {"epoch": epoch, "seconds": seconds, **({} if worker is None else {"worker": worker})}


def state(
    seconds: float, trial_id: str, name: str, *scores: tuple[int, str | None], took: float = 2.0
) -> dict[str, Any]:
    """A line about a trial as it stands; `scores` are (epoch, worker)."""
    values = [scored(*each, seconds=took) for each in scores]
    return at(seconds, "trial", trial={"id": trial_id, "state": name, "scores": values})


def score(seconds: float, trial_id: str, epoch: int, worker: str | None, took: float = 2.0) -> dict[str, Any]:
    return at(seconds, "score", id=trial_id, score=scored(epoch, worker, seconds=took))


def facts(found: tuple[Span, ...]) -> list[tuple[Any, ...]]:
    return [(each.worker, each.trial_id, each.start, each.end, each.ending) for each in found]


def test_a_paused_trial_goes_on_where_there_is_a_worker() -> None:
    found = spans(
        [
            at(0, "search"),
            state(1, "1", "running"),
            state(1, "2", "running"),
            state(6, "1", "paused", (1, "a/1")),  # the epoch began at 4: before it the worker was started
            state(7, "2", "running", (1, "b/2")),  # past a rung at once: one line
            state(8, "3", "running"),
            score(9, "2", 2, "b/2"),
            state(10, "3", "failed", (1, "a/1")),
            state(11, "2", "complete", (1, "b/2"), (2, "b/2"), (3, "b/2")),
            state(12, "1", "running", (1, "a/1")),  # promoted, and it waits until 13
            score(15, "1", 2, "b/2"),
            state(17, "1", "complete", (1, "a/1"), (2, "b/2"), (3, "b/2")),
            at(18, "end", state="complete"),
        ]
    )
    assert facts(found) == [
        ("a/1", "1", 4, 6, "paused"),
        ("b/2", "2", 5, 11, "complete"),
        ("a/1", "3", 8, 10, "failed"),
        ("b/2", "1", 13, 17, "complete"),
    ]
    assert [each.lane for each in found] == [0, 1, 0, 1]
    assert not any(each.confirming for each in found)


def test_a_paused_trial_that_is_stopped_is_not_trained_and_a_running_one_was() -> None:
    found = spans(
        [
            at(0, "search"),
            state(0, "1", "running"),
            state(3, "1", "paused", (1, "a/1")),
            state(3, "2", "running"),
            score(5, "2", 1, "a/1"),
            state(9, "1", "stopped", (1, "a/1")),
            state(9, "2", "stopped", (1, "a/1")),  # by the time limit, in its second epoch
        ]
    )
    assert facts(found) == [("a/1", "1", 1, 3, "paused"), ("a/1", "2", 3, 9, "stopped")]


@pytest.mark.parametrize("told", [True, False], ids=["interrupted", "died"])
def test_between_two_sessions_nothing_is_trained(told: bool) -> None:
    end = [at(7, "end", state="interrupted")] if told else []
    found = spans(
        [
            at(0, "search"),
            state(1, "1", "running"),
            state(1, "2", "running"),
            score(4, "1", 1, "a/1"),
            score(6, "2", 1, "a/2"),
            *end,
            at(1000, "resume"),
            score(1008, "1", 2, "a/3", took=3.0),
            state(1012, "1", "complete", (1, "a/1"), (2, "a/3"), (3, "a/3")),
            state(1013, "2", "stopped", (1, "a/2")),
        ]
    )
    last = 7 if told else 6  # the last line of a session that died is the last thing known of it
    assert facts(found) == [
        ("a/1", "1", 2, last, "interrupted"),
        ("a/2", "2", 4, last, "interrupted"),
        ("a/3", "1", 1005, 1012, "complete"),
    ]


def test_a_long_epoch_does_not_reach_back_over_a_gap() -> None:
    events = [at(0, "search"), state(1, "1", "running"), score(4, "1", 1, "a/1"), at(900, "resume")]
    found = spans([*events, score(905, "1", 2, "a/2", took=60.0)])
    assert facts(found)[-1] == ("a/2", "1", 900, None, None)


def test_a_trial_whose_worker_was_lost_has_a_span_of_each() -> None:
    found = spans(
        [
            at(0, "search"),
            state(0, "1", "running"),
            score(3, "1", 1, "a/1"),
            score(5, "1", 2, "a/1"),
            score(20, "1", 3, "b/9"),  # begun again somewhere else, and epochs 1 and 2 told nobody
            state(22, "1", "complete", (1, "a/1"), (2, "a/1"), (3, "b/9"), (4, "b/9")),
        ]
    )
    assert facts(found) == [("a/1", "1", 1, 5, "interrupted"), ("b/9", "1", 18, 22, "complete")]


def test_a_score_that_comes_twice_is_told_once() -> None:
    lines = [at(0, "search"), state(0, "1", "running"), score(3, "1", 1, "a/1"), score(9, "1", 1, "b/9")]
    assert facts(spans(lines)) == [("a/1", "1", 1, None, None)]


def test_what_is_under_way_has_no_end() -> None:
    reader = SpanReader()
    for event in (at(0, "search"), state(2, "1", "running"), state(3, "2", "running")):
        reader.take(event)
    assert facts(reader.spans()) == [(None, "1", 2, None, None), (None, "2", 3, None, None)]
    assert [each.lane for each in reader.spans()] == [0, 1]
    reader.take(score(7, "2", 1, "a/1"))
    assert facts(reader.spans()) == [(None, "1", 2, None, None), ("a/1", "2", 5, None, None)]
    assert [each.lane for each in reader.spans()] == [1, 0]  # the known worker's row is the first


def test_a_journal_without_workers_gets_the_fewest_rows_that_keep_spans_apart() -> None:
    found = spans(
        [
            at(0, "search"),
            *(state(0, each, "running") for each in "123"),
            state(4, "1", "complete", (1, None), took=4.0),
            state(4, "4", "running"),
            state(6, "2", "complete", (1, None), took=6.0),
            state(7, "3", "failed"),
            state(7, "5", "running"),
            state(8, "4", "complete", (1, None), took=4.0),
            state(9, "5", "complete", (1, None), took=2.0),
        ]
    )
    assert {each.worker for each in found} == {None}
    assert {each.trial_id: each.lane for each in found} == {"1": 0, "2": 1, "3": 2, "4": 0, "5": 1}
    assert [each.ending for each in found if each.trial_id == "3"] == ["failed"]


def test_what_confirms_a_claim_is_marked() -> None:
    found = spans(
        [
            at(0, "search"),
            state(0, "1", "running"),
            state(3, "1", "complete", (1, "a/1")),
            at(3, "confirming", id="1", seed=1000),
            at(4, "confirming", id="1", seed=1001),
            at(5, "confirming", id="1", seed=1002),
            at(10, "confirm", id="1", seed=1000, accuracy=0.5, seconds=2.0, worker="a/1"),
            at(11, "unconfirmed", id="1", seed=1001, reason="no luck"),
            at(12, "end", state="complete"),  # the time was over
        ]
    )
    assert facts(found) == [
        ("a/1", "1", 1, 3, "complete"),
        ("a/1", "1", 3, 10, "complete"),
        (None, "1", 4, 11, "failed"),
        (None, "1", 5, 12, "stopped"),
    ]
    assert [each.confirming for each in found] == [False, True, True, True]


def test_an_older_journal_tells_of_a_confirmation_only_when_it_is_done() -> None:
    """Its seconds are those of the last epoch, of as many as the trial had."""
    found = spans(
        [
            at(0, "search"),
            state(0, "1", "running"),
            score(2, "1", 1, None),
            state(4, "1", "complete", (1, None), (2, None)),
            at(10, "confirm", id="1", seed=1000, accuracy=0.5, seconds=3.0),
        ]
    )
    assert [(each.start, each.end, each.confirming) for each in found] == [(0, 4, False), (4, 10, True)]


def test_a_clock_that_is_set_back_takes_no_time_away() -> None:
    found = spans(
        [
            at(0, "search"),
            state(5, "1", "running"),
            score(10, "1", 1, "a/1"),
            state(-3600, "1", "paused", (1, "a/1")),
            state(-3599, "2", "running"),
            score(14, "2", 1, "a/1", took=60.0),
        ]
    )
    assert facts(found) == [("a/1", "1", 8, 10, "paused"), ("a/1", "2", 10, None, None)]


def test_no_events_no_spans() -> None:
    assert spans([]) == ()


def test_a_result_has_the_spans_of_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    header = SearchHeader(
        name="who", space="s", space_yaml="", budget_gflops=2.0, trials=2, seed=0, data="glyphs"
    )
    run = RunFolder.create("who", header)
    numbers = {
        "accuracy": 0.5,
        "loss": 1.0,
        "train_loss": 1.0,
        "train_seconds": 1.0,
        "images_per_second": 9.0,
    }
    for trial_id, worker in (("1", "a/1"), ("2", None)):
        record = trial(trial_id, 1.0, None, state=TrialState.RUNNING)
        run.journal.append_trial(record)
        told = EpochScore(epoch=1, seconds=0.0, worker=worker, **numbers)
        run.journal.append_trial(record.with_score(told).with_state(TrialState.COMPLETE))
    run.journal.append_confirmation("1", 1000, EpochScore(epoch=1, seconds=0.0, worker="a/1", **numbers))
    run.journal.release()
    result = SearchResult.from_run("who")
    assert [(each.trial_id, each.worker, each.lane, each.ending) for each in result.spans] == [
        ("1", "a/1", 0, "complete"),
        ("2", None, 1, "complete"),
        ("1", "a/1", 0, "complete"),
    ]
    assert result.spans == spans(run.journal.events())
    assert [score.worker for record in result.records for score in record.scores] == ["a/1", None]
