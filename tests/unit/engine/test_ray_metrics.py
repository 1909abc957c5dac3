"""What a search exports as metrics, from its events; Ray's own objects are replaced by ones that keep it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import fakes
import pytest
from campaign_case import Clock, MakeCampaign, drive

from octnas.engine import ray_metrics
from octnas.engine.campaign import PULSE_SECONDS
from octnas.engine.events import SearchEvent, note_early
from octnas.engine.ray_metrics import METRICS, SearchMetrics
from octnas.record import TrialState
from octnas.space import SearchSpace


class Kept:
    """A gauge or a histogram: what it was told, by its labels."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], float]] = []

    def set(self, value: float, tags: dict[str, str]) -> None:
        self.told.append((tags, value))

    observe = set

    def of(self, **labels: str) -> float:
        return [value for tags, value in self.told if tags == {"search": "run", **labels}][-1]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Kept]:
    made = {each.name: Kept() for each in METRICS}
    monkeypatch.setattr(ray_metrics, "_made", lambda: made)
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    return made


def states(kept: dict[str, Kept]) -> dict[str, float]:
    return {str(state): kept["octnas_trials"].of(state=str(state)) for state in TrialState}


def test_the_numbers_of_a_whole_search(
    space: SearchSpace, make_campaign: MakeCampaign, kept: dict[str, Kept]
) -> None:
    events: list[SearchEvent] = []
    metrics = SearchMetrics("run")
    campaign = make_campaign(space, trials=12, confirm=1, listeners=(events.append, metrics))
    drive(campaign, jobs=8)
    known = {str(state): sum(each.state is state for each in campaign.records) for state in TrialState}
    assert states(kept) == known
    assert known["paused"] > 0

    drive(campaign)
    campaign.close()
    known = {str(state): sum(each.state is state for each in campaign.records) for state in TrialState}
    assert states(kept) == known
    assert known["complete"] > 0
    assert known["stopped"] > 0
    assert known["running"] == known["paused"] == 0
    assert sum(known.values()) == kept["octnas_trials_planned"].of()

    last = events[-1]
    assert last.best is not None
    assert last.so_far is not None
    assert kept["octnas_best_accuracy"].of() == last.best.accuracy
    assert kept["octnas_front_size"].of() == last.front > 0
    assert 0 < kept["octnas_hypervolume"].of() == last.so_far.hypervolume < 1
    assert kept["octnas_workers"].of() == 1
    # one time for each candidate; yardsticks are no proposals, and nothing is told twice
    seconds = [value for _, value in kept["octnas_suggestion_seconds"].told]
    assert len(seconds) == 12
    assert all(0 < each < 60 for each in seconds)


def test_images_and_idle_workers_while_trials_run(
    unhurried: SearchSpace, make_campaign: MakeCampaign, kept: dict[str, Kept]
) -> None:
    clock = Clock()
    campaign = make_campaign(unhurried, trials=4, clock=clock, listeners=(SearchMetrics("run"),))
    campaign.workers = 2
    first, second = campaign.next_job(), campaign.next_job()
    assert first is not None
    assert second is not None
    assert kept["octnas_worker_idle_ratio"].told == []  # nothing is known yet
    for epoch in range(1, 9):
        clock.now += 0.02
        campaign.report(first.id, fakes.score(first, epoch))
    assert kept["octnas_images_per_second"].of() == 100.0
    # of 2 workers one reports 0.01 s of training steps in each 0.02 s
    assert kept["octnas_worker_idle_ratio"].of() == pytest.approx(0.75)
    campaign.report(second.id, fakes.score(second, 1))
    assert kept["octnas_images_per_second"].of() == 200.0
    assert states(kept)["running"] == 2
    campaign.report(first.id, fakes.score(first, 9))
    assert kept["octnas_images_per_second"].of() == 100.0
    assert kept["octnas_seconds_left"].of() > 0


def test_workers_that_hang_are_seen_to_be_idle(
    unhurried: SearchSpace, make_campaign: MakeCampaign, kept: dict[str, Kept]
) -> None:
    clock = Clock()
    campaign = make_campaign(unhurried, trials=4, clock=clock, listeners=(SearchMetrics("run"),))
    job = campaign.next_job()
    assert job is not None
    clock.now = 0.02
    campaign.report(job.id, fakes.score(job, 1))
    told = len(kept["octnas_workers"].told)
    clock.now += PULSE_SECONDS / 2
    campaign.pulse()
    assert len(kept["octnas_workers"].told) == told  # something was told just now
    for _ in range(100):  # no score comes any more
        clock.now += PULSE_SECONDS
        campaign.pulse()
        campaign.pulse()
    assert len(kept["octnas_workers"].told) == told + 100
    assert kept["octnas_worker_idle_ratio"].of() == 1.0


def test_a_search_that_goes_on_counts_what_it_finds(
    space: SearchSpace, make_campaign: MakeCampaign, kept: dict[str, Kept]
) -> None:
    campaign = make_campaign(space, trials=12)
    drive(campaign, jobs=8)
    again = make_campaign(space, run=campaign.run, listeners=(SearchMetrics("run"),))
    again.note("training")
    assert states(kept) == {
        str(state): sum(each.state is state for each in campaign.records) for state in TrialState
    }


def test_when_it_is_over_nothing_runs_any_more(
    unhurried: SearchSpace, make_campaign: MakeCampaign, kept: dict[str, Kept]
) -> None:
    metrics = SearchMetrics("run")
    campaign = make_campaign(unhurried, trials=4, listeners=(metrics,))
    job = campaign.next_job()
    assert job is not None
    campaign.report(job.id, fakes.score(job, 1))
    assert states(kept)["running"] == 1
    metrics.close()  # by Ctrl-C, in the middle
    campaign.note("MLflow: a link")
    assert states(kept)["running"] == 0
    for name in ("workers", "images_per_second", "seconds_left"):
        assert kept[f"octnas_{name}"].of() == 0
    assert math.isnan(kept["octnas_worker_idle_ratio"].of())


def test_what_comes_before_the_trials_is_no_trial(kept: dict[str, Kept]) -> None:
    metrics = SearchMetrics("run")
    note_early(metrics, "run", 30, "search run", "begin")
    metrics.close()
    assert all(each.told == [] for each in kept.values())


def test_without_a_ray_nothing_is_asked_of_it(
    space: SearchSpace, make_campaign: MakeCampaign, kept: dict[str, Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    metrics = SearchMetrics("run")
    drive(make_campaign(space, trials=4, listeners=(metrics,)))
    metrics.close()
    assert all(each.told == [] for each in kept.values())


def test_metrics_that_fail_harm_no_search(
    space: SearchSpace, make_campaign: MakeCampaign, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    calls = []

    def broken() -> dict[str, Any]:
        calls.append(1)
        raise RuntimeError("no metrics today")

    monkeypatch.setattr(ray_metrics, "_made", broken)
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    metrics = SearchMetrics("run")
    campaign = make_campaign(space, trials=4, listeners=(metrics,))
    drive(campaign)
    metrics.close()
    assert all(each.state.final for each in campaign.records)
    assert len(calls) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("each", METRICS, ids=lambda each: str(each.name))
def test_every_metric_is_made_as_it_is_listed(each: ray_metrics.Metric) -> None:
    made: dict[str, Any] = ray_metrics._made()
    info = made[each.name].info
    assert (info["name"], info["description"], info["tag_keys"]) == (each.name, each.description, each.labels)
    assert type(made[each.name]).__name__.lower() == each.kind
    told: Callable[..., None] = made[each.name].set if each.kind == "gauge" else made[each.name].observe
    told(1.0, tags=dict.fromkeys(each.labels, "x"))  # Ray refuses labels that it does not know
