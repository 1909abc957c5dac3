"""Which trials of a search keep their weights: members of the front, and what is still to be trained.

The best candidate is a member of the front. A trial that another beats loses its file as soon as the journal
has the other, so that a disk holds a front and what is under way, however many trials there were. A file that
cannot be removed is no reason to end a search.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from octnas.front.staircase import Staircase
from octnas.record import Objective, RunFolder, TrialRecord, TrialState
from octnas.storage import names_in, reason_of, remove
from octnas.train.files import STALE_SECONDS, drop_parts

__all__ = ["Kept"]

_LOOK_EVERY = 256
"""Trials that end between two looks for such files."""
_AT_ONCE = 4
"""Files of an object store that are removed at a time, beside the search."""
_PATIENCE = 30.0
"""Seconds that the end of a search waits for them."""
_SEED = ".seed"


class Kept:
    """The weights of a search.

    Args:
        run: its folder.
        limit: the most that a trial on the front costs by the objective: GFLOPs or ms.
        objective: of the search.
        records: its trials so far, by their ids; files that an earlier life left too many are removed.
    """

    def __init__(
        self, run: RunFolder, *, limit: float, objective: Objective, records: Mapping[str, TrialRecord]
    ) -> None:
        self.trouble: str | None = None
        """Why a file could not be removed, the first time; None where all could be."""
        self._run = run
        self._limit = limit
        self._objective: Objective = objective
        self._front = Staircase()
        self._ended = 0
        self._pool: ThreadPoolExecutor | None = None
        self._pending: set[Future[None]] = set()
        for record in records.values():
            self._beaten_by(record)
        self.sweep(records)

    def end(self, record: TrialRecord) -> tuple[TrialRecord, list[str]]:
        """Takes in a trial that is final.

        Returns:
            Its row, which names its weights where it keeps some, and the trials whose weights go: give them
            to `forget` when the journal has the row.
        """
        beaten = self._beaten_by(record)
        if record.id in beaten:
            return record, beaten
        path = self._run.checkpoint(record.id)
        with contextlib.suppress(Exception):  # a store that does not answer: the row names none
            if path.is_file():
                record = replace(record, checkpoint=f"checkpoints/{path.name}")
        return record, beaten

    def forget(self, *job_ids: str) -> None:
        """Removes the weights of trials, and of trainings that confirm, where there are any."""
        for job_id in job_ids:
            if isinstance(self._run.store, Path):
                self._remove(job_id)
                continue
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="octnas-kept")
            self._pending = {each for each in self._pending if not each.done()}
            self._pending.add(self._pool.submit(self._remove, job_id))
        self._ended += len(job_ids)
        if self._ended >= _LOOK_EVERY:
            self._ended = 0
            self._drop_parts(older_than=STALE_SECONDS)

    def sweep(self, records: Mapping[str, TrialRecord]) -> None:
        """Removes what the trials so far need not keep, and what killed writers left."""
        front = set(self._front)
        self._drop_parts(older_than=0)
        for name in self._names():
            job_id = name.removesuffix(".pt")
            trial_id, confirms, seed = job_id.partition(_SEED)
            record = records.get(trial_id)
            if record is None or job_id == name:
                continue  # of something else: a ranking, for instance
            if confirms:
                if seed in map(str, record.confirm_seeds):
                    self.forget(job_id)
            elif record.state.final and trial_id not in front:
                self.forget(job_id)

    def close(self, records: Mapping[str, TrialRecord]) -> None:
        """Sweeps once more, and waits for what is being removed, half a minute at most."""
        self.sweep(records)
        if self._pool is not None:
            wait(self._pending, timeout=_PATIENCE)
        self.leave()

    def leave(self) -> None:
        """Gives up what waits to be removed: else a store that does not answer would hold the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    # ---------------------------------------------------------------- inside
    def _beaten_by(self, record: TrialRecord) -> list[str]:
        """Final trials that are not on the front, from this one on: it itself, or members that it beats."""
        if not record.state.final:
            return []
        if record.state is not TrialState.COMPLETE or not record.within_budget:
            return [record.id]
        cost = record.cost(self._objective)
        if cost > self._limit:
            return [record.id]
        assert record.accuracy is not None  # `TrialRecord` sees to it
        beaten = self._front.add(record.id, cost, record.accuracy)
        return [record.id] if beaten is None else beaten

    def _remove(self, job_id: str) -> None:
        try:
            remove(self._run.checkpoint(job_id))
        except Exception as error:  # each client of a store has errors of its own
            self._complain(error)

    def _names(self) -> Iterable[str]:
        try:
            return names_in(self._run.store / "checkpoints")
        except Exception as error:
            self._complain(error)
            return ()

    def _drop_parts(self, *, older_than: float) -> None:
        """Removes half-written files of a folder; an object store has none."""
        store = self._run.store
        if not isinstance(store, Path):
            return
        for name in ("checkpoints", "supernets"):
            drop_parts(store / name, older_than=older_than)

    def _complain(self, error: Exception) -> None:
        where = self._run.store / "checkpoints"
        self.trouble = self.trouble or f"weights in {where} could not be removed: {reason_of(error)}"
