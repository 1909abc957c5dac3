"""Stand-ins for training on the nodes of a cluster, which write down who trained what, and where."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fakes import score

from octnas.engine.evaluate import Report, TrialJob

LOG, NODE, SLOW, GATE = (f"CLUSTER_TEST_{name}" for name in ("LOG", "NODE", "SLOW", "GATE"))
EPOCH_SECONDS = 0.2


def steady(job: TrialJob, data: object, report: Report) -> None:
    """Some tenths of a second an epoch, each kept like a real checkpoint, and written down in a line.

    After one epoch a training waits until the gate, a file, is there: so a test sees who has begun, however
    slow the machine is, before it lets all go on.
    """
    done = int(job.checkpoint.read_text()) if job.checkpoint.is_file() else 0
    began = False
    for epoch in range(job.scored + 1, job.epochs + 1):
        if epoch > done:
            while began and not Path(os.environ[GATE]).exists():
                time.sleep(0.05)
            began = True
            time.sleep(EPOCH_SECONDS * float(os.environ.get(SLOW, "1")))
            job.checkpoint.write_text(str(epoch))
            _write(job.id, epoch)
        if not report(score(job, epoch)):
            return


def _write(job_id: str, epoch: int) -> None:
    line = {"id": job_id, "epoch": epoch, "node": os.environ.get(NODE, ""), "pid": os.getpid()}
    with Path(os.environ[LOG]).open("a", encoding="utf-8") as log:
        log.write(json.dumps({**line, "time": time.time()}) + "\n")


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch that was trained."""

    id: str
    epoch: int
    node: str
    pid: int
    time: float


def trained(log: Path) -> list[Epoch]:
    """All of them, in their order."""

    def read() -> Iterator[Epoch]:
        for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
            yield Epoch(**json.loads(line))

    return list(read())
