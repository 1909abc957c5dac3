"""What a search shows below the cell of a notebook."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import rich.console

from octnas.engine import progress
from octnas.engine.campaign import Campaign
from octnas.space import SearchSpace


def test_a_notebook_gets_plain_lines_and_no_display_of_its_own(
    unhurried: SearchSpace,
    make_campaign: Callable[..., Campaign],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as Jupyter's kernel has it
    with progress() as listener:
        campaign = make_campaign(unhurried, trials=2, listeners=(listener,))
        campaign.note("search run: 2 candidates", kind="begin")
        job = campaign.next_job()
        assert job is not None
        campaign.fail(job.id, "ValueError: [red]no[/red]")
    captured = capsys.readouterr()
    assert captured.err == ""  # Jupyter paints it as a fault
    first, second = captured.out.splitlines()
    assert first == "search run: 2 candidates"
    assert second.startswith("[1/3 0 s] trial 1 resnet18 ")
    assert "failed (ValueError: [red]no[/red])" in second
    assert "\x1b" not in captured.out
