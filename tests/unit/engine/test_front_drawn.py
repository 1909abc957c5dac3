"""The front of a search under way: from records in memory and what is new in the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from campaign_case import MakeCampaign, drive

from octnas.engine.front_drawn import FrontDrawn
from octnas.front import SearchResult
from octnas.record.links import RunLinks
from octnas.space import SearchSpace

LINKS = RunLinks(uri="sqlite:///x.db", experiment_id="1", run_id="abc", trials={"1": "one"})


def test_it_shows_what_the_journal_tells_and_reads_each_line_once(
    space: SearchSpace, make_campaign: MakeCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = make_campaign(space)
    warnings: list[str] = []
    drawn = FrontDrawn(campaign.run, warn=warnings.append)
    read: list[int] = []
    after = type(campaign.run.journal).after

    def counted(self: Any, end: int) -> Any:
        for event, at in after(self, end):
            read.append(at)
            yield event, at

    monkeypatch.setattr(type(campaign.run.journal), "after", counted)
    for jobs in (4, 3, 10_000):
        drive(campaign, jobs=jobs)
        report = drawn.under_way(campaign, LINKS)
        whole = SearchResult.of(campaign.run)
        assert report.front == tuple(record.id for record in whole.front)
        assert report.hypervolumes == tuple(volume for _, volume in whole.hypervolume_by_trial)
        assert report.finished == sum(record.state.final for record in whole.trials)
    assert len(read) == len(set(read)) == campaign.run.journal.path.read_bytes().count(b"\n")
    assert warnings == []


def test_it_leaves_the_files_and_the_links_in_the_runs_folder(
    space: SearchSpace, make_campaign: MakeCampaign
) -> None:
    campaign = make_campaign(space)
    drive(campaign, jobs=5)
    drawn = FrontDrawn(campaign.run, warn=lambda text: None)
    report = drawn.under_way(campaign, None)
    folder = campaign.run.path
    assert RunLinks.of(campaign.run) is None
    for name, content in report.files.items():
        data = content if isinstance(content, bytes) else content.encode()
        assert (folder / name).read_bytes() == data
    drawn.under_way(campaign, LINKS)
    assert RunLinks.of(campaign.run) == LINKS
    assert "#/experiments/1/runs/one?" in (folder / "front.html").read_text()
    assert not list(folder.glob(".*.new"))


def test_a_full_disk_is_said_once_and_the_report_is_made(
    space: SearchSpace, make_campaign: MakeCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = make_campaign(space)
    drive(campaign, jobs=5)
    warnings: list[str] = []
    drawn = FrontDrawn(campaign.run, warn=warnings.append)

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    reports = [drawn.under_way(campaign, LINKS) for _ in range(2)]
    assert [set(report.files) >= {"front.html", "front-small.png"} for report in reports] == [True, True]
    assert warnings == [f"cannot write the front's files in {campaign.run.path}: No space left on device"]
