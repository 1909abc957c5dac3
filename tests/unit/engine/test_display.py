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
    space: SearchSpace, make_campaign: Callable[..., Campaign], *, terminal: bool, width: int = 200
) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=width, color_system=None)
    with progress(console) as listener:
        campaign = make_campaign(space, trials=2, listeners=(listener,))
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
    space: SearchSpace, make_campaign: Callable[..., Campaign]
) -> None:
    lines = _shown(space, make_campaign, terminal=False).splitlines()
    assert lines[0] == "search run: 2 candidates"
    assert lines[1].startswith("[1/3 0 s] trial 1 resnet18 ")
    assert "complete, accuracy 90.00 %" in lines[1]
    assert "best 90.00 %" in lines[1]
    assert "front 1" in lines[1]
    assert "failed (ValueError: [red]no[/red])" in lines[2]
    assert lines[3:] == ["the store is behind", "search ended"]


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_has_a_bar_with_the_count_and_the_time_left(
    space: SearchSpace, make_campaign: Callable[..., Campaign], width: int
) -> None:
    shown = _shown(space, make_campaign, terminal=True, width=width)
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", shown).splitlines() if line.strip()]
    bars = [line for line in lines if "2/3" in line and "0:00:0" in line]
    assert bars
    assert all("best 90.00 % at " in line and len(line) <= width for line in bars)
    assert any("left · best" in line for line in bars)
    assert any(line.startswith("trial 1 resnet18") for line in lines)
    assert any(line.startswith("the store is behind") for line in lines)
