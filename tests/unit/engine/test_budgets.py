"""Budgets of latency in the engine: what is admitted, refused, proposed, ranked and written down."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from campaign_case import MakeCampaign, drive, reopened
from made_profile import made_profile

from octnas.architecture import Architecture
from octnas.costs.latency import DeviceProfile
from octnas.costs.profile_file import save_profile
from octnas.engine import dry_run
from octnas.engine.budgets import admitted_budgets, keep_profile, kept_profile, latency_options
from octnas.engine.sizing_table import dry_run_table
from octnas.engine.yardsticks import choose_yardsticks
from octnas.errors import BudgetError, ProfileError, UnknownNameError
from octnas.record import Objective, RunFolder, SearchHeader, TrialState
from octnas.space import Feasible, SearchSpace
from octnas.timing import profile as measuring


@pytest.fixture
def profile(space: SearchSpace) -> DeviceProfile:
    return made_profile(space)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCTNAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def members_of(space: SearchSpace) -> list[Architecture]:
    """Every member, each stage's alpha chosen freely."""
    rest = space.feasible(99.0)
    return [arch for name in rest.backbones for arch in rest.walk(name, _Still())]  # type: ignore[arg-type]


class _Still:
    """A generator that leaves everything where it is."""

    def permutation(self, values: Any) -> Any:
        return values


def budgets_of(space: SearchSpace, profile: DeviceProfile, share: float) -> tuple[float, float]:
    """Budgets of GFLOPs and of ms, each of which this share of the members obeys."""
    feasible = space.feasible(99.0, profile=profile)
    every = members_of(space)
    place = int(share * (len(every) - 1))
    return sorted(map(space.gflops, every))[place], sorted(map(_ms(feasible), every))[place]


def _ms(feasible: Feasible) -> Callable[[Architecture], float]:
    def latency(arch: Architecture) -> float:
        value = feasible.latency_ms(arch)
        assert value is not None
        return value

    return latency


@pytest.mark.parametrize("sampler", ["thompson", "tpe", "nsga2", "random", "gp"])
@pytest.mark.parametrize("objective", ["gflops", "latency"])
@pytest.mark.parametrize("both", [False, True])
def test_every_candidate_obeys_every_budget_and_every_row_has_its_latency(
    space: SearchSpace,
    profile: DeviceProfile,
    make_campaign: MakeCampaign,
    sampler: str,
    objective: Objective,
    both: bool,
) -> None:
    gflops, ms = budgets_of(space, profile, 0.6)
    campaign = make_campaign(
        space,
        budget=gflops if both else None,
        budget_ms=ms,
        objective=objective,
        profile=profile,
        sampler=sampler,
        trials=16,
        confirm=1,
    )
    drive(campaign)
    feasible = space.feasible(gflops if both else None, budget_ms=ms, profile=profile)
    records = reopened(campaign).records()
    assert records == list(campaign.records)
    candidates = [record for record in records if record.yardstick is None]
    assert len({record.architecture for record in records}) == len(records)
    assert len(candidates) == 16
    for record in records:
        assert record.state.final
        assert record.latency_ms == feasible.latency_ms(record.architecture)
        inside = _ms(feasible)(record.architecture) <= ms and (not both or record.gflops <= gflops)
        assert record.within_budget is inside
        assert inside or record.yardstick is not None
    assert [record for record in records if record.confirm_seeds]


def test_rungs_compare_by_the_objective(
    space: SearchSpace, profile: DeviceProfile, make_campaign: MakeCampaign
) -> None:
    _, ms = budgets_of(space, profile, 0.8)
    campaign = make_campaign(space, budget=None, budget_ms=ms, objective="latency", profile=profile)
    drive(campaign)
    points = campaign._rungs.scores(1)
    rows = {record.id: record for record in campaign.records}
    assert len(points) >= 12
    assert {key: cost for key, (_, cost) in points.items()} == {key: rows[key].latency_ms for key in points}
    again = make_campaign(
        space, budget=None, budget_ms=ms, objective="latency", profile=profile, run=reopened(campaign)
    )
    assert again._rungs.scores(1) == points


def test_a_second_life_proposes_what_the_first_would_have(
    space: SearchSpace, profile: DeviceProfile, make_campaign: MakeCampaign
) -> None:
    gflops, ms = budgets_of(space, profile, 0.7)
    options: dict[str, Any] = {
        "budget": gflops,
        "budget_ms": ms,
        "objective": "latency",
        "profile": profile,
        "sampler": "thompson",
    }
    whole = make_campaign(space, **options)
    drive(whole)
    expected = [(record.id, record.architecture) for record in whole.records]
    whole.run.journal.release()
    RunFolder.delete("run")

    first = make_campaign(space, **options)
    drive(first, jobs=9)
    again = make_campaign(space, run=reopened(first), **options)
    drive(again)
    assert [(record.id, record.architecture) for record in again.records] == expected


@pytest.mark.parametrize("objective", ["gflops", "latency"])
@pytest.mark.parametrize("share", [0.4, 0.7, 1.0])
def test_the_uniform_yardstick_is_the_dearest_that_fits_both(
    space: SearchSpace, profile: DeviceProfile, objective: Objective, share: float
) -> None:
    gflops, ms = budgets_of(space, profile, share)
    feasible = space.feasible(gflops, budget_ms=ms, profile=profile, objective=objective)
    chosen = choose_yardsticks(space, feasible, trials=24)
    for backbone in feasible.backbones:
        uniform = [space.uniform(backbone, alpha) for alpha in (0, "0.25", "0.5", "0.75")]
        fitting = [each for each in uniform if space.gflops(each) <= gflops and _ms(feasible)(each) <= ms]
        mine = [
            each.architecture
            for each in chosen
            if each.architecture.backbone == backbone and each.architecture.downsample == "pooled"
        ]
        if fitting:
            assert feasible.cost(mine[0]) == max(map(feasible.cost, fitting))
        assert bool(fitting) is any(map(feasible.within, mine))
    plain = [each.architecture for each in chosen if each.label.startswith("plain")]
    dearest = max(feasible.backbones, key=lambda name: feasible.cost(space.uniform(name, 0)))
    assert {arch.backbone for arch in plain} <= {dearest}
    assert plain


def test_neither_budget_is_refused(space: SearchSpace) -> None:
    with pytest.raises(BudgetError, match=r"give --budget-gflops, --budget-ms or both$") as error:
        admitted(space)
    assert error.value.exit_code == 2
    with pytest.raises(BudgetError, match="must have a budget"):
        dry_run(space)


def admitted(space: SearchSpace, **options: Any) -> Any:
    wanted: dict[str, Any] = {"budget_gflops": None, "budget_ms": None, "objective": None, "profile": None}
    return admitted_budgets(space, **{**wanted, **options})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_budgets_are_finite(space: SearchSpace, value: float) -> None:
    for name in ("budget_gflops", "budget_ms"):
        with pytest.raises(BudgetError, match=f"`{name}` must be finite"):
            admitted(space, **{name: value})


def test_the_objective_is_known_and_latency_where_only_time_is_limited(
    space: SearchSpace, profile: DeviceProfile
) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'latency'"):
        admitted(space, budget_ms=1.0, objective="latencies")
    weighed = {
        (gflops, ms, objective): admitted(
            space, budget_gflops=gflops, budget_ms=ms, objective=objective, profile=profile
        ).objective
        for gflops in (None, 1.0)
        for ms in (None, 1.0)
        for objective in (None, "gflops", "latency")
        if gflops or ms
    }
    assert weighed == {key: key[2] or ("latency" if key[0] is None else "gflops") for key in weighed}


def test_without_latency_no_profile_is_looked_for(
    space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "cached_profile", None)
    budgets = admitted(space, budget_gflops=1.0)
    assert (budgets.profile, budgets.unmeasured, budgets.document()) == (None, False, None)


def test_the_cached_profile_is_found_and_a_missing_one_is_measured(
    space: SearchSpace, profile: DeviceProfile, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    def measure(of: SearchSpace, *, progress: Callable[[str, float], None]) -> DeviceProfile:
        assert of == space
        progress("operations", 0.25)
        return profile

    monkeypatch.setattr(measuring, "profile", measure)
    monkeypatch.setattr("octnas.engine.budgets.NOTED", -1.0)
    unmeasured = admitted(space, budget_gflops=1.0, objective="latency")
    assert unmeasured.unmeasured
    assert unmeasured.feasible(space).budget_gflops == 1.0
    made = unmeasured.measured(space, notes.append)
    assert (made.profile, made.unmeasured, made.feasible(space).objective) == (profile, False, "latency")
    assert ["minutes" in notes[0], notes[1:]] == [True, ["profile: 25 % (operations)"]]

    from octnas.costs.profile_file import profile_path

    save_profile(profile, profile_path(profile))
    found = admitted(space, budget_ms=1.0)
    assert (found.profile, found.unmeasured) == (profile, False)
    assert cache.is_dir()


def test_a_profile_of_another_device_is_refused_and_a_file_is_read(
    space: SearchSpace, profile: DeviceProfile, tmp_path: Path
) -> None:
    with pytest.raises(ProfileError, match="another processor"):
        admitted(space, budget_ms=1.0, profile=made_profile(space, device="another processor"))
    path = tmp_path / "mine.json"
    save_profile(profile, path)
    read = admitted(space, budget_ms=1.0, profile=path)
    assert (read.profile, read.lacking, read.notes()) == (profile, 0, [])
    assert read.document() == {
        "device": profile.device,
        "runtime": "onnxruntime",
        "threads": 1,
        "batch": 1,
        "digest": profile.digest,
    }
    with pytest.raises(ProfileError, match=r"none\.json must be readable"):
        admitted(space, budget_ms=1.0, profile=str(tmp_path / "none.json"))
    half = dict(list(profile.times.items())[::2])
    lacking = admitted(space, budget_ms=1.0, profile=replace(profile, times=half))
    assert lacking.lacking > 0
    assert f"{lacking.lacking} operations" in lacking.notes()[0]


def test_a_run_keeps_its_profile_and_reads_only_that(
    space: SearchSpace, profile: DeviceProfile, runs_home: Path
) -> None:
    def header(name: str, kept: DeviceProfile | None) -> SearchHeader:
        budgets = admitted(space, budget_gflops=1.0, profile=kept)
        return SearchHeader(
            name=name,
            space_yaml=space.to_yaml(),
            budget_gflops=1.0,
            trials=1,
            seed=0,
            data="d",
            profile=budgets.document(),
        )

    run = RunFolder.create("with", header("with", profile))
    keep_profile(run, profile)
    assert kept_profile(RunFolder.open("with")) == profile
    keep_profile(run, made_profile(space, seed=1))
    with pytest.raises(ProfileError, match=r"profile\.json must be the profile that 'with' began with"):
        kept_profile(run)
    (run.path / "profile.json").unlink()
    with pytest.raises(ProfileError, match="is missing or damaged"):
        kept_profile(run)
    without = RunFolder.create("without", header("without", None))
    keep_profile(without, None)
    assert not (without.path / "profile.json").exists()
    assert kept_profile(without) is None


def test_the_options_say_what_each_plain_network_takes(space: SearchSpace, profile: DeviceProfile) -> None:
    options = latency_options(space.feasible(99.0, profile=profile))
    side = space.target.input_size
    assert options["plain_latency_ms"].keys() == set(space.backbones)
    for name, ms in options["plain_latency_ms"].items():
        assert ms == pytest.approx(profile.latency_ms(space.uniform(name, 0), (1, side, side), 10), abs=1e-4)
    assert latency_options(space.feasible(99.0)) == {}


@pytest.mark.parametrize("both", [False, True])
def test_a_dry_run_reports_latency_and_what_the_budgets_admit(
    space: SearchSpace, profile: DeviceProfile, both: bool
) -> None:
    gflops, ms = budgets_of(space, profile, 0.5)
    every, feasible = members_of(space), space.feasible(99.0, profile=profile)
    report = dry_run(
        space, budget_gflops=gflops if both else None, budget_ms=ms, profile=profile, estimate=False
    )
    latencies = sorted(map(_ms(feasible), every))
    assert report["latency_ms"]["min"] == pytest.approx(latencies[0])
    assert report["latency_ms"]["max"] == pytest.approx(latencies[-1])
    span = latencies[-1] - latencies[0]
    assert report["latency_ms"]["median"] == pytest.approx(latencies[len(every) // 2], abs=0.02 * span)
    inside = [
        arch for arch in every if _ms(feasible)(arch) <= ms and (not both or space.gflops(arch) <= gflops)
    ]
    assert report["feasible_share"] == len(inside) / len(every)
    assert report["feasible"]["size"] == len(inside)
    assert report["feasible"]["estimated"] is False
    assert report["feasible"]["latency_ms"]["min"] == min(map(_ms(feasible), inside))
    assert report["feasible"]["gflops"]["min"] == min(map(space.gflops, inside))
    assert (report["budget_ms"], report["device"]) == (ms, profile.device)
    assert report["objective"] == ("gflops" if both else "latency")
    assert report["budget_gflops"] == (gflops if both else None)
    for each in report["yardsticks"]:
        assert each["latency_ms"] > 0
        assert each["within_budget"] is (each["latency_ms"] <= ms and (not both or each["gflops"] <= gflops))
    text = _printed(report)
    assert f"{ms:g} ms, reachable" in text
    assert f"predicted for {profile.device}" in text


def test_a_dry_run_says_what_is_reachable_in_ms(space: SearchSpace, profile: DeviceProfile) -> None:
    report = dry_run(space, budget_ms=1e-3, profile=profile)
    assert (report["reachable"], report["feasible_share"]) == (False, 0.0)
    assert "raise --budget-ms to" in report["reason"]
    assert "0.001 ms, not reachable" in _printed(report)


def _printed(report: dict[str, Any]) -> str:
    import io

    from rich.console import Console

    file = io.StringIO()
    Console(width=100, file=file).print(dry_run_table(report))
    return " ".join(file.getvalue().split())


def test_within_one_limit_of_time_the_space_is_exhausted_to_the_last_member(
    space: SearchSpace, profile: DeviceProfile, make_campaign: MakeCampaign
) -> None:
    _, ms = budgets_of(space, profile, 0.15)
    feasible = space.feasible(budget_ms=ms, profile=profile)
    inside = {arch for arch in members_of(space) if _ms(feasible)(arch) <= ms}
    campaign = make_campaign(space, budget=None, budget_ms=ms, profile=profile, sampler="thompson", trials=99)
    drive(campaign)
    assert campaign.exhausted
    assert {
        r.architecture for r in campaign.records if r.within_budget and space.contains(r.architecture)
    } == (inside)
    assert {record.state for record in campaign.records} == {TrialState.COMPLETE}
