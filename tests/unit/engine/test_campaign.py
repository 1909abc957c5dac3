"""The loop without any worker: what is started, written and decided, and what a second life makes of it."""

from __future__ import annotations

import math

import fakes
import pytest
from campaign_case import Clock, MakeCampaign, drive, reopened, with_seconds

from octnas.engine.evaluate import TrialJob
from octnas.engine.events import SearchEvent
from octnas.engine.limits import TIME_LIMIT, TimeLimit
from octnas.errors import RunError, SearchFailedError
from octnas.record import RunFolder, TrialRecord, TrialState
from octnas.space import SearchSpace, parse_space


def test_every_trial_ends_as_a_row_and_the_journal_has_it(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(space, trials=12)
    jobs = drive(campaign)
    records = reopened(campaign).records()
    assert [record.id for record in records] == [str(n) for n in range(1, 17)]
    assert {job.id for job in jobs} == {record.id for record in records}
    assert records == list(campaign.records)
    assert all(record.state.final for record in records)
    assert sum(record.yardstick is None for record in records) == 12
    assert {record.epochs for record in records if record.state is TrialState.COMPLETE} == {9}
    stopped = [record for record in records if record.state is TrialState.STOPPED]
    assert stopped
    assert {record.epochs for record in stopped} <= {1, 3}
    assert {record.reason for record in stopped} <= {f"outside the best 1/3 after epoch {n}" for n in (1, 3)}
    went_on = [job for job in jobs if job.scored]
    assert {job.scored for job in went_on} <= {1, 3}
    assert went_on
    assert not campaign.has_work
    assert campaign.ending == "all trials done"


def test_no_candidate_is_over_budget_and_nothing_is_trained_twice(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(space, trials=30, budget=0.03)
    jobs = drive(campaign)
    candidates = [record for record in campaign.records if record.yardstick is None]
    assert all(space.macs(record.architecture) <= 0.03e9 and record.within_budget for record in candidates)
    assert len({job.architecture.digest for job in jobs}) == len(campaign.records) == 34
    assert len({(job.id, job.scored) for job in jobs}) == len(jobs)


def test_yardsticks_are_never_stopped_and_never_more_than_a_third(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(space, trials=12)
    kinds = []
    while (job := campaign.next_job()) is not None:
        kinds.append(campaign.records[-1].yardstick)
        assert 3 * sum(kind is not None for kind in kinds) <= len(kinds)
        yardstick = kinds[-1] is not None
        accuracy = 0.0 if yardstick else 0.5
        for epoch in range(1, 10):
            score = fakes.score(job, epoch, accuracy=accuracy)
            goes_on = campaign.report(job.id, score)
            if yardstick:
                assert goes_on is (epoch < 9)
            if not goes_on:
                break
    rows = {record.yardstick: record for record in campaign.records if record.yardstick}
    assert set(rows) == {"uniform-0.25", "uniform-0", "plain-pooled", "plain"}
    assert all(record.state is TrialState.COMPLETE for record in rows.values())
    within = {label: row.within_budget for label, row in rows.items()}
    assert within == {"uniform-0.25": True, "uniform-0": True, "plain-pooled": False, "plain": False}


def test_the_journal_has_a_score_and_its_decision_before_the_answer(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(space)
    jobs = [campaign.next_job() for _ in range(3)]
    answers = []
    for job, accuracy in zip(jobs, (0.3, 0.2, 0.1), strict=True):
        assert job is not None
        answers.append(campaign.report(job.id, fakes.score(job, 1, accuracy=accuracy)))
        written = RunFolder.open("run").records()[int(job.id) - 1]
        assert written.scores == (fakes.score(job, 1, accuracy=accuracy),)
        assert written.state is (TrialState.RUNNING if answers[-1] else TrialState.PAUSED)
    assert answers[:2] == [False, False]
    # Of three the best third is one: the third arrival itself, or the first, which goes on from its pause.
    again = campaign.next_job()
    assert again is not None
    assert answers[2] or (again.id, again.scored) == ("1", 1)


def test_a_second_life_trains_nothing_again_and_misses_nothing(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(space, trials=12)
    first = drive(campaign, jobs=7)
    orphan = campaign.next_job()
    assert orphan is not None  # the first life ends here
    before = {record.id: record for record in campaign.records}

    again = make_campaign(space, run=reopened(campaign))
    second = drive(again)
    assert (second[0].id, second[0].architecture) == (orphan.id, orphan.architecture)
    assert not {(job.id, job.scored) for job in first} & {(job.id, job.scored) for job in second}
    records = {record.id: record for record in again.records}
    finished = [record for record in before.values() if record.state.final]
    assert finished
    assert all(records[record.id] == record for record in finished)
    assert len({record.architecture.digest for record in records.values()}) == len(records) == 16
    assert all(record.state.final for record in records.values())


def test_rung_scores_survive_a_death(space: SearchSpace, make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(space, trials=6)
    drive(campaign, jobs=4)
    again = make_campaign(space, run=reopened(campaign))
    for level in (1, 3):
        assert again._rungs.scores(level) == campaign._rungs.scores(level)
    assert len(again._rungs.scores(1)) >= 3


def test_a_repeated_score_is_written_once_and_does_not_stop_who_went_on(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(unhurried)
    job = campaign.next_job()
    assert job is not None
    for epoch in (1, 2, 1, 2, 3):  # the worker died after epoch 2
        assert campaign.report(job.id, fakes.score(job, epoch, accuracy=0.9))
    events = [event["score"]["epoch"] for event in campaign.run.journal.read() if event["event"] == "score"]
    assert events == [1, 2, 3]


def test_a_nan_fails_the_trial_with_its_reason(unhurried: SearchSpace, make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(unhurried)
    job = campaign.next_job()
    assert job is not None
    assert campaign.report(job.id, fakes.score(job, 1))
    assert not campaign.report(job.id, fakes.score(job, 2, accuracy=math.nan))
    record = reopened(campaign).records()[0]
    assert (record.state, record.accuracy) == (TrialState.FAILED, None)
    assert record.reason == "accuracy is nan in epoch 2"
    assert [score.epoch for score in record.scores] == [1]


def test_an_evaluate_that_returns_early_has_what_it_reached_or_failed(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(unhurried)
    one, two = campaign.next_job(), campaign.next_job()
    assert one is not None
    assert two is not None
    campaign.report(one.id, fakes.score(one, 1, accuracy=0.4))
    campaign.ended(one.id)
    campaign.ended(two.id)
    states = {record.id: (record.state, record.accuracy) for record in campaign.records}
    assert states == {one.id: (TrialState.COMPLETE, 0.4), two.id: (TrialState.FAILED, None)}


def test_five_failures_alike_end_the_search_and_different_ones_do_not(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(space)
    for number in range(5):
        job = campaign.next_job()
        assert job is not None
        campaign.fail(job.id, f"ValueError: number {number}")
    assert campaign.fault is None
    campaign.run.journal.release()


def test_five_failures_alike_name_their_reason(space: SearchSpace, make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(space)
    for _ in range(5):
        job = campaign.next_job()
        assert job is not None
        assert campaign.fault is None
        campaign.fail(job.id, "ValueError: no such\n  column", "Traceback ...")
    assert isinstance(campaign.fault, SearchFailedError)
    assert "ValueError: no such column" in str(campaign.fault)
    assert campaign.next_job() is None
    assert {record.reason for record in campaign.records} == {"ValueError: no such column"}


def test_an_exhausted_space_ends_early_and_says_so(make_campaign: MakeCampaign) -> None:
    space = parse_space(
        "name: few\ndescription: few\ngranularity: stage\nalphas: [0, 0.5]\nbackbones: [resnet18]\n"
        "target: {input_size: 32, width: 16, stem: small}\n"
        "proxy: {data: fashion-sample, width: 16, epochs: 1}\n"
    )
    size = space.feasible(0.03).size
    campaign = make_campaign(space, budget=0.03, trials=50)
    drive(campaign)
    members = [record for record in campaign.records if space.contains(record.architecture)]
    assert sum(record.within_budget for record in members) == size
    assert campaign.exhausted
    assert "space exhausted" in campaign.ending
    yardsticks = sum(record.yardstick is not None for record in campaign.records)
    assert 3 * yardsticks <= len(campaign.records)


def test_a_budget_at_exactly_the_smallest_cost_trains_the_one_member_that_fits(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(space, budget=space.min_gflops, trials=5)
    drive(campaign)
    inside = [record for record in campaign.records if record.within_budget]
    assert [(record.architecture, record.state) for record in inside] == [
        (space.smallest(), TrialState.COMPLETE)
    ]
    assert inside[0].gflops == space.min_gflops
    assert campaign.exhausted


def test_a_small_space_is_trained_to_the_end_rather_than_left_at_its_rungs(
    make_campaign: MakeCampaign,
) -> None:
    space = parse_space(
        "name: few\ndescription: few\ngranularity: stage\nalphas: [0, 0.5]\nbackbones: [resnet18]\n"
        "target: {input_size: 32, width: 16, stem: small}\n"
        "proxy: {data: fashion-sample, width: 16, epochs: 4, rungs: {eta: 2, min_epochs: 1}}\n"
    )
    campaign = make_campaign(space, budget=0.03, trials=50)
    jobs = drive(campaign)
    assert campaign.exhausted
    assert {record.state for record in campaign.records} == {TrialState.COMPLETE}
    assert any(job.scored for job in jobs)


def test_after_the_time_limit_nothing_starts_and_what_runs_is_stopped_unless_nearly_done(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    clock = Clock()
    limit = TimeLimit.after(10, start=0.0)
    assert (limit.deadline, limit.grace) == (600.0, 30.0)
    campaign = make_campaign(unhurried, limit=limit, clock=clock)
    early, late = campaign.next_job(), campaign.next_job()
    assert early is not None
    assert late is not None

    def report(job: TrialJob, epoch: int) -> bool:
        score = fakes.score(job, epoch, accuracy=0.5 + epoch / 100)
        return campaign.report(job.id, with_seconds(score, 10.0))

    assert all(report(early, epoch) for epoch in range(1, 7))
    clock.now = 601.0
    assert report(early, 7)  # two epochs of 10 s are left, within the grace
    assert not report(late, 2)  # seven of 5 s are left
    assert campaign.next_job() is None
    assert report(early, 8)
    assert not report(early, 9)
    states = [(record.state, record.reason) for record in campaign.records]
    assert states == [(TrialState.COMPLETE, None), (TrialState.STOPPED, TIME_LIMIT)]
    assert campaign.ending == TIME_LIMIT
    assert not campaign.overdue
    clock.now = 631.0
    assert campaign.overdue


def test_statistics_are_the_share_of_the_workers_time_in_training_steps(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    clock = Clock()
    campaign = make_campaign(unhurried, clock=clock)
    clock.now = 100.0
    job = campaign.next_job()
    assert job is not None
    for epoch in range(1, 10):
        clock.now += 0.02
        campaign.report(job.id, fakes.score(job, epoch, accuracy=0.9))
    statistics = campaign.statistics()
    assert statistics == {"train_seconds": 0.09, "phase_seconds": 0.18, "workers": 1, "busy_share": 0.5}


def test_listeners_hear_what_happens_in_order(space: SearchSpace, make_campaign: MakeCampaign) -> None:
    events: list[SearchEvent] = []
    campaign = make_campaign(space, trials=2, listeners=(events.append,))
    drive(campaign)
    assert [event.finished for event in events if event.kind == "finished"] == [1, 2, 3]
    assert {event.planned for event in events} == {3}
    best: TrialRecord | None = events[-1].best
    accuracies = [r.accuracy for r in campaign.records if r.yardstick is None and r.accuracy is not None]
    assert best is not None
    assert best.accuracy == max(accuracies)
    assert events[0].kind == "started"
    assert [each.id for each in events[0].running] == ["1"]


def test_a_second_search_under_a_name_is_refused(space: SearchSpace, make_campaign: MakeCampaign) -> None:
    make_campaign(space)
    with pytest.raises(RunError, match="run named 'run' exists"):
        make_campaign(space)
