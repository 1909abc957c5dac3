"""BackgroundTracker: tracking that a search never waits for, and never fails by."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from octnas.errors import TrackingError
from octnas.record.links import RunLinks
from octnas.record.mlflow_system import Sample
from octnas.record.pace import Pace
from octnas.record.runs import SearchHeader
from octnas.record.tracking_store import retry_pause
from octnas.record.tracking_values import FrontReport
from octnas.record.trial import TrialRecord

if TYPE_CHECKING:
    from octnas.record.mlflow_adapter import Tracker

__all__ = ["BackgroundTracker", "Draw"]

Draw = Callable[[RunLinks | None], FrontReport]
"""Makes what a search shows of its front as it stands, with links to the runs that the store has so far."""

_SAMPLES = 1000
"""Of this machine, that wait for a store at most; the oldest go first."""

_LAST_PAUSE = 2.0
"""Seconds, at most, between the tries of a search that has ended and waits for its store."""


class BackgroundTracker:
    """Hands a search's records to a tracker in a thread of its own.

    Calls return at once. Of a trial that is waiting only the latest record is kept, so a slow store gets
    fewer updates rather than a longer queue. After a failure the search goes on: `warn` is called at the
    first one, what was not sent is kept, and it is tried again every `retry_seconds` (default `retry_pause`)
    and when the search ends; `warn` is called again if something is not there by then. The journal stays the
    truth: `sync` with its records makes the store equal to it.

    What shows the front (`refresh`) is drawn in the thread as well: at `pace` while the search goes on, also
    where the store is away, and once at its end.
    """

    def __init__(
        self,
        tracker: Tracker,
        header: SearchHeader,
        *,
        warn: Callable[[str], None],
        retry_seconds: float | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._tracker = tracker
        self._header = header
        self._warn = warn
        self._retry_seconds = retry_pause() if retry_seconds is None else retry_seconds
        self._changed = threading.Condition()
        self._trials: dict[str, TrialRecord] = {}
        self._pace = pace or Pace()
        self._draw: Draw | None = None
        self._drawn: tuple[Draw, RunLinks | None] | None = None
        self._undrawn = False
        self._report: FrontReport | None = None
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES)
        self._end: str | None = None
        self._started = False
        self._warned = False
        self._whole = False
        self._reason = ""
        self._retry_at = 0.0
        self._until = 0.0
        self._thread = threading.Thread(target=self._work, name="octnas-tracking", daemon=True)
        self._thread.start()

    @property
    def unsent(self) -> tuple[str, ...]:
        """Ids of the trials whose latest record the store does not have yet."""
        with self._changed:
            return tuple(self._trials)

    def log_trial(self, record: TrialRecord) -> None:
        """Queues a trial's record in place of an older one."""
        with self._changed:
            self._trials[record.id] = record
            self._changed.notify_all()

    def refresh(self, draw: Draw) -> None:
        """Says that the front may look different; `draw` is called in the thread, when it is time.

        A failure of it is a warning, once, and never the search's.
        """
        with self._changed:
            known, self._draw = self._draw is not None, draw
            if not known:
                self._changed.notify_all()

    def log_sample(self, sample: Sample) -> None:
        """Queues what this machine does."""
        with self._changed:
            self._samples.append(sample)
            self._changed.notify_all()

    def sync(self, records: Iterable[TrialRecord]) -> None:
        """Queues all records; those that the store shows already cost no call."""
        for record in records:
            self.log_trial(record)

    def flush(self, timeout: float) -> bool:
        """Waits until everything queued is in the store, at most `timeout` seconds; whether it is."""
        until = time.monotonic() + timeout
        with self._changed:
            self._retry_at = 0.0
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._pending(), max(0.0, until - time.monotonic()))

    def close(self, state: str, timeout: float = 60.0) -> bool:
        """Sends what is left and closes the search's run as "complete", "interrupted" or "failed".

        A store that is away is waited for, at most `timeout` seconds. Whether it has everything, the end and
        all files too; where it has not, `warn` has said so, whatever it had said before. The front is drawn
        either way.
        """
        with self._changed:
            self._end = state
            self._retry_at = 0.0
            self._until = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout)
        late = self._thread.is_alive()
        self._draw_front()  # where the thread still waits for the store, or has given it up
        with self._changed:
            if self._whole:
                return True
            reason = f"it did not take the records within {timeout:.0f} s" if late else self._reason
            still, self._warned = "still " if self._warned else "", True
        self._warn(
            f"tracking is {still}behind at the end of the search, whose journal is whole: {reason}; "
            f"`octnas resume {self._header.name}` brings it up to date"
        )
        return False

    # ---------------------------------------------------------------- the thread
    def _pending(self) -> bool:
        return bool(self._trials or self._report or self._samples or not self._started)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._may_draw() or self._may_send(), self._patience())
                draws = self._may_draw()
            if draws:
                self._draw_front()
            with self._changed:
                if not self._may_send():
                    continue
            try:
                if self._send_all():
                    with self._changed:
                        self._whole = True
                    return
            except Exception as error:  # nothing that happens here may end the search
                reason = _reason(error)
                with self._changed:
                    self._reason = reason
                    pause = self._retry_seconds
                    if self._end is not None:
                        pause = min(pause, _LAST_PAUSE)
                        away = isinstance(error, TrackingError) and error.away
                        if not away or time.monotonic() + pause > self._until:
                            return  # `close` tells
                    self._retry_at = time.monotonic() + pause
                self._complain(reason)

    def _may_draw(self) -> bool:
        """Whether the front is drawn now; at the end that comes after the last trials are sent."""
        return self._draw is not None and self._end is None and not self._pace.left

    def _may_send(self) -> bool:
        return (self._pending() or self._end is not None) and time.monotonic() >= self._retry_at

    def _patience(self) -> float | None:
        """Seconds until a retry or until the front is drawn again, None: until something is queued."""
        waits = [self._retry_at - time.monotonic()] if self._retry_at > time.monotonic() else []
        if self._draw is not None and self._end is None:
            waits.append(self._pace.left)
        return min(waits) if waits else None

    def _draw_front(self) -> None:
        """Draws the front, if it may look different, and queues it in place of an older one."""
        with self._changed:
            draw, self._draw = self._draw, None
        if draw is None:
            return
        links = self._tracker.links
        self._drawn = (draw, links)
        self._pace.begin()
        try:
            report = draw(links)
        except Exception as error:  # whatever a page meets, what was measured is in the journal
            with self._changed:
                warned, self._undrawn = self._undrawn, True
            if not warned:
                self._warn(f"the front could not be drawn, the search goes on: {_reason(error)}")
        else:
            with self._changed:
                self._report = report
        self._pace.end()

    def _send_all(self) -> bool:
        """Sends what is queued; whether the search's run is closed."""
        if not self._started:
            self._tracker.start_search(self._header)
            with self._changed:
                self._started = True
                self._changed.notify_all()
        while True:
            with self._changed:
                if not self._trials:
                    report, end = self._report, self._end
                    break
                waiting = tuple(self._trials.values())
            self._send_trials(waiting)
        if end is not None:
            if self._drawn is not None and self._drawn[1] != self._tracker.links:
                self.refresh(self._draw or self._drawn[0])  # trials have got their runs since
            self._draw_front()
            with self._changed:
                report = self._report
        with self._changed:
            samples = tuple(self._samples)
        if samples:
            self._tracker.log_samples(samples)
            with self._changed:
                while self._samples and self._samples[0].at <= samples[-1].at:
                    self._samples.popleft()
        if report is not None:
            self._pace.go_on()
            self._tracker.log_front(report)
            self._pace.end()
            with self._changed:
                if self._report is report:
                    self._report = None
                self._changed.notify_all()
        if end is not None:
            self._tracker.finish(end)
        self._tracker.settle()  # last: what it may lack are files, and a run without them is a whole one
        return end is not None

    def _send_trials(self, records: Iterable[TrialRecord]) -> None:
        """Sends records; one that the store refuses does not hold up the next, two in a row end it."""
        refusal: Exception | None = None
        refused_last = False
        for record in records:
            try:
                self._tracker.log_trial(record)
            except Exception as error:
                refusal = refusal or error
                if refused_last:
                    break
                refused_last = True
                continue
            refused_last = False
            with self._changed:
                if self._trials.get(record.id) is record:
                    del self._trials[record.id]
                self._changed.notify_all()
        if refusal is not None:
            raise refusal

    def _complain(self, reason: str) -> None:
        with self._changed:
            warned, self._warned = self._warned, True
        if not warned:
            self._warn(f"tracking is behind, the search goes on and its journal is whole: {reason}")


def _reason(error: Exception) -> str:
    return " ".join(f"{error}".split()) or type(error).__name__
