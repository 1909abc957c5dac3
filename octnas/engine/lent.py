"""Shared weights of another run: whether they fit, and taking them over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octnas.errors import RunError
from octnas.record import RunFolder, SupernetRecord, supernets
from octnas.space import Feasible, parse_space
from octnas.storage import Place, reason_of

if TYPE_CHECKING:
    from octnas.data import ImageSet

__all__ = ["Lent", "keep_supernets", "lent_supernets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What a run has of the backbones that another one searches."""

    name: str
    """Of the run that has them."""
    records: Mapping[str, SupernetRecord]
    """By backbone; of these alone there are weights."""
    files: Mapping[str, Place]
    missing: tuple[str, ...]
    """Backbones of which the run has none."""


def lent_supernets(name: str, feasible: Feasible, images: ImageSet, *, whole: bool) -> Lent:
    """The shared weights of the run `name` for what `feasible` searches on `images`.

    Args:
        whole: whether there must be weights of every backbone.

    Raises:
        RunError: there is no such run, it was of other images or another proxy, or has none of the backbones.
    """
    run = RunFolder.open(name)
    ask = f"`octnas supernet --space {feasible.space.name}` trains them"
    if run.header.data_fingerprint != images.fingerprint:
        raise RunError(
            f"shared weights must be of the images that are searched on, but those of {name!r} are of "
            f"{run.header.data}, fingerprint {run.header.data_fingerprint}: {ask}"
        )
    own, theirs = feasible.space.proxy, parse_space(run.header.space_yaml).proxy
    for key in ("width", "stem", "input_size"):
        mine, other = getattr(own, key), getattr(theirs, key)
        if mine != other:
            raise RunError(
                f"shared weights must be of the proxy that is searched with, but `proxy.{key}` is {mine} and "
                f"that of {name!r} {other}: {ask}"
            )
    complete = {
        each.backbone: each
        for each in supernets(run.journal.read())
        if each.state == "complete" and run.supernet(each.backbone).is_file()
    }
    records = {backbone: complete[backbone] for backbone in feasible.backbones if backbone in complete}
    if not records:
        there = ", ".join(complete) or "no backbone"
        raise RunError(
            f"shared weights are needed of {', '.join(feasible.backbones)}, but {name!r} has those of "
            f"{there}: {ask}"
        )
    missing = tuple(each for each in feasible.backbones if each not in records)
    if whole and missing:
        raise RunError(
            f"--fine-tune needs shared weights of every backbone, but {name!r} has none of "
            f"{', '.join(missing)}: choose others with --backbone, or train from scratch"
        )
    files = {backbone: run.supernet(backbone) for backbone in records}
    return Lent(name=name, records=records, files=files, missing=missing)


def keep_supernets(run: RunFolder, lent: Lent) -> None:
    """Copies the weights into a new run's folder, and writes into its journal that they are there.

    Raises:
        RunError: they cannot be copied.
    """
    from octnas.train.files import written_whole

    for backbone, record in lent.records.items():
        path = run.supernet(backbone)
        try:
            with written_whole(path) as part:
                part.write_bytes(lent.files[backbone].read_bytes())
        except Exception as error:  # each client of a store has errors of its own
            raise RunError(f"cannot copy {lent.files[backbone]} to {path}: {reason_of(error)}") from None
        end = {"event": "supernet-end", "backbone": backbone, "state": "complete"}
        known = {"reason": f"from {lent.name}", "epochs": record.epochs, "accuracy": record.accuracy}
        run.journal.append({**end, **known, "seconds": 0.0})
    for backbone in lent.missing:
        reason = f"{lent.name} has no shared weights of it"
        end = {"event": "supernet-end", "backbone": backbone, "state": "dropped"}
        run.journal.append({**end, "reason": reason, "seconds": 0.0})
