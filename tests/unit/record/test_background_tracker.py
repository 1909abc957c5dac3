from __future__ import annotations

import threading

from record_case import complete, header, running, score

from octnas.errors import TrackingError
from octnas.record import FrontReport, SearchHeader, TrialRecord
from octnas.record.background import BackgroundTracker
from octnas.record.links import RunLinks
from octnas.record.pace import Pace

REPORT = FrontReport(note="n", hypervolume=0.4, front_size=1, finished=2, files={})


class Store:
    """A tracker that keeps what it is told, waits while `gate` is closed, and fails while `broken`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.refused: set[str] = set()
        self.away = False
        self.files_refused = False
        self.end_refused = False
        self.calls: list[object] = []
        self.started = False

    @property
    def links(self) -> RunLinks | None:
        if not self.started:
            return None
        trials = {each.id: f"run{each.id}" for each in self.calls if isinstance(each, TrialRecord)}
        return RunLinks(uri="sqlite:///x.db", experiment_id="1", run_id="run", trials=trials)

    def _take(self, call: object) -> None:
        assert self.gate.wait(30)
        if self.broken:
            error = TrackingError("the server is away")
            error.away = self.away
            raise error
        self.calls.append(call)

    def start_search(self, header: SearchHeader) -> str:
        self._take(f"start {header.name}")
        self.started = True
        return "run"

    def log_trial(self, record: TrialRecord) -> None:
        if record.id in self.refused:
            raise TrackingError("no such record")
        self._take(record)

    def log_front(self, report: FrontReport) -> None:
        self._take(report)

    def finish(self, state: str) -> None:
        if self.end_refused:
            raise TrackingError("the server is gone")
        self._take(f"finish {state}")

    def settle(self) -> None:
        if self.files_refused:
            raise TrackingError("no file is taken")


BEHIND = "tracking is behind, the search goes on and its journal is whole: "


def _at_the_end(reason: str, *, still: bool) -> str:
    return (
        f"tracking is {'still ' if still else ''}behind at the end of the search, whose journal is whole: "
        f"{reason}; `octnas resume first` brings it up to date"
    )


def _background(store: Store, warnings: list[str], retry_seconds: float = 30.0) -> BackgroundTracker:
    return BackgroundTracker(store, header(), warn=warnings.append, retry_seconds=retry_seconds)  # type: ignore[arg-type]


def test_everything_arrives_in_order() -> None:
    store, warnings = Store(), []
    tracker = _background(store, warnings)
    tracker.log_trial(complete("1"))
    assert tracker.flush(30)
    tracker.refresh(lambda links: REPORT)
    assert tracker.close("complete")
    assert store.calls == ["start first", complete("1"), REPORT, "finish complete"]
    assert warnings == []


def test_a_slow_store_delays_nobody_and_gets_only_the_latest_record() -> None:
    store, warnings = Store(), []
    store.gate.clear()
    tracker = _background(store, warnings)
    record = running("1")
    for epoch in range(1, 50):
        record = record.with_score(score(epoch, epoch / 100))
        tracker.log_trial(record)
    tracker.log_trial(complete("2"))
    assert tracker.unsent == ("1", "2")
    assert not tracker.flush(0.05)
    store.gate.set()
    assert tracker.close("complete")
    assert store.calls == ["start first", record, complete("2"), "finish complete"]


def test_a_failing_store_is_one_warning_and_nothing_is_lost() -> None:
    store, warnings = Store(), []
    store.broken = True
    tracker = _background(store, warnings, retry_seconds=0.01)
    tracker.log_trial(complete("1"))
    tracker.log_trial(complete("2"))
    assert not tracker.flush(0.3)
    assert warnings == [BEHIND + "the server is away"]
    assert tracker.unsent == ("1", "2")
    store.broken = False
    assert tracker.flush(30)
    assert store.calls == ["start first", complete("1"), complete("2")]
    assert tracker.close("interrupted")
    assert store.calls[-1] == "finish interrupted"
    assert len(warnings) == 1


def test_a_record_that_is_refused_does_not_hold_up_the_others() -> None:
    store, warnings = Store(), []
    store.refused = {"1"}
    tracker = _background(store, warnings)
    tracker.sync([complete("1"), complete("2"), complete("3")])
    assert not tracker.flush(0.3)
    assert not tracker.close("complete", timeout=30)
    assert [call for call in store.calls if not isinstance(call, str)] == [complete("2"), complete("3")]
    assert tracker.unsent == ("1",)
    assert warnings == [BEHIND + "no such record", _at_the_end("no such record", still=True)]


def test_a_store_that_fails_to_the_end_ends_with_what_was_not_sent() -> None:
    store, warnings = Store(), []
    store.broken = True
    tracker = _background(store, warnings)
    tracker.sync([complete("1"), complete("2")])
    assert not tracker.flush(0.3)
    assert not tracker.close("complete", timeout=30)
    assert tracker.unsent == ("1", "2")
    assert warnings == [BEHIND + "the server is away", _at_the_end("the server is away", still=True)]


def test_an_end_that_the_store_does_not_take_is_told_though_it_had_failed_before() -> None:
    store, warnings = Store(), []
    store.broken = True
    tracker = _background(store, warnings, retry_seconds=0.01)
    tracker.log_trial(complete("1"))
    assert not tracker.flush(0.3)
    store.broken = False
    assert tracker.flush(30)
    store.end_refused = True
    assert not tracker.close("complete", timeout=30)
    assert warnings == [BEHIND + "the server is away", _at_the_end("the server is gone", still=True)]


def test_an_end_that_alone_is_not_taken_is_told() -> None:
    store, warnings = Store(), []
    store.end_refused = True
    tracker = _background(store, warnings)
    tracker.log_trial(complete("1"))
    assert tracker.flush(30)
    assert not tracker.close("complete", timeout=30)
    assert warnings == [_at_the_end("the server is gone", still=False)]


def test_a_search_that_ends_waits_for_a_store_that_is_away() -> None:
    store, warnings = Store(), []
    store.broken = store.away = True
    tracker = _background(store, warnings, retry_seconds=0.01)
    tracker.log_trial(complete("1"))
    threading.Timer(0.2, lambda: setattr(store, "broken", False)).start()
    assert tracker.close("complete", timeout=30)
    assert store.calls == ["start first", complete("1"), "finish complete"]
    assert len(warnings) == 1


def test_it_waits_no_longer_than_it_was_told() -> None:
    store, warnings = Store(), []
    store.broken = store.away = True
    tracker = _background(store, warnings, retry_seconds=0.01)
    tracker.log_trial(complete("1"))
    assert not tracker.close("complete", timeout=0.3)
    assert tracker.unsent == ("1",)
    assert warnings[0] == BEHIND + "the server is away"
    assert warnings[1:] in (
        [_at_the_end("the server is away", still=True)],
        [_at_the_end("it did not take the records within 0 s", still=True)],
    )


def test_files_that_are_refused_hold_up_neither_trials_nor_the_end() -> None:
    store, warnings = Store(), []
    store.files_refused = True
    tracker = _background(store, warnings, retry_seconds=0.01)
    tracker.sync([complete("1"), complete("2"), complete("3")])
    tracker.refresh(lambda links: REPORT)
    assert tracker.flush(30)
    assert not tracker.close("complete", timeout=30)
    assert store.calls == [
        "start first",
        complete("1"),
        complete("2"),
        complete("3"),
        REPORT,
        "finish complete",
    ]
    assert warnings[-1].startswith("tracking is ")
    assert warnings[-1].endswith(": no file is taken; `octnas resume first` brings it up to date")
    assert len(warnings) <= 2


class Clock:
    """Seconds that pass only where a test says so; `at` is read by the thread as well."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


class Drawing:
    """Draws a report that takes `seconds` of the clock, and keeps when, where and with which links."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.clock = clock
        self.seconds = seconds
        self.began: list[float] = []
        self.threads: list[str] = []
        self.links: list[RunLinks | None] = []
        self.done = threading.Semaphore(0)
        self.fails = False

    def __call__(self, links: RunLinks | None) -> FrontReport:
        self.began.append(self.clock.at)
        self.threads.append(threading.current_thread().name)
        self.links.append(links)
        self.clock.at += self.seconds
        self.done.release()
        if self.fails:
            raise ValueError("no ink")
        return REPORT


def _drawing(
    store: Store, warnings: list[str], *, seconds: float = 0.0
) -> tuple[BackgroundTracker, Drawing, Clock]:
    clock = Clock()
    pace = Pace(30.0, first=5.0, clock=clock)
    tracker = BackgroundTracker(
        store,  # type: ignore[arg-type]
        header(),
        warn=warnings.append,
        retry_seconds=0.01,
        pace=pace,
    )
    return tracker, Drawing(clock, seconds), clock


def _woken(tracker: BackgroundTracker, drawing: Drawing, clock: Clock, at: float) -> bool:
    """Whether the thread draws when the clock shows `at` and something has changed."""
    clock.at = at
    tracker.log_trial(running("9", loss=at))  # wakes the thread, which looks at the clock
    tracker.refresh(drawing)
    drawn = drawing.done.acquire(timeout=0.3)
    assert tracker.flush(30)
    return drawn


def test_the_front_is_drawn_in_the_thread_at_most_every_30_seconds() -> None:
    store, warnings = Store(), []
    tracker, drawing, clock = _drawing(store, warnings, seconds=1.0)
    assert not _woken(tracker, drawing, clock, 104.9)
    assert _woken(tracker, drawing, clock, 105.0)
    assert not _woken(tracker, drawing, clock, 135.9)  # 30 s after the end of the first
    assert _woken(tracker, drawing, clock, 136.0)
    assert drawing.began == [105.0, 136.0]
    assert set(drawing.threads) == {"octnas-tracking"}
    assert tracker.close("complete")
    assert [call for call in store.calls if call is REPORT] == [REPORT] * 2
    assert warnings == []


def test_a_front_that_is_slow_to_draw_is_drawn_in_a_twentieth_of_the_time() -> None:
    store, warnings = Store(), []
    tracker, drawing, clock = _drawing(store, warnings, seconds=10.0)
    assert _woken(tracker, drawing, clock, 105.0)
    assert not _woken(tracker, drawing, clock, 115.0 + 199.0)
    assert _woken(tracker, drawing, clock, 115.0 + 200.0)
    assert tracker.close("complete")


def test_nothing_is_drawn_where_nothing_changed() -> None:
    store, warnings = Store(), []
    tracker, drawing, clock = _drawing(store, warnings)
    assert _woken(tracker, drawing, clock, 105.0)
    clock.at = 1000.0
    tracker.log_trial(running("9"))
    assert tracker.flush(30)
    assert not drawing.done.acquire(timeout=0.2)
    tracker.close("complete")
    assert drawing.began[1:] in ([], [1000.0])  # again at the end, where its first links lacked a trial


def test_the_end_draws_once_more_whatever_the_time_with_links_to_all_trials() -> None:
    store, warnings = Store(), []
    tracker, drawing, clock = _drawing(store, warnings)
    assert _woken(tracker, drawing, clock, 105.0)
    tracker.refresh(drawing)
    tracker.log_trial(complete("1"))
    assert tracker.close("complete")
    assert drawing.began == [105.0, 105.0]
    assert drawing.links[-1] is not None
    assert drawing.links[-1].trials == {"9": "run9", "1": "run1"}
    assert store.calls[-2:] == [REPORT, "finish complete"]


def test_the_front_is_drawn_while_the_store_is_away_and_at_the_end() -> None:
    store, warnings = Store(), []
    store.broken = store.away = True
    tracker, drawing, clock = _drawing(store, warnings)
    tracker.refresh(drawing)
    clock.at = 105.0
    tracker.log_trial(complete("1"))
    assert drawing.done.acquire(timeout=30)
    tracker.refresh(drawing)
    assert not tracker.close("complete", timeout=0.3)
    assert len(drawing.began) == 2
    assert drawing.links == [None, None]


def test_a_front_that_cannot_be_drawn_is_one_warning() -> None:
    store, warnings = Store(), []
    tracker, drawing, clock = _drawing(store, warnings)
    drawing.fails = True
    assert _woken(tracker, drawing, clock, 105.0)
    assert _woken(tracker, drawing, clock, 140.0)
    tracker.refresh(drawing)
    assert tracker.close("complete")
    assert warnings == ["the front could not be drawn, the search goes on: no ink"]
    assert store.calls[-1] == "finish complete"
    assert REPORT not in store.calls
