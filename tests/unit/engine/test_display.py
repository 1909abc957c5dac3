"""What a search shows while it runs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import fakes
import pytest
from rich.console import Console

from octnas.engine import progress
from octnas.engine.campaign import Campaign
from octnas.space import SearchSpace


def _shown(
    unhurried: SearchSpace, make_campaign: Callable[..., Campaign], *, terminal: bool, width: int = 200
) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=width, color_system=None)
    with progress(console) as listener:
        campaign = make_campaign(unhurried, trials=2, listeners=(listener,))
        campaign.note("search run: 2 candidates", kind="begin")
        job = campaign.next_job()
        assert job is not None
        for epoch in range(1, 10):
            campaign.report(job.id, fakes.score(job, epoch, accuracy=epoch / 10))
        other = campaign.next_job()
        assert other is not None
        campaign.fail(other.id, "ValueError: [red]no[/red]")
        campaign.note("the store is behind")
        campaign.note("search ended", kind="end")
    return text.getvalue()


def test_lines_name_each_trial_with_its_result_or_reason(
    unhurried: SearchSpace, make_campaign: Callable[..., Campaign]
) -> None:
    lines = _shown(unhurried, make_campaign, terminal=False).splitlines()
    assert lines[0] == "search run: 2 candidates"
    assert lines[1].startswith("[1/3 0 s] trial 1 resnet18 ")
    assert "complete, accuracy 90.00 %" in lines[1]
    assert "best 90.00 %" in lines[1]
    assert "front 1" in lines[1]
    assert "failed (ValueError: [red]no[/red])" in lines[2]
    assert lines[3:] == ["the store is behind", "search ended"]


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_has_a_bar_with_the_count_and_the_time_left(
    unhurried: SearchSpace, make_campaign: Callable[..., Campaign], width: int
) -> None:
    shown = _shown(unhurried, make_campaign, terminal=True, width=width)
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", shown).splitlines() if line.strip()]
    bars = [line for line in lines if "2/3" in line and "0:00:0" in line]
    assert bars
    assert all("best 90.00 % at " in line and len(line) <= width for line in bars)
    assert any("left · best" in line for line in bars)
    assert any(line.startswith("trial 1 resnet18") for line in lines)
    assert any(line.startswith("the store is behind") for line in lines)


def test_what_is_confirmed_is_shown_with_its_seed(
    unhurried: SearchSpace, make_campaign: Callable[..., Campaign]
) -> None:
    text = io.StringIO()
    with progress(Console(file=text, width=200, color_system=None)) as listener:
        campaign = make_campaign(unhurried, trials=6, confirm=1, listeners=(listener,))
        while (job := campaign.next_job()) is not None:
            fakes.instant(job, None, lambda score, job=job: campaign.report(job.id, score))  # type: ignore[misc]
    record = next(each for each in campaign.records if each.confirm_seeds)
    line = next(line for line in text.getvalue().splitlines() if line.startswith(f"trial {record.id} "))
    assert f" again with seed 1000: accuracy {100 * record.accuracy_seeds[0]:.2f} %, " in line
    assert line.endswith(f"{100 * record.test_accuracy_seeds[0]:.2f} % on test data")
