"""The trainings that confirm a claim: what is trained again, with which seeds, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

import fakes
from campaign_case import Clock, MakeCampaign, drive, reopened, with_seconds

from octnas.engine.evaluate import Report, TrialJob
from octnas.engine.events import SearchEvent
from octnas.engine.limits import TimeLimit
from octnas.front import choose_to_confirm
from octnas.front.spans import spans
from octnas.record import RunFolder, TrialState
from octnas.space import SearchSpace


def test_the_winner_and_its_yardstick_are_trained_again_with_the_same_fresh_seeds(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(unhurried, trials=6, confirm=3)
    jobs = drive(campaign)
    confirming = [job for job in jobs if job.test]
    assert jobs[-len(confirming) :] == confirming
    chosen = choose_to_confirm(campaign.records, 0.04)
    assert 2 <= len(chosen) <= 3
    seeds = (1000, 1001, 1002)
    assert [(job.id, job.seed) for job in confirming] == [
        (f"{trial_id}.seed{seed}", seed) for seed in seeds for trial_id in sorted(chosen, key=int)
    ]
    for record in reopened(campaign).records():
        assert record.confirm_seeds == (seeds if record.id in chosen else ())
        job = next((each for each in confirming if each.architecture == record.architecture), None)
        if job is not None:
            expected = tuple(fakes.score(replace(job, seed=seed), 9).accuracy for seed in seeds)
            assert record.accuracy_seeds == expected
            assert record.test_accuracy_seeds == tuple(each - 0.01 for each in expected)
            assert record.accuracy not in expected
    assert not campaign.has_work


def test_a_second_life_confirms_what_the_first_had_not(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(unhurried, trials=6, confirm=2)
    whole = [job.id for job in drive(campaign) if job.test]
    campaign.run.journal.release()
    RunFolder.delete("run")

    campaign = make_campaign(unhurried, trials=6, confirm=2)
    trials = len(campaign.run.header.yardsticks) + 6
    first = drive(campaign, jobs=trials + 1)
    orphan = campaign.next_job()
    assert orphan is not None
    again = make_campaign(unhurried, run=reopened(campaign))
    assert again.has_work
    second = drive(again)
    assert [first[-1].id, *(job.id for job in second)] == whole
    assert second[0].id == orphan.id


def test_a_confirmation_that_fails_is_told_and_takes_nothing_from_the_trial(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    events: list[SearchEvent] = []
    campaign = make_campaign(unhurried, trials=6, confirm=1, listeners=(events.append,))
    while (job := campaign.next_job()) is not None:
        if job.test:
            campaign.fail(job.id, "ValueError: no luck")
        else:
            fakes.instant(job, None, lambda score, job=job: campaign.report(job.id, score))  # type: ignore[misc]
    assert {record.state for record in campaign.records} == {TrialState.COMPLETE}
    assert all(record.confirm_seeds == () for record in campaign.records)
    notes = [event.text for event in events if event.kind == "note"]
    assert any("could not be confirmed: ValueError: no luck" in text for text in notes)
    journal = campaign.run.journal.read()
    begun = [(each["id"], each["seed"]) for each in journal if each["event"] == "confirming"]
    ended = [each for each in journal if each["event"] == "unconfirmed"]
    assert [(each["id"], each["seed"]) for each in ended] == begun
    assert {each["reason"] for each in ended} == {"ValueError: no luck"}
    assert [(each.trial_id, each.ending) for each in spans(journal) if each.confirming] == [
        (trial_id, "failed") for trial_id, _ in begun
    ]


def test_the_journal_tells_who_confirmed_what_from_when(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(unhurried, trials=6, confirm=1)

    def told(job: TrialJob, data: object, report: Report) -> None:
        fakes.instant(job, data, lambda score: report(replace(score, worker=f"node/{job.seed}")))

    confirming = [job for job in drive(campaign, evaluate=told) if job.test]
    found = [each for each in spans(campaign.run.journal.events()) if each.confirming]
    assert [(f"{each.trial_id}.seed1000", each.worker, each.ending) for each in found] == [
        (job.id, "node/1000", "complete") for job in confirming
    ]
    known = [record for record in campaign.run.journal.records() if record.confirm_seeds]
    assert len(known) == len(confirming) >= 2


def test_under_a_time_limit_there_is_time_to_confirm(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    clock = Clock()
    campaign = make_campaign(
        unhurried, trials=500, confirm=3, clock=clock, limit=TimeLimit.after(10, start=0.0)
    )
    jobs = []
    while (job := campaign.next_job()) is not None:
        jobs.append(job)
        for epoch in range(1, 10):
            clock.now += 1.0
            campaign.report(job.id, with_seconds(fakes.score(job, epoch), 1.0))
    assert clock.now <= 600
    assert {seed for record in campaign.records for seed in record.confirm_seeds} == {1000, 1001, 1002}
    assert len(jobs) >= 60
    assert all(record.state is TrialState.COMPLETE for record in campaign.records)
