"""Split files: who is in training, validation and test, as UCF-101, Kinetics and plain lists say it."""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octnas.data.listing import VALIDATION, FileKind, Layout, Listing, split_shares
from octnas.data.reading import DAMAGED_SHARE
from octnas.errors import DataError, DataWarning

__all__ = ["find_listed_layout"]

_VAL_NAMES = ("val", "validate", "validation")
_UCF_FOLDERS = ("ucfTrainTestlist", "")
"""Where UCF-101's lists are, below the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A line of a split file: the file it names (None: it is not there) and its class."""

    named: str
    path: str | None
    label: str


_CUT = re.compile(r"(?<=_g\d\d)_c\d+\.\w+$")
"""What tells apart the clips of one of UCF-101's groups."""

_Lists = dict[str, list[_Entry]]
"""Entries of "train", "val" and "test", where there is such a list."""


def find_listed_layout(root: Path, kind: FileKind, seed: int, fold: int) -> Layout | None:
    """The layout that the split files in `root` describe; None where there are none.

    UCF-101: `classInd.txt`, `trainlist0N.txt` and `testlist0N.txt` in `root/ucfTrainTestlist` or `root`, N
    being `fold`; Kinetics: `train.csv` with `val.csv` (or `validate.csv`) and `test.csv`; else `train.txt`
    with `val.txt` and `test.txt`, each line a path below `root` and a class. Where there is no list for
    validation, a fifth of each class of training is drawn by `seed`.

    Entries whose file is missing are left out and counted in one warning, up to 1 % of all. Raises DataError
    above that, for a line that cannot be read, and for a class that training lacks.
    """
    for read in (_ucf, _kinetics, _plain):
        found = read(root, kind, fold)
        if found is not None:
            classes, lists, source = found
            return _layout(root, kind, seed, classes, lists, source)
    return None


def _layout(
    root: Path, kind: FileKind, seed: int, classes: tuple[str, ...] | None, lists: _Lists, source: str
) -> Layout:
    _report_missing(root, [entry for entries in lists.values() for entry in entries])
    if classes is None:
        classes = _in_order({entry.label for entry in lists["train"]})
    if len(classes) < 2:
        raise DataError(f"there must be two classes or more, but {source} has only {', '.join(classes)}")
    listings = {part: _listing(entries, classes, source) for part, entries in lists.items()}
    train, origin = listings["train"], f"a folder split by its {source}"
    if "val" in listings:
        val = listings["val"]
    else:
        val, train = _held_out(train, classes, kind, seed)
        origin += f"; {VALIDATION:.0%} of each class of train is validation (seed {seed})"
    for part, listing in (("training", train), ("validation", val)):
        absent = np.flatnonzero(np.bincount(listing.labels, minlength=len(classes)) == 0)
        if len(absent):
            raise DataError(f"every class needs {part} clips, but {classes[absent[0]]} has none in {source}")
    return Layout(classes=classes, train=train, val=val, test=listings.get("test"), origin=origin)


def _held_out(train: Listing, classes: tuple[str, ...], kind: FileKind, seed: int) -> tuple[Listing, Listing]:
    """Validation and the rest; UCF-101's groups, whose clips are cut from one video, stay together."""
    groups = np.array([_CUT.sub("", path) for path in train.paths])
    names, first = np.unique(groups, return_index=True)
    of_groups = Listing(paths=names.tolist(), labels=train.labels[first])
    val, _ = split_shares(of_groups, classes, kind, (VALIDATION,), seed)
    held_out = np.isin(groups, val.paths)
    return train.take(np.flatnonzero(held_out)), train.take(np.flatnonzero(~held_out))


def _listing(entries: list[_Entry], classes: tuple[str, ...], source: str) -> Listing:
    number = {name: i for i, name in enumerate(classes)}
    there = [entry for entry in entries if entry.path is not None]
    strangers = [entry for entry in there if entry.label not in number]
    if strangers:
        raise DataError(
            f"{source} gives {strangers[0].named} the class {strangers[0].label}, which training lacks"
        )
    return Listing(
        paths=[str(entry.path) for entry in there],
        labels=np.array([number[entry.label] for entry in there], np.int64),
    )


def _report_missing(root: Path, entries: list[_Entry]) -> None:
    missing = [entry.named for entry in entries if entry.path is None]
    if not missing:
        return
    named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    fact = (
        f"{len(missing)} of the {len(entries)} files that the split files name are not under {root}: {named}"
    )
    if len(missing) > len(entries) * DAMAGED_SHARE:
        raise DataError(f"{fact}; at most 1 % may be missing: add the files or remove their lines")
    warnings.warn(f"{fact}; left out", DataWarning, stacklevel=2)


def _in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Numbers by value, names by letter."""
    labels = list(labels)
    return tuple(sorted(labels, key=int) if all(label.isdecimal() for label in labels) else sorted(labels))


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"a split file must be readable text, but {path} is not ({error})") from error


def _pair(line: str, path: Path, what: str) -> tuple[str, str]:
    """The two parts of a line, parted at its last white space: paths may have spaces."""
    parts = line.rsplit(maxsplit=1)
    if len(parts) != 2:
        raise DataError(f"each line of {path} must be {what}, but one is {line!r}")
    return parts[0], parts[1]


def _ucf(root: Path, kind: FileKind, fold: int) -> tuple[tuple[str, ...], _Lists, str] | None:
    for folder in _UCF_FOLDERS:
        base = root / folder
        if (base / "classInd.txt").is_file():
            break
    else:
        return None
    train, test = base / f"trainlist{fold:02d}.txt", base / f"testlist{fold:02d}.txt"
    for path in (train, test):
        if not path.is_file():
            raise DataError(
                f"list {fold} of UCF-101 needs {path}, which does not exist: add it, or choose another"
            )
    classes = tuple(line.split(maxsplit=1)[-1] for line in _lines(base / "classInd.txt"))
    videos = root / "UCF-101" if (root / "UCF-101").is_dir() else root
    lists: _Lists = {}
    for part, path in (("train", train), ("test", test)):
        # training lines repeat the class as a number
        names = [re.sub(r"\s+\d+$", "", line) for line in _lines(path)]
        lists[part] = [
            _Entry(named=name, path=_existing(root, videos / name), label=name.split("/")[0])
            for name in names
        ]
    return classes, lists, train.name


def _kinetics(root: Path, kind: FileKind, fold: int) -> tuple[None, _Lists, str] | None:
    if not (root / "train.csv").is_file():
        return None
    where = {os.path.splitext(os.path.basename(path))[0]: path for path in sorted(kind.below(root, root))}
    lists: _Lists = {}
    for part, names in (("train", ("train",)), ("val", _VAL_NAMES), ("test", ("test",))):
        path = next((root / f"{n}.csv" for n in names if (root / f"{n}.csv").is_file()), None)
        if path is None:
            continue
        rows = list(csv.DictReader(_lines(path)))
        if rows and "label" not in rows[0] and part == "test":
            continue  # Kinetics' own test list has no labels
        lists[part] = [_kinetics_entry(row, where, path) for row in rows]
    return None, lists, "train.csv"


def _kinetics_entry(row: dict[str, str], where: dict[str, str], path: Path) -> _Entry:
    try:
        label, name = row["label"].strip(), row["youtube_id"].strip()
        timed = f"{name}_{round(float(row['time_start'])):06d}_{round(float(row['time_end'])):06d}"
    except (KeyError, ValueError, AttributeError) as error:
        raise DataError(
            f"each line of {path} must have label, youtube_id, time_start, time_end, but one is {row}"
        ) from error
    return _Entry(named=f"{timed}.mp4", path=where.get(timed, where.get(name)), label=label)


def _plain(root: Path, kind: FileKind, fold: int) -> tuple[None, _Lists, str] | None:
    if not (root / "train.txt").is_file():
        return None
    lists: _Lists = {}
    for part, names in (("train", ("train",)), ("val", _VAL_NAMES), ("test", ("test",))):
        path = next((root / f"{n}.txt" for n in names if (root / f"{n}.txt").is_file()), None)
        if path is not None:
            pairs = [_pair(line, path, "a path and a class") for line in _lines(path)]
            lists[part] = [
                _Entry(named=name, path=_existing(root, root / name), label=label) for name, label in pairs
            ]
    return None, lists, "train.txt"


def _existing(root: Path, path: Path) -> str | None:
    """`path` relative to `root`, if there is such a file."""
    return os.path.relpath(path, root) if path.is_file() else None
