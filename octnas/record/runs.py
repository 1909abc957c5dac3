"""Run folders: what one search writes, under one name.

    octnas-runs/NAME/journal.jsonl   the truth (`octnas.record.journal`); its first line is the header
    octnas-runs/NAME/lock            held while a search runs
    octnas-runs/NAME/checkpoints/    one file a trial
    octnas-runs/NAME/supernets/      of searches with shared weights, two files a backbone

`OCTNAS_HOME` moves `octnas-runs`.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from octnas.architecture import Architecture
from octnas.errors import RunError
from octnas.record.journal import Journal, replay
from octnas.record.networks import check_networks
from octnas.record.shared import supernets
from octnas.record.trial import Objective, TrialRecord, TrialState

__all__ = [
    "JOURNAL_VERSION",
    "RunFolder",
    "RunSummary",
    "SearchHeader",
    "Yardstick",
    "default_name",
    "list_runs",
    "name_taken",
    "run_path",
    "runs_home",
]

JOURNAL_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Yardstick:
    """A reference that every search trains beside its candidates: its label and its architecture."""

    label: str
    architecture: Architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchHeader:
    """Everything that a search was asked for; enough to go on with it after any death.

    `budget_gflops` is in 10^9 multiply-adds of the target network, `budget_ms` in milliseconds of its latency
    as `profile` (device, runtime, threads, batch, digest) predicts it; None: no such limit, no profile.
    `objective` is the cost on the front's axis. `trials` counts candidates, not yardsticks; `created` is ISO
    8601 with a time zone. `options` holds whatever else a search was given, as JSON values.
    """

    name: str
    space_yaml: str
    budget_gflops: float | None
    trials: int
    seed: int
    data: str
    sampler: str = "tpe"
    budget_ms: float | None = None
    objective: Objective = "gflops"
    profile: Mapping[str, Any] | None = None
    space: str = ""
    backbone: str | None = None
    max_minutes: float | None = None
    data_fingerprint: str = ""
    tracking_uri: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    cpus_per_trial: float = 1
    gpus_per_trial: float | None = None
    created: str = ""
    yardsticks: tuple[Yardstick, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them back to an equal header."""
        value = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        value["versions"] = dict(self.versions)
        value["profile"] = None if self.profile is None else dict(self.profile)
        value["options"] = dict(self.options)
        value["yardsticks"] = [
            {"label": each.label, "architecture": each.architecture.to_json()} for each in self.yardsticks
        ]
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> SearchHeader:
        """The header that `to_dict` wrote, by this or an older version; unknown keys are ignored."""
        known = {each.name for each in dataclasses.fields(cls)}
        kept = {key: item for key, item in value.items() if key in known}
        if kept.get("objective", "gflops") not in get_args(Objective):
            raise ValueError(
                f"`objective` must be one of {get_args(Objective)}, but got {kept['objective']!r}"
            )
        kept["yardsticks"] = tuple(
            Yardstick(label=each["label"], architecture=Architecture.from_json(each["architecture"]))
            for each in value.get("yardsticks", ())
        )
        return cls(**kept)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """One line of `octnas list`. `state` is running, complete, interrupted, failed or damaged."""

    name: str
    state: str
    trials: int
    finished: int
    space: str = ""
    budget_gflops: float | None = None
    budget_ms: float | None = None
    created: str = ""
    kind: str = "search"
    """"search", or "supernet": shared weights by themselves, without trials."""
    supernets: int = 0
    """Backbones whose shared weights are trained."""
    scored: int = 0
    """Architectures that have a shared score."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return dataclasses.asdict(self)


def runs_home() -> Path:
    """The folder of all runs: OCTNAS_HOME, or octnas-runs in the working directory."""
    return Path(os.environ.get("OCTNAS_HOME") or "octnas-runs").absolute()


def default_name(space: str) -> str:
    """A name that no run has yet: the space's, the date and the time, and a number where that is taken."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(space).stem).strip("-._") or "search"
    base = f"{stem[:60]}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    name, number = base, 2
    while (runs_home() / name).exists():
        name, number = f"{base}-{number}", number + 1
    return name


class RunFolder:
    """The folder of one run; get one with `create` or `open`."""

    def __init__(self, path: Path, header: SearchHeader) -> None:
        self.path = path
        self.header = header
        self.journal = Journal(path / "journal.jsonl")

    @property
    def name(self) -> str:
        """The run's name, which is its folder's."""
        return self.path.name

    @classmethod
    def create(cls, name: str, header: SearchHeader) -> RunFolder:
        """A new folder, its lock taken and its header written; `journal.release()` gives the lock back.

        Raises:
            RunError: the name is taken or not a name, or the folder cannot be written.
        """
        path = run_path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            (path / "checkpoints").mkdir()
        except FileExistsError:
            if not path.is_dir():
                raise RunError(f"{path.parent} must be a folder; move it or set OCTNAS_HOME") from None
            raise name_taken(name) from None
        except OSError as error:
            raise RunError(
                f"cannot write {path}: {error.strerror}; permit writing there or set OCTNAS_HOME"
            ) from None
        run = cls(path, dataclasses.replace(header, name=name))
        try:
            run.journal.acquire()
            run.journal.append(
                {"event": "search", "schema_version": JOURNAL_VERSION, "header": run.header.to_dict()}
            )
        except BaseException:
            run.journal.release()
            shutil.rmtree(path, ignore_errors=True)
            raise
        return run

    @classmethod
    def open(cls, name: str) -> RunFolder:
        """The folder of an existing run; takes no lock.

        Raises:
            RunError: there is no such run, its first line is damaged or of a newer version, or a user's
                network is not what it was.
        """
        path = run_path(name)
        events = _events(path)
        try:
            check_networks(name, events[0]["header"])
            return cls(path, SearchHeader.from_dict(events[0]["header"]))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"the header of run {name!r} is damaged ({error}); `octnas delete {name}` removes it"
            ) from None

    @staticmethod
    def delete(name: str) -> Path:
        """Removes the run's folder and returns where it was.

        Raises:
            RunError: there is no such run, a search holds it, or it cannot be removed.
        """
        path = run_path(name)
        if not path.is_dir():
            RunFolder.open(name)
        with Journal(path / "journal.jsonl").exclusive():
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise RunError(f"cannot remove {path}: {error.strerror}; remove it by hand") from None
        return path

    def records(self) -> list[TrialRecord]:
        """The latest state of each trial, from the journal."""
        return self.journal.records()

    def checkpoint(self, trial_id: str) -> Path:
        """Where the weights of a trial are kept; its folder exists after a search began."""
        if not _NAME.fullmatch(trial_id):
            raise RunError(f"a trial id is made of letters, digits and ._-, but got {trial_id!r}")
        return self.path / "checkpoints" / f"{trial_id}.pt"

    def supernet(self, backbone: str) -> Path:
        """Where the shared weights of a backbone are kept, as safetensors; its training's checkpoint lies
        beside it, ending in ".pt"."""
        return self.path / "supernets" / f"{backbone}.safetensors"

    def record(self, trial_id: str) -> TrialRecord:
        """The record of one trial.

        Raises:
            RunError: the run has no such trial.
        """
        records = {record.id: record for record in self.records()}
        if trial_id not in records:
            known = ", ".join(records) or "none yet"
            raise RunError(f"run {self.name!r} has no trial {trial_id!r}; its trials are {known}")
        return records[trial_id]


def name_taken(name: str) -> RunError:
    """The error for a name that a run has already."""
    return RunError(
        f"a run named {name!r} exists: `octnas resume {name}` goes on with it, "
        f"`octnas delete {name}` removes it, another --name leaves it"
    )


def list_runs() -> list[RunSummary]:
    """All runs, sorted by name; those whose journal is damaged too."""
    return [_summary(name) for name in _names()]


def run_path(name: str) -> Path:
    """The folder of the run `name`, which may not exist.

    Raises:
        RunError: not a name.
    """
    if not _NAME.fullmatch(name):
        raise RunError(
            "a run's name is 1 to 100 letters, digits and ._- and begins with a letter or digit, "
            f"but got {name!r}"
        )
    return runs_home() / name


def _names() -> list[str]:
    home = runs_home()
    if not home.is_dir():
        return []
    return sorted(path.name for path in home.iterdir() if path.is_dir() and _NAME.fullmatch(path.name))


def _events(path: Path) -> list[dict[str, Any]]:
    """The events of the run in a folder; the first is its header's."""
    name = path.name
    if not path.is_dir():
        near = difflib.get_close_matches(name, _names(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RunError(f"no run named {name!r} in {path.parent}: {hint}`octnas list` shows the runs")
    journal = Journal(path / "journal.jsonl")
    events = journal.read() if journal.path.exists() else []
    if not events or events[0]["event"] != "search":
        raise RunError(f"run {name!r} has no header: it died at birth; `octnas delete {name}` removes it")
    version = events[0].get("schema_version")
    if version != JOURNAL_VERSION:
        raise RunError(
            f"the journal of {name!r} has schema version {version}, this octnas reads {JOURNAL_VERSION}; "
            "read it with the octnas that wrote it"
        )
    return events


def _summary(name: str) -> RunSummary:
    path = run_path(name)
    try:
        events = _events(path)
        header = events[0]["header"]
        if not header.get("options", {}).get("networks"):
            # a user's network would have to be made, which its code may not be there for any more
            SearchHeader.from_dict(header)
            replay(events)
        states = {each["trial"]["id"]: each["trial"]["state"] for each in events if each["event"] == "trial"}
    except (RunError, KeyError, ValueError, TypeError, AttributeError):
        # A list of runs must show the damaged ones too: they can be deleted.
        return RunSummary(name=name, state="damaged", trials=0, finished=0)
    return RunSummary(
        name=name,
        state="running" if Journal(path / "journal.jsonl").in_use else _last_state(events),
        trials=len(states),
        finished=sum(TrialState(state).final for state in states.values()),
        space=header.get("space", ""),
        budget_gflops=header["budget_gflops"],
        budget_ms=header.get("budget_ms"),
        created=header.get("created", ""),
        kind=str(header.get("options", {}).get("kind", "search")),
        supernets=sum(each.state == "complete" for each in supernets(events)),
        scored=sum(each["event"] == "shared" and each["accuracy"] is not None for each in events),
    )


def _last_state(events: list[dict[str, Any]]) -> str:
    for event in reversed(events):
        if event["event"] == "end":
            return str(event["state"])
        if event["event"] in ("resume", "trial", "score", "supernet", "shared"):
            break
    return "interrupted"
