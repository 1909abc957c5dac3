"""The journal: one file of JSON lines that is the truth of a search.

Every append is flushed and synced before it returns, so a process killed at any instant loses at most the
line that it was writing. Order is the order of the lines, never a clock's. Each line is an object with the
key "event"; these are read here, all others are kept for whoever wrote them and skipped:

- {"event": "search", "schema_version": 1, "header": {...}}: the first line (`octnas.record.runs`)
- {"event": "trial", "trial": {...}}: a `TrialRecord` as it stood then; the last one of an id counts
- {"event": "score", "id": "3", "score": {...}}: one `EpochScore` of a trial that is under way
- {"event": "confirming", "id": "3", "seed": 1000}: one more training of a trial's architecture begins, to
  confirm a claim
- {"event": "confirm", "id": "3", "seed": 1000, "accuracy": 0.81, "test_accuracy": 0.8, "seconds": 41.2,
  "worker": "node-1/4711"}: it is done; without test images no "test_accuracy", "seconds" of its last epoch
- {"event": "unconfirmed", "id": "3", "seed": 1000, "reason": "..."}: it failed
- {"event": "end", "state": "complete" | "interrupted" | "failed"} and {"event": "resume"}

Of a search that begins with shared weights also these (`octnas.record.shared`), before any trial:

- {"event": "supernet-plan", "length": 2.0}: length of each supernet's training, in trainings of one proxy
- {"event": "supernet", "backbone": "resnet18", "score": {...}}: one `EpochScore` of a supernet
- {"event": "probes", "backbone": "resnet18", "epoch": 3, "points": [[0.41, 1.2], ...]}: shared accuracies and
  costs after the first part of a training, by which hopeless backbones are dropped
- {"event": "supernet-end", "backbone": "resnet18", "state": "complete" | "dropped" | "failed",
  "reason": null, "seconds": 93.1}: with "epochs" and "accuracy" where another run trained it
- {"event": "shared", "architecture": {...}, "accuracy": 0.41, "loss": 1.9, "gflops": 1.2}: one shared score,
  with "latency_ms" where latency is predicted; without an accuracy (null) it has a "reason" why there is none
- {"event": "predictor", ...}: what ranked the rest of the space, and how well (`octnas.engine.predictor`)

"time" (seconds since 1970) is added to each for people to read, and for pictures of who trained what when.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from octnas.errors import RunError
from octnas.record.trial import EpochScore, TrialRecord

__all__ = ["TRIAL_EVENTS", "Journal", "history", "replay"]

TRIAL_EVENTS = frozenset({"trial", "score", "confirming", "confirm", "unconfirmed"})
"""The events of trials: nearly all lines of a long journal."""

Event = dict[str, Any]

# A lock belongs to the open file, which a forked child shares: without this a data-loading child that
# outlives a killed search would go on holding the search's name.
_HELD: set[int] = set()


def _drop_inherited_locks() -> None:
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_drop_inherited_locks)


class Journal:
    """The journal file at `path`, with its lock file beside it (`lock` in the same folder).

    Reading needs no lock and changes nothing. A process that appends many lines takes the lock first with
    `acquire`; a single `append` takes it for itself where it is free.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock: int | None = None
        self._file: int | None = None

    # ---------------------------------------------------------------- reading
    def read(self) -> list[Event]:
        """All events. An unreadable last line is being written, or was when its writer died: it is left out.

        Raises:
            RunError: the file cannot be read, or a line that is not the last is damaged.
        """
        return list(self.events())

    def events(self) -> Iterator[Event]:
        """The same, one after the other: of a long search all at once take gigabytes.

        Raises:
            RunError: as `read`; a damaged line once it is reached.
        """
        return (event for event, _ in self._lines())

    def records(self) -> list[TrialRecord]:
        """The latest state of each trial, in the order in which they started; see `replay`."""
        return replay(self.events())

    def after(self, end: int) -> Iterator[tuple[Event, int]]:
        """Each event after the first `end` bytes, and where in the file its line ends, for who follows a
        search that runs.

        Raises:
            RunError: as `events`.
        """
        return self._lines(end)

    def _lines(self, end: int = 0) -> Iterator[tuple[Event, int]]:
        """Each event after `end`, and where in the file its line ends.

        What has no end of line yet is the last: a search that runs may be writing the other half just now.
        """
        damaged = 0
        try:
            with self.path.open("rb") as file:
                file.seek(end)
                for number, line in enumerate(file, start=1):
                    end += len(line)
                    if not line.strip():
                        continue
                    if damaged:  # and more has come since, or begins to
                        where = f"line {damaged} of {self.path}"
                        raise RunError(f"{where} is damaged; remove that line or `octnas delete` the run")
                    try:
                        event = json.loads(line.decode())
                    except ValueError:  # also what a line that is not UTF-8 raises
                        event = None
                    if isinstance(event, dict) and "event" in event:
                        yield event, end
                    else:
                        damaged = number
                    if not line.endswith(b"\n"):
                        return
        except OSError as error:
            raise RunError(f"cannot read {self.path}: {error.strerror}; permit reading it") from None

    # ---------------------------------------------------------------- lock
    @property
    def locked(self) -> bool:
        """Whether this object holds the lock."""
        return self._lock is not None

    @property
    def in_use(self) -> bool:
        """Whether any process, this one too, holds the lock."""
        try:
            probe = os.open(self.path.with_name("lock"), os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(probe)
        return False

    def acquire(self) -> None:
        """Takes the lock, so that this process alone writes.

        Raises:
            RunError: another process holds it, or the folder cannot be written.
        """
        if self._lock is not None:
            return
        path = self.path.with_name("lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _unwritable(path, error) from None
        try:
            _lock_soon(lock)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(lock)
            raise RunError(
                f"{self.path.parent.name!r} is in use by {holder}; wait for it or choose another --name"
            ) from None
        except OSError as error:
            os.close(lock)
            raise _unwritable(path, error) from None
        self._lock = lock
        _HELD.add(lock)

    def release(self) -> None:
        """Gives the lock back and closes the file; harmless where neither is held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._lock is not None:
            _HELD.discard(self._lock)
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[Journal]:
        """`acquire` on entry and `release` on exit, unless the lock was held already."""
        held = self.locked
        self.acquire()
        try:
            yield self
        finally:
            if not held:
                self.release()

    # ---------------------------------------------------------------- writing
    def append(self, event: Mapping[str, Any]) -> None:
        """Writes one event as a line and syncs it to the disk before returning.

        Raises:
            RunError: another process holds the lock, or the disk refuses (full, read-only).
            ValueError: a number is NaN or infinite; nothing is written.
        """
        line = json.dumps({**event, "time": round(time.time(), 3)}, allow_nan=False, separators=(",", ":"))
        with self.exclusive():
            descriptor = self._open_for_append()
            before = os.lseek(descriptor, 0, os.SEEK_END)
            try:
                _write_all(descriptor, line.encode() + b"\n")
                os.fsync(descriptor)
            except OSError as error:
                # Half a line must not be there when the next append comes; truncating needs no space.
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise _unwritable(self.path, error) from None

    def append_trial(self, record: TrialRecord) -> None:
        """Writes a trial as it stands now."""
        self.append({"event": "trial", "trial": record.to_dict()})

    def append_score(self, trial_id: str, score: EpochScore) -> None:
        """Writes one epoch's score of a trial; a non-finite number is a `ValueError`."""
        self.append({"event": "score", "id": trial_id, "score": score.to_dict()})

    def append_confirmation(self, trial_id: str, seed: int, score: EpochScore) -> None:
        """Writes the last score of one more training of a trial's architecture."""
        told = {"test_accuracy": score.test_accuracy, "worker": score.worker}
        self.append(
            {
                "event": "confirm",
                "id": trial_id,
                "seed": seed,
                "accuracy": score.accuracy,
                **{key: value for key, value in told.items() if value is not None},
                "seconds": round(score.seconds, 3),
            }
        )

    def _open_for_append(self) -> int:
        if self._file is None:
            try:
                good = 0
                if self.path.exists():
                    good = max((end for _, end in self._lines()), default=0)
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                os.ftruncate(descriptor, good)
                if good and os.pread(descriptor, 1, good - 1) != b"\n":
                    os.write(descriptor, b"\n")
            except OSError as error:
                raise _unwritable(self.path, error) from None
            self._file = descriptor
        return self._file


def replay(events: Iterable[Event]) -> list[TrialRecord]:
    """The latest state of each trial id, in the order of their first lines.

    Scores that came after a trial's last line are added to it, so that a trial which was under way when the
    driver died is running, with all its scores.
    """
    records: dict[str, TrialRecord] = {}
    for record in history(events):
        records[record.id] = record
    return list(records.values())


def history(events: Iterable[Event]) -> Iterator[TrialRecord]:
    """Each trial as it stood after each line about it, in the order of the lines.

    Everything that a search decides from (who was asked for when, what was known by then) follows from it.
    """
    records: dict[str, TrialRecord] = {}
    for event in events:
        record: TrialRecord | None = None
        if event["event"] == "trial":
            known = records.get(event["trial"].get("id"))
            record = TrialRecord.from_dict(
                event["trial"], known=None if known is None else known.architecture
            )
            if known and not record.scores and known.scores:
                record = _with_scores(record, known.scores)
        elif event["event"] == "score":
            known = records.get(event["id"])
            if known and not known.state.final:
                record = known.with_score(EpochScore.from_dict(event["score"]))
        elif event["event"] == "confirm":
            known = records.get(event["id"])
            if known:
                record = known.with_seed(event["seed"], event["accuracy"], event.get("test_accuracy"))
        if record is not None:
            records[record.id] = record
            yield record


def _with_scores(record: TrialRecord, scores: Iterable[EpochScore]) -> TrialRecord:
    if record.state.final:
        return TrialRecord.from_dict({**record.to_dict(), "scores": [score.to_dict() for score in scores]})
    for score in scores:
        record = record.with_score(score)
    return record


def _lock_soon(descriptor: int) -> None:
    """Locks, trying for a tenth of a second: `in_use` of another process holds the file for an instant."""
    for _ in range(5):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.02)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(
        f"cannot write {path}: {error.strerror}; free space or permit writing there, or set OCTNAS_HOME"
    )
