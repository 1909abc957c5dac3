"""The simulated backend: time that jumps, failures, and the same records for the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import fakes
import pytest

from octnas.engine.campaign import Campaign
from octnas.engine.evaluate import TrialJob
from octnas.engine.events import SearchEvent
from octnas.engine.limits import TIME_LIMIT, TimeLimit
from octnas.engine.simulated import SimulatedClock, simulate
from octnas.errors import SearchFailedError
from octnas.record import EpochScore, TrialState
from octnas.space import SearchSpace

MakeCampaign = Callable[..., Campaign]


def scores(job: TrialJob) -> Iterator[EpochScore]:
    """A second an epoch, from the one after those that are scored already."""
    for epoch in range(job.scored + 1, job.epochs + 1):
        yield replace(fakes.score(job, epoch), seconds=1.0, train_seconds=0.75)


class Log:
    """When each job began and when each of its epochs was scored."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.events: list[tuple[str, str, float]] = []

    def __call__(self, event: SearchEvent) -> None:
        if event.trial is not None:
            self.events.append((event.kind, event.trial.id, self.clock.passed))


def test_a_search_of_a_tiny_space_ends_with_every_trial_final(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    clock = SimulatedClock()
    campaign = make_campaign(space, trials=12, clock=clock)
    epochs: dict[str, list[int]] = {}

    def recorded(job: TrialJob) -> Iterator[EpochScore]:
        for score in scores(job):
            epochs.setdefault(job.id, []).append(score.epoch)
            yield score

    simulate(campaign, scores=recorded, clock=clock)
    records = campaign.records
    assert all(record.state.final for record in records)
    assert sum(record.yardstick is None for record in records) == 12
    assert not campaign.has_work
    assert campaign.running == ()
    # A trial that was paused and went on did no epoch twice; one worker did them all, a second each.
    assert {each: len(done) for each, done in epochs.items()} == {each.id: each.epochs for each in records}
    assert all(done == list(range(1, len(done) + 1)) for done in epochs.values())
    assert clock() == sum(record.epochs for record in records)
    assert any(record.state is TrialState.STOPPED for record in records)
    assert campaign.run.records() == list(records)


def test_two_workers_overlap_in_simulated_time(space: SearchSpace, make_campaign: MakeCampaign) -> None:
    clock = SimulatedClock(start=100.0)
    log = Log(clock)
    campaign = make_campaign(space, trials=4, clock=clock, listeners=(log,))
    spans: dict[str, float] = {"1": 1.0, "2": 1.5}

    def paced(job: TrialJob) -> Iterator[EpochScore]:
        for score in scores(job):
            yield replace(score, seconds=spans.get(job.id, 1.0))

    simulate(campaign, scores=paced, workers=2, clock=clock)
    begun = [(each, when) for kind, each, when in log.events if kind == "started"]
    assert begun[:2] == [("1", 0.0), ("2", 0.0)]
    first = [(each, when) for kind, each, when in log.events if kind in ("score", "finished")]
    assert first[:2] == [("1", 1.0), ("2", 1.5)]
    total = sum(record.epochs * spans.get(record.id, 1.0) for record in campaign.records)
    assert total / 2 <= clock.passed < total
    assert clock() == 100.0 + clock.passed


def test_a_failing_iterator_fails_its_trial_with_its_reason(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    def every_third(job: TrialJob) -> Iterator[EpochScore]:
        for score in scores(job):
            if int(job.id) % 3 == 0 and score.epoch == 2:
                raise ValueError(f"trial {job.id}\nis a multiple of three")
            yield score

    clock = SimulatedClock()
    campaign = make_campaign(space, trials=12, clock=clock)
    simulate(campaign, scores=every_third, workers=2, clock=clock)
    failed = [record for record in campaign.records if record.state is TrialState.FAILED]
    assert failed
    assert all(int(record.id) % 3 == 0 and record.epochs == 1 for record in failed)
    assert failed[0].reason == f"ValueError: trial {failed[0].id} is a multiple of three"
    tracebacks = [event for event in campaign.run.journal.read() if event["event"] == "traceback"]
    assert [event["id"] for event in tracebacks] == [record.id for record in failed]
    assert "multiple of three" in tracebacks[0]["text"]
    assert {record.state for record in campaign.records} >= {TrialState.COMPLETE, TrialState.FAILED}
    assert all(record.state.final for record in campaign.records)


def test_a_score_that_is_not_a_number_fails_its_trial(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    def some_nan(job: TrialJob) -> Iterator[EpochScore]:
        for score in scores(job):
            yield replace(score, accuracy=math.nan) if job.id == "2" else score
            assert job.id != "2", "a failed trial is not asked for another score"

    clock = SimulatedClock()
    campaign = make_campaign(space, trials=6, clock=clock)
    simulate(campaign, scores=some_nan, clock=clock)
    second = campaign.run.record("2")
    assert (second.state, second.reason) == (TrialState.FAILED, "accuracy is nan in epoch 1")
    assert second.accuracy is None


def test_a_score_without_a_duration_arrives_at_once(space: SearchSpace, make_campaign: MakeCampaign) -> None:
    def odd(job: TrialJob) -> Iterator[EpochScore]:
        for score in scores(job):
            yield replace(score, seconds={"1": math.inf, "2": -5.0}.get(job.id, 1.0))

    clock = SimulatedClock()
    campaign = make_campaign(space, trials=4, clock=clock)
    simulate(campaign, scores=odd, clock=clock)
    first, *others = campaign.records
    assert (first.state, first.reason) == (TrialState.FAILED, "seconds is inf in epoch 1")
    assert clock.passed == sum(record.epochs for record in others if record.id != "2")


def test_scores_that_end_early_end_the_trial_with_what_it_has(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    def short(job: TrialJob) -> Iterator[EpochScore]:
        for score in scores(job):
            if score.epoch > {"1": 5, "2": 0}.get(job.id, 9):
                return
            yield score

    clock = SimulatedClock()
    campaign = make_campaign(space, trials=4, clock=clock)
    simulate(campaign, scores=short, clock=clock)
    records = {record.id: record for record in campaign.records}
    assert (records["2"].state, records["2"].reason) == (
        TrialState.FAILED,
        "the training ended without a score",
    )
    assert records["1"].epochs <= 5
    assert all(record.state.final for record in records.values())


def test_a_clock_that_is_set_back_in_the_middle_changes_nothing(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    def run(step: float) -> tuple[object, ...]:
        clock = SimulatedClock(start=1e6)
        campaign = make_campaign(space, trials=8, clock=clock)

        def stepped(job: TrialJob) -> Iterator[EpochScore]:
            for score in scores(job):
                if (job.id, score.epoch) == ("3", 1):
                    clock.set_by(step)
                yield score

        simulate(campaign, scores=stepped, workers=2, clock=clock)
        assert clock() == 1e6 + step + clock.passed
        campaign.run.journal.release()
        campaign.run.delete(campaign.run.name)
        return (campaign.records, clock.passed)

    assert run(-9e5) == run(0.0)


def test_the_same_seed_gives_the_same_records(space: SearchSpace, make_campaign: MakeCampaign) -> None:
    def run(seed: int) -> tuple[object, ...]:
        clock = SimulatedClock()
        campaign = make_campaign(space, trials=10, seed=seed, clock=clock)
        simulate(campaign, scores=scores, workers=3, clock=clock)
        campaign.run.journal.release()
        campaign.run.delete(campaign.run.name)
        return campaign.records

    assert run(4) == run(4)
    assert run(4) != run(5)


def test_what_runs_when_the_time_is_over_ends_as_stopped(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    clock = SimulatedClock()
    limit = TimeLimit(deadline=20.0, grace=2.0)
    campaign = make_campaign(space, trials=50, clock=clock, limit=limit)

    def ever_slower(job: TrialJob) -> Iterator[EpochScore]:
        for score in scores(job):
            yield replace(score, seconds=1.0 if clock.passed < 15 else 100.0)

    simulate(campaign, scores=ever_slower, workers=2, clock=clock)
    reasons = {record.reason for record in campaign.records if record.state is TrialState.STOPPED}
    assert TIME_LIMIT in reasons
    assert all(record.state.final for record in campaign.records)
    assert campaign.ending == TIME_LIMIT
    assert len(campaign.records) < 50


def test_an_interrupted_search_leaves_what_runs_unfinished(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    clock = SimulatedClock()
    campaign = make_campaign(space, trials=12, clock=clock)

    def until_eight(job: TrialJob) -> Iterator[EpochScore]:
        for score in scores(job):
            yield score
            if clock.passed >= 8:
                campaign.interrupt()
                return

    simulate(campaign, scores=until_eight, workers=2, clock=clock)
    assert clock.passed == 8
    assert campaign.halted
    assert any(record.state is TrialState.RUNNING for record in campaign.records)
    assert not any(record.state is TrialState.FAILED for record in campaign.records)


def test_a_search_whose_trials_all_fail_alike_gives_up(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    def never(job: TrialJob) -> Iterator[EpochScore]:
        raise RuntimeError("no training today")

    clock = SimulatedClock()
    campaign = make_campaign(space, trials=12, clock=clock)
    with pytest.raises(SearchFailedError, match="no training today"):
        simulate(campaign, scores=never, workers=2, clock=clock)
    assert 5 <= len(campaign.records) < 12
    assert all(record.state.final for record in campaign.records)


def test_a_simulation_has_a_worker(space: SearchSpace, make_campaign: MakeCampaign) -> None:
    clock = SimulatedClock()
    with pytest.raises(ValueError, match="`workers` must be 1 or more, but got 0"):
        simulate(make_campaign(space, clock=clock), scores=scores, workers=0, clock=clock)
