"""A store with a small search in it, made without training, and `octnas dashboard` over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from octnas.front import SearchResult
from octnas.front.report import front_report
from octnas.record import RunFolder
from octnas.record.mlflow_adapter import Tracker
from octnas.record.mlflow_system import Sample

__all__ = ["dashboard", "stored"]


def stored(result: SearchResult, folder: Path) -> None:
    """The search in `folder`, where octnas was started: its run folder and mlflow.db."""
    uri = f"sqlite:///{folder}/mlflow.db"
    header = replace(result.header, tracking_uri=uri, created="2026-11-01T10:15:00.000000+00:00")
    run = RunFolder.create(header.name, header)
    tracker = Tracker(uri)
    tracker.start_search(run.header)
    for record in result.records:
        run.journal.append_trial(record)
        tracker.log_trial(record)
    run.journal.release()
    links = tracker.links
    assert links is not None
    tracker.log_front(front_report(replace(result, header=run.header), links))
    links.keep(run.path)
    start = int(1000 * time.time())
    tracker.log_samples(
        Sample(start + 10_000 * number, {"system/cpu_utilization_percentage": 90.0 + number})
        for number in range(5)
    )
    tracker.finish("complete")


@contextmanager
def dashboard(folder: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """What `octnas dashboard --json` says while it runs; it must end by Ctrl-C with 0 and leave nothing."""
    process = subprocess.Popen(
        [sys.executable, "-m", "octnas", "dashboard", *arguments, "--no-browser", "--json"],
        cwd=folder,
        env={**os.environ, "OCTNAS_HOME": str(folder / "octnas-runs")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, process.communicate(timeout=60)
        yield json.loads(line)
    finally:
        process.terminate()  # as Ctrl-C, which a process in the background may ignore
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
