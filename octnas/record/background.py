"""BackgroundTracker: tracking that a search never waits for, and never fails by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from octnas.errors import TrackingError
from octnas.record.runs import SearchHeader
from octnas.record.tracking_store import retry_pause
from octnas.record.tracking_values import FrontReport
from octnas.record.trial import TrialRecord

if TYPE_CHECKING:
    from octnas.record.mlflow_adapter import Tracker

__all__ = ["BackgroundTracker"]

_LAST_PAUSE = 2.0
"""Seconds, at most, between the tries of a search that has ended and waits for its store."""


class BackgroundTracker:
    """Hands a search's records to a tracker in a thread of its own.

    Calls return at once. Of a trial that is waiting only the latest record is kept, so a slow store gets
    fewer updates rather than a longer queue. After a failure the search goes on: `warn` is called at the
    first one, what was not sent is kept, and it is tried again every `retry_seconds` (default `retry_pause`)
    and when the search ends; `warn` is called again if something is not there by then. The journal stays the
    truth: `sync` with its records makes the store equal to it.
    """

    def __init__(
        self,
        tracker: Tracker,
        header: SearchHeader,
        *,
        warn: Callable[[str], None],
        retry_seconds: float | None = None,
    ) -> None:
        self._tracker = tracker
        self._header = header
        self._warn = warn
        self._retry_seconds = retry_pause() if retry_seconds is None else retry_seconds
        self._changed = threading.Condition()
        self._trials: dict[str, TrialRecord] = {}
        self._report: FrontReport | None = None
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

    def log_front(self, report: FrontReport) -> None:
        """Queues the front in place of an older one."""
        with self._changed:
            self._report = report
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
        all files too; where it has not, `warn` has said so, whatever it had said before.
        """
        with self._changed:
            self._end = state
            self._retry_at = 0.0
            self._until = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout)
        late = self._thread.is_alive()
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
        return bool(self._trials or self._report or not self._started)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._may_send, self._patience())
                if not self._may_send():
                    continue
            try:
                if self._send_all():
                    with self._changed:
                        self._whole = True
                    return
            except Exception as error:  # nothing that happens here may end the search
                reason = " ".join(f"{error}".split()) or type(error).__name__
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

    def _may_send(self) -> bool:
        return (self._pending() or self._end is not None) and time.monotonic() >= self._retry_at

    def _patience(self) -> float | None:
        """Seconds until a retry, None: until something is queued."""
        return max(0.0, self._retry_at - time.monotonic()) if self._retry_at > time.monotonic() else None

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
        if report is not None:
            self._tracker.log_front(report)
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
