"""octnas as a user starts it: its command, the environment, and a search with what it answers and takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from process_tree import MemoryPeak, PeakSampler

__all__ = ["COMMAND", "Answer", "answer_of", "environment"]

COMMAND = (sys.executable, "-m", "octnas")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command with `--json` printed, and what it took."""

    document: dict[str, Any]
    seconds: float
    """Wall-clock from the start of the command to its end."""
    memory: MemoryPeak


def environment() -> dict[str, str]:
    """A user's: no octnas or MLflow settings of this shell; relative import paths still hold elsewhere."""
    values = {
        key: value for key, value in os.environ.items() if key not in ("OCTNAS_HOME", "MLFLOW_TRACKING_URI")
    }
    paths = [os.path.abspath(path) for path in values.get("PYTHONPATH", "").split(os.pathsep) if path]
    return values | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


def answer_of(arguments: Sequence[str], folder: Path) -> Answer:
    """Runs `octnas ... --json` in a folder, its progress on this script's standard error.

    Raises:
        SystemExit: it ended with another exit code than 0.
    """
    begin = time.perf_counter()
    process = subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=environment(), stdout=subprocess.PIPE)
    with PeakSampler(process.pid) as sampler:
        try:
            printed, _ = process.communicate()
        except KeyboardInterrupt:  # the search got it too, and writes down what it has
            process.wait()
            raise
    seconds = time.perf_counter() - begin
    if process.returncode != 0:
        raise SystemExit(
            f"`octnas {' '.join(arguments)}` ended with exit code {process.returncode}: nothing to report"
        )
    return Answer(document=json.loads(printed), seconds=seconds, memory=sampler.peak)
