"""A search that dies at any instant goes on as if it had not: the journal is all that a second life knows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest

from octnas.engine.campaign import Campaign
from octnas.engine.evaluate import TrialJob
from octnas.engine.simulated import SimulatedClock, simulate
from octnas.errors import RunError
from octnas.record import EpochScore, Journal, RunFolder, TrialRecord, TrialState
from octnas.space import SearchSpace

MakeCampaign = Callable[..., Campaign]
TRIALS = 7


class Killed(BaseException):
    """What nothing catches, as nothing catches SIGKILL."""


class Deadly:
    """A journal's `append` that dies at the `at`-th line: before it, within it, or right after it."""

    def __init__(self, at: int, how: str) -> None:
        self.at, self.how, self.lines = at, how, 0
        self.append = Journal.append

    def __call__(self, journal: Journal, event: dict[str, Any]) -> None:
        self.lines += 1
        if self.lines < self.at:
            self.append(journal, event)
            return
        if self.how == "after":
            self.append(journal, event)
        elif self.how == "within":
            with journal.path.open("ab") as file:
                file.write(json.dumps(event).encode()[: 20 + self.at])
        raise Killed


def scores(job: TrialJob) -> Iterator[EpochScore]:
    for epoch in range(job.scored + 1, job.epochs + 1):
        yield fakes.score(job, epoch)


def run(campaign: Campaign, begun: list[tuple[str, int]] | None = None) -> None:
    def noted(job: TrialJob) -> Iterator[EpochScore]:
        if begun is not None:
            begun.append((job.id, job.scored))
        return scores(job)

    clock = SimulatedClock()
    try:
        simulate(campaign, scores=noted, workers=1, clock=clock)
    finally:
        campaign.run.journal.release()


def reopened() -> RunFolder:
    found = RunFolder.open("run")
    found.journal.acquire()
    return found


@pytest.fixture
def undisturbed(space: SearchSpace, make_campaign: MakeCampaign) -> tuple[tuple[TrialRecord, ...], int]:
    """The records of a search that nothing happens to, and the lines of its journal after the first."""
    campaign = make_campaign(space, trials=TRIALS, sampler="thompson", confirm=1)
    run(campaign)
    lines = len(campaign.run.journal.read()) - 1
    RunFolder.delete("run")
    return campaign.records, lines


@pytest.mark.parametrize("how", ["before", "within", "after"])
def test_death_at_any_line_of_the_journal_changes_nothing(
    how: str,
    undisturbed: tuple[tuple[TrialRecord, ...], int],
    space: SearchSpace,
    make_campaign: MakeCampaign,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected, lines = undisturbed
    assert lines > 30
    for at in range(1, lines + 1):
        campaign = make_campaign(space, trials=TRIALS, sampler="thompson", confirm=1)
        with monkeypatch.context() as patched:
            deadly = Deadly(at, how)
            patched.setattr(Journal, "append", lambda journal, event, deadly=deadly: deadly(journal, event))
            with pytest.raises(Killed):
                run(campaign)
        finished = {record.id for record in RunFolder.open("run").records() if record.state.final}
        begun: list[tuple[str, int]] = []
        again = make_campaign(space, run=reopened())
        run(again, begun)
        assert again.records == expected, f"killed {how} line {at}"
        assert RunFolder.open("run").records() == list(expected)
        assert not finished & {job_id for job_id, _ in begun}
        RunFolder.delete("run")


def test_two_workers_lose_nothing_either(
    space: SearchSpace, make_campaign: MakeCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(2, 40, 3):
        campaign = make_campaign(space, trials=TRIALS, sampler="random", confirm=1)
        with monkeypatch.context() as patched:
            deadly = Deadly(at, "after")
            patched.setattr(Journal, "append", lambda journal, event, deadly=deadly: deadly(journal, event))
            with pytest.raises(Killed):
                simulate(campaign, scores=scores, workers=2, clock=SimulatedClock())
        campaign.run.journal.release()
        before = {each.id: each for each in RunFolder.open("run").records()}
        again = make_campaign(space, run=reopened())
        simulate(again, scores=scores, workers=2, clock=SimulatedClock())
        again.run.journal.release()
        after = {each.id: each for each in again.records}
        assert before.keys() <= after.keys()
        assert all(record.state.final for record in after.values())
        assert sum(record.yardstick is None for record in after.values()) == TRIALS
        assert len({record.architecture.digest for record in after.values()}) == len(after)
        for trial_id, record in before.items():
            assert after[trial_id].scores[: record.epochs] == record.scores
            if record.state.final:
                assert after[trial_id].state is record.state
        RunFolder.delete("run")


def test_a_read_only_journal_is_refused_in_one_line(
    space: SearchSpace, make_campaign: MakeCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = make_campaign(space, trials=TRIALS)
    campaign.next_job()
    campaign.run.journal.release()

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if Path(path).name in ("journal.jsonl", "lock") and flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *rest, **more)

    opened = os.open
    monkeypatch.setattr(os, "open", refuse)  # permissions do not bind the user that runs tests in a container
    found = RunFolder.open("run")
    assert found.records()[0].state is TrialState.RUNNING  # reading needs no right to write
    with pytest.raises(
        RunError, match=r"cannot write .*lock: Permission denied; .*permit writing there"
    ) as error:
        found.journal.acquire()
    assert "\n" not in str(error.value)


def test_a_second_writer_is_refused_and_named(space: SearchSpace, make_campaign: MakeCampaign) -> None:
    make_campaign(space, trials=TRIALS)
    with pytest.raises(
        RunError, match=rf"'run' is in use by process {os.getpid()} on .*choose another --name"
    ):
        RunFolder.open("run").journal.acquire()


def test_the_date_may_be_set_back_at_any_moment(
    undisturbed: tuple[tuple[TrialRecord, ...], int],
    space: SearchSpace,
    make_campaign: MakeCampaign,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter(range(10**9, 0, -1000))
    monkeypatch.setattr("octnas.record.journal.time.time", lambda: float(next(times)))
    campaign = make_campaign(space, trials=TRIALS, sampler="thompson", confirm=1)
    run(campaign)
    assert campaign.records == undisturbed[0]
    assert RunFolder.open("run").records() == list(undisturbed[0])
    stamps = [event["time"] for event in RunFolder.open("run").journal.read()]
    assert stamps == sorted(stamps, reverse=True)
