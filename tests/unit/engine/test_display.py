"""What a search shows while it runs."""

from __future__ import annotations

import io
from collections.abc import Callable

import fakes
from rich.console import Console

from octnas.engine import progress
from octnas.engine.campaign import Campaign
from octnas.space import SearchSpace


def _shown(space: SearchSpace, make_campaign: Callable[..., Campaign], *, terminal: bool) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=200, color_system=None)
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
    assert lines[3:] == ["search ended"]


def test_a_terminal_has_a_bar_with_the_count(
    space: SearchSpace, make_campaign: Callable[..., Campaign]
) -> None:
    shown = _shown(space, make_campaign, terminal=True)
    assert "2/3" in shown
    assert "trial 1 resnet18" in shown
