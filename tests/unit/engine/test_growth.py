"""What an answer takes does not grow with the number of trials; beyond the caps `resume` is exact too."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import fakes
import optuna
import pytest
from campaign_case import reopened
from test_optuna_adapter import architectures, drive, next_three, proposer_of

import octnas.engine.rungs
from octnas.engine import events, moments, surrogate
from octnas.engine.campaign import Campaign
from octnas.engine.evaluate import TrialJob
from octnas.engine.optuna_adapter import Proposer
from octnas.engine.optuna_storage import PartStorage
from octnas.engine.run_search import new_campaign
from octnas.engine.rungs import Rungs
from octnas.engine.simulated import SimulatedClock, simulate
from octnas.record import EpochScore, TrialState
from octnas.space import SearchSpace, parse_space

MakeCampaign = Callable[..., Campaign]
LAYERS = (
    "name: layers\ndescription: many members\ngranularity: layer\nalphas: [0, 0.25, 0.5, 0.75]\n"
    "backbones: [resnet18, resnet26]\ndownsample: [pooled]\n"
    "target: {input_size: 32, width: 16, stem: small}\n"
    "proxy: {data: fashion-sample, width: 16, epochs: 8, rungs: {eta: 2, min_epochs: 1}}\n"
)


def scores(job: TrialJob) -> Iterator[EpochScore]:
    for epoch in range(job.scored + 1, job.epochs + 1):
        yield fakes.score(job, epoch)


def cut_after(count: int, campaign: Campaign) -> Callable[[TrialJob], Iterator[EpochScore]]:
    """The same, but the campaign is interrupted after so many scores in all."""
    left = iter(range(count))

    def cut(job: TrialJob) -> Iterator[EpochScore]:
        for score in scores(job):
            if next(left, None) is None:
                campaign.interrupt()
            yield score

    return cut


@pytest.fixture
def small_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Caps that a search of some tens of trials goes beyond."""
    for function, name, value in (
        (Proposer.__init__, "rows", 12),
        (Proposer.__init__, "shown", 16),
        (Rungs.__init__, "window", 10),
    ):
        assert function.__kwdefaults__ is not None
        monkeypatch.setitem(function.__kwdefaults__, name, value)


# ---------------------------------------------------------------- as many steps at any number
def test_a_suggestion_takes_as_many_rows_at_any_number_of_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    space, counted = parse_space(LAYERS), {"rows": 0, "sums": 0}
    features, add = surrogate._Terms.features, moments.Moments.add

    def one_row(self: object, choices: object) -> object:
        counted["rows"] += 1
        return features(self, choices)  # type: ignore[arg-type]

    def one_sum(self: object, *values: object, **more: object) -> None:
        counted["sums"] += 1
        add(self, *values, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(surrogate._Terms, "features", one_row)
    monkeypatch.setattr(moments.Moments, "add", one_sum)
    spent = []
    for lines in (150, 600):
        proposer = proposer_of(space, ("thompson", False), rows=40)
        history = drive(proposer, space, lines)
        assert len(architectures(history)) > 50
        counted.update(rows=0, sums=0)
        next_three(proposer, space)
        spent.append(dict(counted))
    assert spent[0] == spent[1] == {"rows": 3, "sums": 3}  # each is one trial told


def test_a_rung_ranks_no_more_than_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    ranked: list[int] = []
    best_first = octnas.engine.rungs.best_first

    def counted(points: list, ranks: list) -> list[int]:  # type: ignore[type-arg]
        ranked.append(len(points))
        return best_first(points, ranks)

    monkeypatch.setattr(octnas.engine.rungs, "best_first", counted)
    rng, rungs, paused = random.Random(1), Rungs([1], eta=3, window=30), set[str]()
    arrivals = 400
    for number in range(arrivals):
        if not rungs.decide(str(number), 1, (rng.random(), rng.random())):
            paused.add(str(number))
        while (up := rungs.promote(paused)) is not None:
            paused.remove(up)
        paused.difference_update(rungs.left_behind())
        assert len(paused) <= 30
    assert max(ranked) == 30
    assert len(ranked) <= arrivals  # at most once an arrival
    assert 0.9 * arrivals / 3 <= len(rungs.promoted(1)) <= arrivals // 3


def test_events_and_jobs_never_go_through_all_records(
    space: SearchSpace, make_campaign: MakeCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Campaign, "records", property(lambda campaign: asked.append(1) or ()))
    clock, heard = SimulatedClock(), []
    campaign = make_campaign(space, trials=40, clock=clock, listeners=[heard.append])
    simulate(campaign, scores=scores, workers=4, clock=clock)
    assert len(heard) > 100
    assert len(asked) <= 4  # at the end, for what is left to confirm
    assert heard[-1].finished == heard[-1].planned
    assert heard[-1].best is not None
    assert not hasattr(events, "pareto_front")


def test_of_many_finished_trials_a_sampler_sees_the_front_the_latest_and_some_others() -> None:
    storage = PartStorage(shown=20)
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    for number in range(300):
        trial = study.ask()
        trial.suggest_int("a", 0, 9)
        # trial 5 has the best score and trial 7 the least cost
        study.tell(trial, [1.0 if number == 5 else 0.5 - number / 1e3, 0.1 if number == 7 else 1.0])
    pending = study.ask()
    seen = [each.number for each in study.get_trials(deepcopy=False)]
    assert len(seen) <= 21
    assert {5, 7, pending.number, *range(290, 300)} <= set(seen)
    assert seen == sorted(seen)
    assert any(number < 290 and number not in (5, 7) for number in seen)
    one, other = (storage.get_trial(number) for number in (3, 4))
    assert one.distributions is other.distributions
    assert one.params == {"a": one.params["a"]}


# ---------------------------------------------------------------- resume beyond the caps
@pytest.mark.parametrize("mode", [("thompson", False), ("tpe", False), ("tpe", True), ("nsga2", False)])
@pytest.mark.parametrize("lines", [60, 97, 140])
def test_a_proposer_made_anew_beyond_the_caps_goes_on_as_the_old_one(
    mode: tuple[str, bool], lines: int
) -> None:
    space = parse_space(LAYERS)
    caps = {"rows": 12, "shown": 16}
    old = proposer_of(space, mode, **caps)
    history = drive(old, space, lines)
    anew = proposer_of(space, mode, history=history, **caps)
    assert next_three(anew, space) == next_three(old, space)


@pytest.mark.usefixtures("small_caps")
@pytest.mark.parametrize(("sampler", "deaths"), [("thompson", (80, 40)), ("tpe", (110,))])
def test_a_search_that_died_beyond_the_caps_ends_as_one_that_did_not(
    make_campaign: MakeCampaign,
    sampler: str,
    deaths: tuple[int, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = parse_space(LAYERS)

    def ended(stops: tuple[int, ...]) -> list[tuple[str, str, int, float | None]]:
        monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / str(len(stops))))
        clock = SimulatedClock()
        campaign = make_campaign(space, trials=70, sampler=sampler, clock=clock)
        for stop in stops:
            simulate(campaign, scores=cut_after(stop, campaign), clock=clock)
            assert campaign.interrupted
            run = reopened(campaign)
            campaign = new_campaign(run, space=space, feasible=space.feasible(0.04), clock=clock)
        simulate(campaign, scores=scores, clock=clock)
        campaign.run.journal.release()
        return [
            (each.architecture.digest, str(each.state), each.epochs, each.accuracy)
            for each in campaign.records
        ]

    whole = ended(())
    assert sum(state == TrialState.STOPPED for _, state, _, _ in whole) > 20
    assert ended(deaths) == whole


# ---------------------------------------------------------------- large
@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_twenty_thousand_trials_on_a_thousand_workers(make_campaign: MakeCampaign) -> None:
    import tracemalloc

    space, clock = parse_space(LAYERS), SimulatedClock()
    campaign = make_campaign(space, trials=20_000, sampler="thompson", clock=clock)
    held: list[tuple[int, int]] = []

    def watched(job: TrialJob) -> Iterator[EpochScore]:
        if int(job.id) % 5000 == 0 and not job.scored:
            held.append((int(job.id), tracemalloc.get_traced_memory()[0]))
        return scores(job)

    tracemalloc.start()
    try:
        simulate(campaign, scores=watched, workers=1000, clock=clock)
    finally:
        tracemalloc.stop()
    assert all(record.state.final for record in campaign.records)
    assert sum(record.yardstick is None for record in campaign.records) == 20_000
    (first, before), (last, after) = held[1], held[-1]
    assert (after - before) / (last - first) < 20_000  # bytes a trial
