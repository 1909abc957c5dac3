"""Supernets and shared scores without any worker: what is trained, dropped, scored, and after a death."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes_shared
import pytest
from campaign_case import Clock
from shared_case import BUDGET, campaign_of, drive, new_run

from octnas.architecture import Architecture
from octnas.engine.events import SearchEvent
from octnas.engine.limits import TimeLimit
from octnas.engine.shared_jobs import BATCH, PaceJob, ScoringJob, SharedJob, SupernetJob
from octnas.errors import SearchFailedError
from octnas.record import EpochScore, Journal, RunFolder, list_runs, shared_scores, supernets
from octnas.space import SearchSpace


@pytest.fixture(autouse=True)
def _home(runs_home: Path) -> None:
    """Runs of its own."""


def ended(run: RunFolder) -> dict[str, tuple[str, str | None]]:
    return {each.backbone: (each.state, each.reason) for each in supernets(run.journal.read())}


def test_every_backbone_is_trained_and_as_many_members_scored_as_were_asked_for(space: SearchSpace) -> None:
    run = new_run(space)
    campaign = campaign_of(run, space)
    jobs = drive(campaign)
    parts = [(job.backbone, job.scored, job.until) for job in jobs if isinstance(job, SupernetJob)]
    # The dearest first; a third of each, then the rest.
    assert parts == [("resnet26", 0, 6), ("resnet18", 0, 6), ("resnet26", 6, 18), ("resnet18", 6, 18)]
    assert ended(run) == {"resnet26": ("complete", None), "resnet18": ("complete", None)}
    scores = shared_scores(run.journal.read())
    feasible = space.feasible(BUDGET)
    assert len({each.architecture.digest for each in scores}) == len(scores) == 60
    assert all(feasible.contains(each.architecture) for each in scores)
    assert all(
        each.accuracy == fakes_shared.accuracy_of(space.proxy_architecture(each.architecture))
        for each in scores
    )
    batches = [job for job in jobs if isinstance(job, ScoringJob)]
    assert all(len(job.architectures) <= BATCH for job in batches)
    assert all({each.backbone for each in job.targets} == {job.backbone} for job in batches)
    assert all(job.initial == run.supernet(job.backbone) for job in batches)
    assert not campaign.has_work
    listed = list_runs()[0]
    assert (listed.supernets, listed.scored) == (2, 60)


def test_yardsticks_within_the_budget_are_scored_before_others_of_their_backbone(space: SearchSpace) -> None:
    run = new_run(space)
    drive(campaign_of(run, space))
    feasible = space.feasible(BUDGET)
    first: dict[str, str] = {}
    for each in shared_scores(run.journal.read()):
        first.setdefault(each.architecture.backbone, each.architecture.digest)
    members = {
        each.architecture.digest for each in run.header.yardsticks if feasible.within(each.architecture)
    }
    assert members
    assert set(first.values()) >= members


def test_the_sandwich_has_plain_cheapest_and_a_pool_within_the_budget(space: SearchSpace) -> None:
    job = campaign_of(new_run(space), space).next_job()
    assert isinstance(job, SupernetJob)
    assert set(job.plain.low_channels) == {0}
    assert (job.plain.downsample, job.plain.width) == ("pooled", space.proxy.width)
    targets = {arch.low_channels for arch in job.pool}
    assert len(targets) == len(job.pool) > 50
    assert all(space.macs(arch) <= BUDGET * 1e9 for arch in job.pool)  # here the proxy has the target's width
    members = space.members("resnet26")
    assert space.macs(job.cheapest) == members.graph.min_cost


def test_a_backbone_all_of_whose_probes_are_clearly_beaten_is_dropped_and_never_scored(
    space: SearchSpace,
) -> None:
    run = new_run(space)
    jobs = drive(campaign_of(run, space), lambda job: fakes_shared.values(job, {"resnet26": 0.2}))
    state, reason = ended(run)["resnet26"]
    assert state == "dropped"
    assert reason is not None
    assert reason.startswith("after epoch 6 of 18 each of its 12 probes is ")
    parts = [(job.backbone, job.until) for job in jobs if isinstance(job, SupernetJob)]
    assert parts == [("resnet26", 6), ("resnet18", 6), ("resnet18", 18)]
    scored = shared_scores(run.journal.read())
    assert {each.architecture.backbone for each in scored} == {"resnet18"}
    assert len(scored) == 60


@pytest.mark.parametrize("options", [{"fine_tune": 2}, {"score": 0}])
def test_nothing_is_dropped_where_weights_are_wanted_of_all(
    space: SearchSpace, options: dict[str, int]
) -> None:
    run = new_run(space, **options)
    jobs = drive(campaign_of(run, space), lambda job: fakes_shared.values(job, {"resnet26": 0.3}))
    assert {state for state, _ in ended(run).values()} == {"complete"}
    assert [job.until for job in jobs if isinstance(job, SupernetJob)] == [18, 18]
    assert all(not job.probes for job in jobs if isinstance(job, SupernetJob))
    assert bool(shared_scores(run.journal.read())) is ("score" not in options)


def test_one_backbone_alone_is_never_dropped(space: SearchSpace) -> None:
    alone = space.restricted(backbones=["resnet26"])
    run = new_run(alone, score=20)
    jobs = drive(campaign_of(run, alone), lambda job: fakes_shared.values(job, {"resnet26": 0.5}))
    assert ended(run) == {"resnet26": ("complete", None)}
    assert [job.until for job in jobs if isinstance(job, SupernetJob)] == [18]


def failing(*backbones: str, scores: bool = False) -> Any:
    def values(job: SharedJob) -> Iterator[EpochScore | list[Any]]:
        if isinstance(job, SupernetJob) and job.backbone in backbones:
            yield fakes_shared.score(1)
            raise ValueError(f"no {job.backbone}")
        if isinstance(job, ScoringJob) and scores:
            raise ValueError("no scores")
        yield from fakes_shared.values(job)

    return values


def test_a_supernet_that_fails_costs_its_backbone(space: SearchSpace) -> None:
    run = new_run(space, score=20)
    campaign = campaign_of(run, space)
    drive(campaign, failing("resnet26"))
    assert ended(run) == {"resnet26": ("failed", "no resnet26"), "resnet18": ("complete", None)}
    assert {each.architecture.backbone for each in campaign.scores} == {"resnet18"}
    assert len(campaign.scores) == 20


def test_where_all_supernets_fail_the_search_has_failed_in_one_line(space: SearchSpace) -> None:
    campaign = campaign_of(new_run(space), space)
    drive(campaign, failing("resnet18", "resnet26"))
    assert isinstance(campaign.fault, SearchFailedError)
    assert "no backbone has shared weights" in str(campaign.fault)
    assert "no resnet18" in str(campaign.fault)
    assert "\n" not in str(campaign.fault)
    assert campaign.next_job() is None


def test_a_loss_that_is_not_finite_fails_the_supernet(space: SearchSpace) -> None:
    campaign = campaign_of(new_run(space), space)
    job = campaign.next_job()
    assert isinstance(job, SupernetJob)
    assert not campaign.report(job.id, fakes_shared.score(1, accuracy=math.nan))
    assert campaign.supernets[0].reason == "accuracy is nan in epoch 1"


def test_batches_that_all_fail_end_the_search_and_a_few_do_not(space: SearchSpace) -> None:
    campaign = campaign_of(new_run(space), space)
    drive(campaign, failing(scores=True))
    assert isinstance(campaign.fault, SearchFailedError)
    assert "no architecture could be scored on shared weights, the last with: no scores" in str(
        campaign.fault
    )


def test_what_cannot_be_scored_is_counted_and_not_asked_for_again(space: SearchSpace) -> None:
    def values(job: SharedJob) -> Iterator[EpochScore | list[Any]]:
        if isinstance(job, ScoringJob) and job.id == "scores.2":
            yield [[None, "loss is nan"]] * len(job.architectures)
        else:
            yield from fakes_shared.values(job)

    run = new_run(space)
    jobs = drive(campaign_of(run, space), values)
    lost = next(job.targets for job in jobs if job.id == "scores.2")  # type: ignore[union-attr]
    lines = [each for each in run.journal.read() if each["event"] == "shared"]
    assert [each["reason"] for each in lines if each["accuracy"] is None] == ["loss is nan"] * len(lost)
    assert len(lines) == 60
    assert len(shared_scores(lines)) == 60 - len(lost)
    asked = [each.digest for job in jobs if isinstance(job, ScoringJob) for each in job.targets]
    assert len(set(asked)) == len(asked) == 60


# ---------------------------------------------------------------- the last fifth
class Foretold:
    """A predictor that ranks members by their cost."""

    tau, tau_interval, baseline, ranked = 0.6, (0.5, 0.7), 0.2, 9

    def __init__(self, architectures: list[Architecture], *, useful: bool) -> None:
        self.architectures, self.useful = architectures, useful

    def to_dict(self) -> dict[str, Any]:
        return {"tau": self.tau, "useful": self.useful}


@pytest.mark.parametrize("useful", [True, False])
def test_the_last_fifth_is_the_predictors_where_it_is_of_use(
    space: SearchSpace, monkeypatch: pytest.MonkeyPatch, useful: bool
) -> None:
    import octnas.engine.predictor as predicting

    told: list[tuple[int, int]] = []
    chosen: list[Architecture] = []

    def predicted_best(scored: list[Any], feasible: Any, *, count: int, rng: Any) -> Foretold:
        known = {each.architecture.digest for each in scored}
        rest = (each for each in feasible.walk("resnet18", rng) if each.digest not in known)
        chosen.extend(next(rest) for _ in range(count))
        told.append((len(scored), count))
        return Foretold(chosen, useful=useful)

    monkeypatch.setattr(predicting, "predicted_best", predicted_best)
    monkeypatch.setattr(predicting, "Prediction", Foretold)
    run = new_run(space)
    drive(campaign_of(run, space))
    events = run.journal.read()
    scored = [each.architecture.digest for each in shared_scores(events)]
    assert told == [(48, 12)]
    assert len(set(scored)) == len(scored) == 60
    assert ({each.digest for each in chosen} == set(scored[48:])) is useful
    told_at = [each["event"] for each in events].index("predictor")
    assert sum(each["event"] == "shared" for each in events[:told_at]) == 48


# ---------------------------------------------------------------- time
def test_with_a_time_limit_supernets_are_timed_first_and_shortened_to_fit(space: SearchSpace) -> None:
    clock = Clock()
    limit = TimeLimit(deadline=100.0, grace=5.0)
    run = new_run(space)
    campaign = campaign_of(run, space, limit=limit, clock=clock)
    first, second = campaign.next_job(), campaign.next_job()
    assert isinstance(first, PaceJob)
    assert isinstance(second, PaceJob)
    assert campaign.next_job() is None
    for job in (first, second):
        assert not campaign.report(job.id, fakes_shared.PACE)
    # 85 s for all; 60 scores of .5 s on 2 workers take 15 s of them. Two trainings of 2 x 30 s on two workers
    # take 60 + 30 s, at most.
    job = campaign.next_job()
    assert isinstance(job, SupernetJob)
    assert job.length == pytest.approx(2 * 70 / 90)
    assert json.loads(run.journal.path.read_text().splitlines()[-1])["length"] == job.length
    # A second life keeps to it.
    run.journal.release()
    again = RunFolder.open("run")
    job = campaign_of(again, space, limit=limit, clock=clock).next_job()
    assert isinstance(job, SupernetJob)
    assert job.length == pytest.approx(2 * 70 / 90)


def test_after_most_of_the_time_supernets_end_as_they_are_and_their_weights_are_used(
    space: SearchSpace,
) -> None:
    clock = Clock()
    run = new_run(space)
    campaign = campaign_of(run, space, limit=TimeLimit(deadline=100.0, grace=5.0), clock=clock, workers=1)

    def values(job: SharedJob) -> Iterator[EpochScore | list[Any]]:
        for value in fakes_shared.values(job):
            if isinstance(job, SupernetJob):
                clock.now += 10.0
            yield value

    drive(campaign, values)
    # A third of each, three epochs, and the probes take 80 s; the next epoch ends at 90 s, after 85.
    assert ended(run) == {
        "resnet26": ("complete", "time limit after epoch 4 of 10"),
        "resnet18": ("complete", "time limit after epoch 3 of 10"),
    }
    assert len(campaign.scores) == 60
    clock.now = 106.0
    assert campaign.overdue
    assert not campaign.has_work


def test_a_supernet_without_weights_at_the_deadline_is_dropped(space: SearchSpace) -> None:
    clock = Clock()
    run = new_run(space)
    campaign = campaign_of(run, space, limit=TimeLimit(deadline=100.0, grace=5.0), clock=clock)
    for _ in range(2):
        job = campaign.next_job()
        assert job is not None
        campaign.report(job.id, fakes_shared.PACE)
    assert isinstance(campaign.next_job(), SupernetJob)
    clock.now = 120.0
    assert campaign.overdue
    campaign.stop_running("time limit")
    campaign.close()
    assert ended(run) == {"resnet26": ("dropped", "time limit"), "resnet18": ("dropped", "time limit")}
    assert campaign.fault is None
    assert not campaign.has_work


# ---------------------------------------------------------------- death
class Killed(BaseException):
    """What nothing catches, as nothing catches SIGKILL."""


class Deadly:
    """A journal's `append` that dies at the `at`-th line, before it or right after it."""

    def __init__(self, at: int, how: str) -> None:
        self.at, self.how, self.lines = at, how, 0
        self.append = Journal.append

    @property
    def died(self) -> bool:
        return self.lines >= self.at

    def __call__(self, journal: Journal, event: dict[str, Any]) -> None:
        self.lines += 1
        if self.lines < self.at or self.how == "after":
            self.append(journal, event)
        if self.lines == self.at:
            raise Killed


@pytest.mark.parametrize(("how", "first"), [("before", 1), ("after", 2)])
def test_death_at_any_line_trains_no_epoch_and_scores_nothing_twice(
    how: str, first: int, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(first, 1000, 2):
        run = new_run(space, score=10)
        with monkeypatch.context() as patched:
            deadly = Deadly(at, how)
            patched.setattr(Journal, "append", lambda journal, event, deadly=deadly: deadly(journal, event))
            with contextlib.suppress(Killed):
                drive(campaign_of(run, space))
        run.journal.release()
        before = shared_scores(RunFolder.open("run").journal.read())
        again = RunFolder.open("run")
        jobs = drive(campaign_of(again, space))
        events = again.journal.read()
        trained = [(e["backbone"], e["score"]["epoch"]) for e in events if e["event"] == "supernet"]
        assert len(set(trained)) == len(trained) == 36, f"killed {how} line {at}"
        assert [each["event"] for each in events].count("supernet-end") == 2
        scored = [each.architecture.digest for each in shared_scores(events)]
        assert sum(each["event"] == "shared" for each in events) == len(set(scored)) == 10
        asked = {each.digest for job in jobs if isinstance(job, ScoringJob) for each in job.targets}
        assert not asked & {each.architecture.digest for each in before}
        again.journal.release()
        RunFolder.delete("run")
        if not deadly.died:
            break
    assert at > 45


def test_listeners_hear_of_epochs_ends_and_scores(space: SearchSpace) -> None:
    heard: list[SearchEvent] = []
    drive(campaign_of(new_run(space), space, listeners=(heard.append,)))
    told = [event for event in heard if event.kind == "supernet"]
    assert len(told) == 2 * 18
    assert [event.supernet.state for event in told if event.supernet].count("complete") == 2
    halfway = next(event for event in told if event.shared and event.shared.trained == 18)
    assert (halfway.planned, halfway.finished, halfway.epochs) == (36, 18, 18)
    scored = [event.shared.scored for event in heard if event.kind == "scored" and event.shared]
    assert scored == sorted(scored)
    assert scored[-1] == 60
    last = [event for event in heard if event.kind == "scored"][-1]
    assert (last.planned, last.finished) == (60, 60)
