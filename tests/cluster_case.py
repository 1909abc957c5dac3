"""A search on a cluster, run as a process of its own, and what must hold of it whatever broke."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cluster_fakes import GATE, LOG, Epoch, trained
from clusters import SETTINGS, LocalCluster, wait_for
from fault_table import tell
from PIL import Image
from stand_ins import TINY_SPACE

from octnas.counted import counted
from octnas.record import Journal, TrialRecord, TrialState

TESTS = Path(__file__).parent
SPACE = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 9, rungs: {eta: 3, min_epochs: 1}}\n"
EVALUATE = "cluster_fakes:steady"

DRIVER = """
import importlib, json, sys
from octnas import engine
from octnas.errors import Interrupted, OctnasError

options = json.loads(sys.argv[1])
name = options.pop("evaluate", None)
if name is not None:
    module, _, function = name.partition(":")
    options["evaluate"] = getattr(importlib.import_module(module), function)
how = options.pop("how", "search")
if "memory_limit" in options:  # bytes above which images are read from their files as they are needed
    from octnas.data.load_clips import load_data
    load_data.__kwdefaults__["memory_limit"] = options.pop("memory_limit")
say = lambda event: event.text and print(event.text, file=sys.stderr, flush=True)
try:
    result = getattr(engine, how)(**options, listener=say)
except OctnasError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
print(json.dumps(result.to_dict()))
"""


@dataclass(kw_only=True)
class Place:
    """A working directory with its runs, its store and the log of what was trained."""

    folder: Path
    tracking_uri: str
    drivers: list[Driver] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def make(cls, folder: Path) -> Iterator[Place]:
        """A new one; no driver is left running in it afterwards."""
        (folder / "tiny.yaml").write_text(SPACE, encoding="utf-8")
        place = cls(folder=folder, tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
        try:
            yield place
        finally:
            for driver in place.drivers:
                driver.kill()

    @property
    def log(self) -> Path:
        return self.folder / "trained.jsonl"

    @property
    def env(self) -> dict[str, str]:
        """Of the driver and of every node."""
        return {
            **SETTINGS,
            "OCTNAS_HOME": str(self.folder / "runs"),
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            LOG: str(self.log),
            GATE: str(self.folder / "gate"),
        }

    def wait_for_nodes(self, *names: str) -> None:
        """Until each of these nodes has trained an epoch."""
        wait_for(lambda: {epoch.node for epoch in self.trained()} >= set(names), f"nodes {names}", 180)

    def open_gate(self) -> None:
        """Lets trainings go on after their first epoch."""
        (self.folder / "gate").touch()

    def trained(self) -> list[Epoch]:
        """The epochs that were trained so far."""
        return trained(self.log)

    def records(self, name: str = "it") -> list[TrialRecord]:
        return Journal(self.folder / "runs" / name / "journal.jsonl").records()

    def events(self, name: str = "it") -> list[dict[str, Any]]:
        return Journal(self.folder / "runs" / name / "journal.jsonl").read()


class Driver:
    """The process of a search."""

    def __init__(self, place: Place, **options: Any) -> None:
        self.place = place
        given = {"name": "it", **options}
        if given.get("how") != "resume":
            asked = {"space": "tiny.yaml", "budget_gflops": 0.04, "trials": 8, "confirm": 0}
            given = {**asked, "evaluate": EVALUATE, **given}
        with (place.folder / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, json.dumps(given)],
                cwd=place.folder,
                env={
                    **os.environ,
                    **place.env,
                    "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
                },
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        place.drivers.append(self)

    def ended(self, code: int = 0, seconds: float = 240) -> dict[str, Any]:
        """What it printed, after it ended as it should; all trainings go on from now."""
        self.place.open_gate()
        out, _ = self.process.communicate(timeout=seconds)
        assert self.process.returncode == code, self.errors
        return json.loads(out) if out else {}

    @property
    def errors(self) -> str:
        """What it has said on standard error."""
        return (self.place.folder / "stderr").read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait(timeout=30)


def images_by_class(folder: Path) -> Path:
    """Some 1.3 MB of images, which cannot be packed any smaller: 10 classes of 30."""
    rng = np.random.default_rng(0)
    for number in range(10):
        (folder / f"class{number}").mkdir(parents=True)
        for index in range(30):
            pixels = rng.integers(0, 256, (64, 64), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{number}" / f"{index}.png")
    return folder


def add_nodes(cluster: LocalCluster, place: Place, *names: str, **options: Any) -> None:
    """Nodes that know their own name."""
    for name in names:
        cluster.add(env={**place.env, "CLUSTER_TEST_NODE": name, **options.pop("env", {})}, **options)


def wait_until_trained(place: Place, epochs: int) -> None:
    wait_for(lambda: len(place.trained()) >= epochs, f"{epochs} epochs to be trained", 120)


def check_whole(place: Place, result: dict[str, Any], *, trials: int = 8) -> None:
    """No trial was lost, failed or trained again after it was final, and each is one run in MLflow."""
    records = place.records()
    candidates = [record for record in records if record.yardstick is None]
    assert len(candidates) == trials
    assert {record.state for record in records} <= {TrialState.COMPLETE, TrialState.STOPPED}
    assert sum(record.state is TrialState.COMPLETE for record in records) >= 2
    assert [trial["id"] for trial in result["trials"]] == [record.id for record in records]
    assert result["front"]
    finals: dict[str, float] = {}
    for event in place.events():
        if event["event"] == "trial" and TrialState(event["trial"]["state"]).final:
            assert event["trial"]["id"] not in finals, "a final trial ended again"
            finals[event["trial"]["id"]] = event["time"]
    assert finals.keys() == {record.id for record in records}
    for epoch in place.trained():
        assert epoch.time <= finals[epoch.id] + 1.0, f"{epoch} after its trial was final"
    assert Counter(runs_of(place)) == Counter(record.id for record in records)


def tell_fault(place: Place, fault: str, since: float, *, lost: str) -> None:
    """A line of the table of faults.

    Args:
        since: when it broke, in seconds since 1970.
        lost: id of a trial that was under way there.
    """
    epochs = place.trained()
    again = len(epochs) - len({(epoch.id, epoch.epoch) for epoch in epochs})
    after = [epoch.time for epoch in epochs if epoch.id == lost and epoch.time > since]
    tell(
        fault,
        f"no trial; {counted(again, 'epoch')} of it trained again",
        min(after) - since if after else 0.0,
    )


def runs_of(place: Place, name: str = "it") -> list[str]:
    """Ids of the trials that have a run in MLflow, one for each run."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=place.tracking_uri)
    experiment = client.get_experiment_by_name("octnas")
    assert experiment is not None
    query = f"tags.`octnas.search` = '{name}' and tags.`octnas.kind` = 'trial'"
    runs = client.search_runs([experiment.experiment_id], query, max_results=1000)
    assert all(run.info.status in ("FINISHED", "FAILED") for run in runs)
    return [run.data.tags["octnas.trial_id"] for run in runs]
