"""Pieces of a long measurement, each run in a worker process and kept in a file, so that it can go on."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

__all__ = ["Piece", "Row", "run_all", "stored"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece(ABC):
    """Something to run."""

    @property
    def key(self) -> str:
        """Equal for equal pieces."""
        return json.dumps([type(self).__name__, asdict(self)], sort_keys=True)

    @abstractmethod
    def run(self, work: Path) -> Row:
        """What was found; larger things lie in the folder `work`."""


def stored(path: Path) -> dict[str, Row]:
    """Rows of finished pieces by key; a line that was cut off is left out, and its piece done again."""
    rows: dict[str, Row] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            print(f"{path}: an incomplete line is left out")
            continue
        rows[row.pop("key")] = row
    return rows


def run_all(
    pieces: Sequence[Piece], *, store: Path, work: Path, processes: int, deadline: float, fresh: bool = False
) -> dict[str, Row]:
    """Runs what the store lacks, `processes` pieces at a time; all rows by key.

    Args:
        deadline: on the monotonic clock, in seconds; no piece begins later.
        fresh: whether each piece has a new process.
    """
    done = stored(store)
    waiting = [piece for piece in pieces if piece.key not in done]
    if not waiting:
        return done
    for folder in (store.parent, work):
        folder.mkdir(parents=True, exist_ok=True)
    running: dict[Future[Row], Piece] = {}
    workers = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), max_tasks_per_child=1 if fresh else None
    )
    with workers as pool, store.open("a", encoding="utf-8") as lines:
        while waiting or running:
            while waiting and len(running) < processes and time.monotonic() < deadline:
                piece = waiting.pop(0)
                running[pool.submit(piece.run, work)] = piece
            if not running:
                print(f"time is up: {len(waiting)} pieces are left for another run", flush=True)
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                piece, row = running.pop(future), future.result()
                done[piece.key] = row
                lines.write(json.dumps({"key": piece.key, **row}) + "\n")
                lines.flush()
                print(f"{type(piece).__name__}: {len(waiting) + len(running)} are left", flush=True)
    return done
