"""The view of a search on the screen of a terminal: drawn in place, below the lines that stay."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import fakes
import pytest
from screen_case import Screen

from octnas.engine import progress
from octnas.engine.campaign import Campaign
from octnas.engine.display_live import LiveView
from octnas.engine.events import SearchEvent
from octnas.space import SearchSpace

MakeCampaign = Callable[..., Campaign]


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The view's thread draws nothing: the test does."""
    monkeypatch.setattr(LiveView, "_draw_often", lambda self: None)


def _search(campaign: Campaign, view: LiveView) -> None:
    """A search of one trial that ends and one that fails; drawn after each step."""
    view._draw()
    campaign.note("search run: 2 candidates", kind="begin")
    job = campaign.next_job()
    assert job is not None
    for epoch in range(1, 10):
        campaign.report(job.id, fakes.score(job, epoch, accuracy=epoch / 10))
        view._draw()
    other = campaign.next_job()
    assert other is not None
    view._draw()
    campaign.fail(other.id, "ValueError: [red]no[/red]")
    campaign.note("the store is behind")
    view._draw()


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (50, 24), (100, 10)])
def test_the_view_stands_below_what_ended_and_goes_away(
    unhurried: SearchSpace, make_campaign: MakeCampaign, columns: int, rows: int
) -> None:
    screen = Screen(columns, rows)
    with progress(screen.console) as listener:
        assert isinstance(listener, LiveView)
        _search(make_campaign(unhurried, trials=2, listeners=(listener,)), listener)
        during = [*screen.scrolled, *screen.lines]
        assert screen.cursor_hidden
    kept = " ".join(line.strip() for line in [*screen.scrolled, *screen.lines])
    assert re.sub(r"\d\.\d{3}", "G", kept) == (
        "search run: 2 candidates trial 1 resnet18 G GFLOPs: complete, accuracy 90.00 %, 0 s "
        "trial 2 resnet26 G GFLOPs: failed (ValueError: [red]no[/red]), 0 s "
        "the store is behind"
    )
    assert not screen.cursor_hidden
    (bar,) = [line for line in during if re.search(r"[━─] 2/3 0:00:0\d", line)]
    if columns >= 60 and rows >= 16:
        assert any(line.startswith("best 90.00 % at ") for line in during)
        assert sum("★" in line for line in during) == 2  # the mark and its key: one chart, not two
    else:
        assert "best 90.00 %" in bar or columns < 60


@pytest.mark.usefixtures("by_hand")
def test_no_line_of_a_long_search_is_lost_or_written_twice(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    screen = Screen(80, 24)
    with progress(screen.console) as listener:
        assert isinstance(listener, LiveView)
        campaign = make_campaign(unhurried, trials=40, listeners=(listener,))
        while (job := campaign.next_job()) is not None:
            fakes.instant(job, None, lambda score, job=job: campaign.report(job.id, score))  # type: ignore[misc]
            listener._draw()
            assert len(screen.lines) <= 24
    kept = [*screen.scrolled, *screen.lines]
    ended = [int(line.split()[1]) for line in kept if line.startswith("trial ")]
    assert ended == [int(record.id) for record in campaign.records]
    assert len(ended) > 40
    assert not any("┊" in line or "running" in line for line in kept)


@pytest.mark.usefixtures("by_hand")
def test_what_did_not_change_is_not_drawn_again(unhurried: SearchSpace, make_campaign: MakeCampaign) -> None:
    screen = Screen(80, 24)
    with progress(screen.console) as listener:
        assert isinstance(listener, LiveView)
        make_campaign(unhurried, trials=2, listeners=(listener,)).note("begun", kind="begin")
        listener._last = listener._last[0], time.monotonic() + 3600  # its clock stands still
        listener._draw()
        drawn = len(screen.looks)
        for _ in range(5):
            listener._draw()
        assert len(screen.looks) == drawn
        screen.resize(100, 30)
        listener._draw()
        assert len(screen.looks) > drawn


@pytest.mark.usefixtures("by_hand")
def test_a_terminal_that_grows_gets_a_larger_view(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    screen = Screen(70, 18)
    with progress(screen.console) as listener:
        assert isinstance(listener, LiveView)
        campaign = make_campaign(unhurried, trials=2, listeners=(listener,))
        job = campaign.next_job()
        assert job is not None
        for epoch in range(1, 10):
            campaign.report(job.id, fakes.score(job, epoch, accuracy=epoch / 10))
        listener._draw()
        small = len(screen.lines)
        screen.resize(120, 40)
        listener._draw()
        assert len(screen.lines) > small
        assert sum("★" in line for line in screen.lines) == 2


@pytest.mark.usefixtures("by_hand")
def test_lines_that_a_narrower_terminal_folds_are_taken_away() -> None:
    screen = Screen(120, 30)
    view = LiveView(screen.console)
    view._widths = [120, 0, 61, 60]  # 60 columns fold them into 2 + 1 + 2 + 1 rows
    moved: list[str] = []
    screen.write = lambda text: moved.append(text) or len(text)  # type: ignore[method-assign]
    view._fold(60)
    assert "".join(moved).count("\x1b[1A") == 2
    moved.clear()
    view._fold(120)
    assert moved == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_a_clean_terminal(
    unhurried: SearchSpace, make_campaign: MakeCampaign, error: type[BaseException]
) -> None:
    screen = Screen(80, 24)
    with contextlib.suppress(error), progress(screen.console) as listener:
        campaign = make_campaign(unhurried, trials=2, listeners=(listener,))
        campaign.note("search run: 2 candidates", kind="begin")
        campaign.next_job()
        raise error
    assert screen.lines == ["search run: 2 candidates"]
    assert not screen.cursor_hidden
    assert not [each for each in threading.enumerate() if each.name == "octnas-display"]


def test_the_view_draws_itself_a_few_times_a_second(
    unhurried: SearchSpace, make_campaign: MakeCampaign
) -> None:
    screen = Screen(80, 24)
    seen: SearchEvent | None = None

    def keep(event: SearchEvent) -> None:
        nonlocal seen
        seen = event

    make_campaign(unhurried, trials=2, listeners=(keep,)).note("begun", kind="begin")
    assert seen is not None
    with progress(screen.console) as listener:
        listener(seen)
        deadline = time.monotonic() + 60
        while "begun" not in screen.lines and time.monotonic() < deadline:
            time.sleep(0.01)
        for number in range(2000):  # far more than there are looks
            listener(replace(seen, kind="score", finished=number))
    assert len(screen.looks) < 200
