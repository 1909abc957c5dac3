"""Weights are kept of the front and of what is under way, whatever happens in whatever order."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest
import stores
from campaign_case import MakeCampaign, drive, reopened
from hypothesis import given, settings
from hypothesis import strategies as st

from octnas.architecture import Architecture
from octnas.engine.campaign import Campaign
from octnas.engine.evaluate import Report, TrialJob
from octnas.engine.events import SearchEvent
from octnas.engine.kept import STALE_SECONDS, Kept
from octnas.front import best, pareto_front
from octnas.record import Objective, RunFolder, SearchHeader, TrialRecord, TrialState
from octnas.space import SearchSpace
from octnas.storage import names_in, place
from octnas.train.files import written_whole

LIMIT = 4.0
ARCHITECTURE = Architecture.uniform("resnet18", alpha=0.5)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with stores.s3_store() as uri:
        yield uri


def run_folder(home: Path, storage: str | None = None) -> RunFolder:
    header = SearchHeader(
        name="run",
        space_yaml="",
        budget_gflops=LIMIT,
        trials=9,
        seed=0,
        data="glyphs",
        options={} if storage is None else {"storage": storage},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTNAS_HOME", str(home))
        return RunFolder.create("run", header)


def record_of(number: int, state: TrialState, cost: int, accuracy: int, **facts: object) -> TrialRecord:
    record = TrialRecord(
        id=str(number),
        architecture=ARCHITECTURE,
        state=state,
        gflops=float(cost),
        latency_ms=float(LIMIT + 1 - cost),
        params=1,
        accuracy=None if state is TrialState.FAILED else accuracy / 4,
        reason="why" if state is TrialState.FAILED else None,
    )
    return dataclasses.replace(record, **facts)  # type: ignore[arg-type]


ENDS = st.lists(
    st.tuples(
        st.sampled_from([*TrialState, TrialState.COMPLETE, TrialState.COMPLETE, TrialState.COMPLETE]),
        st.integers(1, 5),
        st.integers(0, 4),
        st.booleans(),
        st.sampled_from([None, None, "uniform-0.5"]),
    ),
    max_size=25,
)


@given(ends=ENDS, objective=st.sampled_from(["gflops", "latency"]), cut=st.integers(0, 25))
@settings(max_examples=80)
def test_what_is_kept_is_the_front_and_what_is_not_final(
    ends: list[tuple[TrialState, int, int, bool, str | None]], objective: Objective, cut: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = run_folder(Path(folder))
        records: dict[str, TrialRecord] = {}

        def life() -> Kept:
            return Kept(run, limit=LIMIT, objective=objective, records=records)

        kept = life()
        for number, (state, cost, accuracy, within, yardstick) in enumerate(ends):
            if number == cut:
                kept = life()  # a death, and a second life
            record = record_of(number, state, cost, accuracy, within_budget=within, yardstick=yardstick)
            with written_whole(run.checkpoint(record.id)) as part:
                part.touch()
            if record.state.final:
                record, gone = kept.end(record)
                records[record.id] = record
                kept.forget(*gone)
            records[record.id] = record
            front = pareto_front(records.values(), LIMIT, objective)
            wanted = {each.id for each in front} | {
                each.id for each in records.values() if not each.state.final
            }
            assert {name.removesuffix(".pt") for name in names_in(run.store / "checkpoints")} == wanted
            winner = best(records.values(), LIMIT, objective)
            assert winner is None or winner.id in wanted
        assert kept.trouble is None
        for each in pareto_front(records.values(), LIMIT, objective):
            assert each.checkpoint == f"checkpoints/{each.id}.pt"
        run.journal.release()


def writes(job: TrialJob, data: object, report: Report) -> None:
    """Every epoch at once, its weights written before each report."""

    def write_and_report(score: object) -> bool:
        with written_whole(job.checkpoint) as part:
            part.write_text(job.id)
        return report(score)  # type: ignore[arg-type]

    fakes.instant(job, data, write_and_report)


def files(campaign: Campaign) -> set[str]:
    return {name.removesuffix(".pt") for name in names_in(campaign.run.store / "checkpoints")}


def wanted(campaign: Campaign) -> set[str]:
    feasible = campaign._feasible
    front = pareto_front(campaign.records, feasible.limit, feasible.objective)
    return {each.id for each in front} | {each.id for each in campaign.records if not each.state.final}


@pytest.fixture(params=["home", "folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "home":
        return None
    return (
        str(tmp_path / "shared")
        if request.param == "folder"
        else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    )


def test_a_search_and_its_second_life_keep_a_front_in_their_storage(
    space: SearchSpace,
    make_campaign: MakeCampaign,
    storage: str | None,
    monkeypatch: pytest.MonkeyPatch,
    runs_home: Path,
) -> None:
    options = {} if storage is None else {"storage": storage}
    campaign = make_campaign(space, trials=12, confirm=1, options=options)
    drive(campaign, jobs=9, evaluate=writes)
    campaign._kept.close(campaign._records)
    assert files(campaign) == wanted(campaign)
    assert any(record.state is TrialState.PAUSED for record in campaign.records)
    if storage is not None:
        assert names_in(runs_home / "run" / "checkpoints") == []
        assert names_in(place(storage) / "run") == ["checkpoints", "octnas-run.json"]

    # What was under way when it died, what it could not remove, and what is none of its own.
    orphan = campaign.next_job()
    assert orphan is not None
    final = next(record.id for record in campaign.records if record.id not in wanted(campaign))
    confirmed = f"{next(iter(campaign._records))}.seed9"
    for job_id in (orphan.id, final, confirmed, "rank.full.9.abc.1"):
        with written_whole(campaign.run.checkpoint(job_id)) as part:
            part.touch()
    again = make_campaign(space, run=reopened(campaign))
    again._kept.close(again._records)
    assert files(again) == wanted(again) | {confirmed, "rank.full.9.abc.1"}
    drive(again, evaluate=writes)
    again.close()
    assert all(record.state.final for record in again.records)
    assert files(again) == wanted(again) | {confirmed, "rank.full.9.abc.1"}
    assert again._kept.trouble is None
    again.run.journal.release()
    RunFolder.delete("run")
    assert storage is None or names_in(place(storage)) == []


def test_half_files_of_killed_writers_go(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    folder = run.path / "checkpoints"
    old, older, young = (folder / f".{name}.pt.1-a.part" for name in ("1", "2", "3"))
    of_weights = run.path / "supernets" / ".resnet18.safetensors.1-a.part"
    of_weights.parent.mkdir()
    for part in (old, older, of_weights):
        part.touch()
    kept = Kept(run, limit=LIMIT, objective="gflops", records={})
    assert names_in(folder) == names_in(of_weights.parent) == [], "nobody writes before a search begins"
    for part in (old, young):
        part.touch()
    os.utime(old, (0, time.time() - STALE_SECONDS - 1))
    kept.forget(*(str(number) for number in range(300)))
    assert names_in(folder) == [young.name], "it may have a writer"
    run.journal.release()


def test_what_cannot_be_removed_is_said_and_ends_nothing(
    space: SearchSpace, make_campaign: MakeCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("octnas.engine.kept.remove", refuse)
    heard: list[SearchEvent] = []
    campaign = make_campaign(space, trials=6, listeners=(heard.append,))
    drive(campaign, evaluate=writes)
    campaign.close()
    assert all(record.state.final for record in campaign.records)
    notes = [event.text for event in heard if event.kind == "note"]
    assert [text for text in notes if "could not be removed: Permission denied" in text]
