"""What a search writes where it is not in a terminal, and where it takes which."""

from __future__ import annotations

import io
from collections.abc import Callable

import fakes
import pytest
from rich.console import Console

from octnas.engine import progress
from octnas.engine.campaign import Campaign
from octnas.engine.display import moves
from octnas.engine.display_live import LiveView
from octnas.space import SearchSpace

MakeCampaign = Callable[..., Campaign]


def test_lines_name_each_trial_with_its_result_or_reason(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    text = io.StringIO()
    with progress(Console(file=text, width=200, color_system=None)) as listener:
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
    lines = text.getvalue().splitlines()
    assert lines[0] == "search run: 2 candidates"
    assert lines[1].startswith("[1/3 0 s] trial 1 resnet18 ")
    assert "complete, accuracy 90.00 %" in lines[1]
    assert "best 90.00 %" in lines[1]
    assert "front 1" in lines[1]
    assert "failed (ValueError: [red]no[/red])" in lines[2]
    assert lines[3:] == ["the store is behind", "search ended"]


def test_what_is_confirmed_is_shown_with_its_seed(
    unhurried: SearchSpace, make_campaign: MakeCampaign
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


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("settings", "tty", "want"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"FORCE_COLOR": "1"}, False, False),  # colours make no terminal of a file
        ({"NO_COLOR": "1"}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"CI": "true"}, True, False),
        ({"TTY_COMPATIBLE": "0"}, True, False),
        ({"TTY_INTERACTIVE": "0"}, True, False),
    ],
)
def test_only_a_terminal_that_can_be_drawn_over_has_a_view(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], tty: bool, want: bool
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "CI", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", _Terminal() if tty else io.StringIO())
    assert moves(Console(stderr=True)) is want
    with progress() as listener:
        assert isinstance(listener, LiveView) is want
