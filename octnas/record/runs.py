"""Run folders: what one search writes, under one name.

    octnas-runs/NAME/journal.jsonl   the truth (`octnas.record.journal`); its first line is the header
    octnas-runs/NAME/lock            held while a search runs
    octnas-runs/NAME/checkpoints/    one file a trial
    octnas-runs/NAME/supernets/      of searches with shared weights, two files a backbone

`OCTNAS_HOME` moves `octnas-runs`. A search that was given a storage has its checkpoints and supernets under
STORAGE/NAME instead, beside a file `octnas-run.json` that says whose they are.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import functools
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from octnas.architecture import Architecture
from octnas.errors import RunError
from octnas.record.journal import Journal
from octnas.record.networks import check_networks
from octnas.record.stored import check_free, claim, delete_stored, give_up, store_of
from octnas.record.trial import Objective, TrialRecord
from octnas.storage import Place

__all__ = [
    "JOURNAL_VERSION",
    "RunFolder",
    "SearchHeader",
    "Yardstick",
    "default_name",
    "name_taken",
    "run_events",
    "run_names",
    "run_path",
    "runs_home",
]

JOURNAL_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BACKBONE = re.compile(r"[^\s/\\\0.][^/\\\0]{0,199}")


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
        store = store_of(name, header.options)
        check_free(store)
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
            claim(store, name, header.created)  # after the header, by which `delete` finds it after any death
        except BaseException:
            give_up(store, name, header.created)
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
        first = next(run_events(path))
        try:
            check_networks(name, first["header"])
            return cls(path, SearchHeader.from_dict(first["header"]))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"the header of run {name!r} is damaged ({error}); `octnas delete {name}` removes it"
            ) from None

    @staticmethod
    def delete(name: str) -> Path:
        """Removes the run's folder, and what it has in its storage, and returns where it was.

        Raises:
            RunError: there is no such run, a search holds it, or it cannot be removed.
        """
        path = run_path(name)
        if path.is_symlink():
            raise RunError(f"a run's folder must be no link, but {path} is one: remove it by hand")
        if not path.is_dir():
            RunFolder.open(name)
        with Journal(path / "journal.jsonl").exclusive():
            delete_stored(name, _header_or_none(path))
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise RunError(f"cannot remove {path}: {error.strerror}; remove it by hand") from None
        return path

    def records(self) -> list[TrialRecord]:
        """The latest state of each trial, from the journal."""
        return self.journal.records()

    @functools.cached_property
    def store(self) -> Place:
        """Where checkpoints and shared weights are kept: the run's folder, or one in the search's storage.

        Raises:
            RunError: the storage's client is not installed here.
        """
        return store_of(self.name, self.header.options) or self.path

    def checkpoint(self, trial_id: str) -> Place:
        """Where the weights of a trial are kept; its folder exists after a search began."""
        return self.store / "checkpoints" / f"{_checked(trial_id)}.pt"

    def training(self, trial_id: str, scale: str) -> Path:
        """The folder in which `octnas train` keeps a training of a trial."""
        return self.path / "trainings" / f"{_checked(trial_id)}-{scale}"

    def supernet(self, backbone: str) -> Place:
        """Where the shared weights of a backbone are kept, as safetensors; its training's checkpoint lies
        beside it, ending in ".pt"."""
        if not _BACKBONE.fullmatch(backbone):
            raise RunError(f"a backbone's name must be no path, but got {backbone!r}")
        return self.store / "supernets" / f"{backbone}.safetensors"

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


def _checked(trial_id: str) -> str:
    if not _NAME.fullmatch(trial_id):
        raise RunError(f"a trial id is made of letters, digits and ._-, but got {trial_id!r}")
    return trial_id


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


def run_names() -> list[str]:
    home = runs_home()
    if not home.is_dir():
        return []
    return sorted(path.name for path in home.iterdir() if path.is_dir() and _NAME.fullmatch(path.name))


def _header_or_none(path: Path) -> Mapping[str, Any] | None:
    try:
        header: Mapping[str, Any] = next(run_events(path))["header"]
    except (RunError, KeyError):
        return None
    return header


def run_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of the run in a folder, one after the other; the first is its header's."""
    name = path.name
    if not path.is_dir():
        near = difflib.get_close_matches(name, run_names(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RunError(f"no run named {name!r} in {path.parent}: {hint}`octnas list` shows the runs")
    journal = Journal(path / "journal.jsonl")
    events = journal.events() if journal.path.exists() else iter(())
    first = next(events, None)
    if first is None or first["event"] != "search":
        raise RunError(f"run {name!r} has no header: it died at birth; `octnas delete {name}` removes it")
    version = first.get("schema_version")
    if version != JOURNAL_VERSION:
        raise RunError(
            f"the journal of {name!r} has schema version {version}, this octnas reads {JOURNAL_VERSION}; "
            "read it with the octnas that wrote it"
        )
    yield first
    yield from events
