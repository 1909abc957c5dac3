"""Where trials run: on this machine, or on the nodes of a cluster that is joined for as long as it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from octnas.counted import counted
from octnas.engine.gpu_memory import largest_training, memory_note
from octnas.engine.node_facts import facts
from octnas.engine.workers import Workers, plan_workers
from octnas.errors import RunError
from octnas.record import runs_home
from octnas.space import SearchSpace
from octnas.storage import check_place, is_uri, place

if TYPE_CHECKING:
    from octnas.data import ImageSet
    from octnas.engine.ray_cluster import Cluster

__all__ = ["Machines", "check_nodes", "kept_storage", "machines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What was found at the door."""

    workers: Workers
    notes: tuple[str, ...] = ()
    """What their user should know, a line each."""


def kept_storage(storage: str | None) -> str | None:
    """`--storage` as the journal keeps it: a folder as its absolute path; checked that it can be used.

    Raises:
        RunError: it cannot.
    """
    if storage is None:
        return None
    where = place(storage)
    if isinstance(where, Path) and where.resolve() == runs_home().resolve():
        raise RunError(
            f"--storage must be another folder than that of the runs, but {where} is that one: leave it out, "
            "weights lie there anyway"
        )
    check_place(storage)
    return str(where)


@contextlib.contextmanager
def machines(
    cluster: str | None,
    *,
    storage: str | None,
    cpus: float,
    gpus: float | None,
    space: SearchSpace,
    images: ImageSet,
    trials: int,
) -> Iterator[Machines]:
    """The machines that trials run on.

    Args:
        cluster: the address of a Ray cluster, "auto" for the one that this machine is in, None for this
            machine alone.
        storage: where weights are kept, as `kept_storage` gives it; None: in the run's folder.
        cpus: cores of a trial.
        gpus: GPUs of a trial, or a share of one; None: a share where there are any.
        space: that is searched, on `images`.
        trials: to be run, for which an autoscaler is asked for machines; 0: none is needed.

    Raises:
        RunError: not even one trial fits, the cluster cannot be joined, or a node cannot take part.
    """
    if not trials:
        yield Machines(workers=Workers(count=1, cpus=1, gpus=0.0, cores=1, devices=0))
        return
    if cluster is None:
        workers = plan_workers(cpus, gpus)
        memory = {} if not workers.gpus else {"this machine": facts().gpu_bytes}
        yield Machines(workers=workers, notes=_memory_notes(memory, workers.gpus, space, images))
        return
    _check_shares(cpus, gpus)
    from octnas.engine.ray_cluster import joined

    with joined(cluster, cpus=int(cpus), gpus=gpus) as found:
        check_nodes(found, images, space.proxy.data, storage)
        found.ask_for(trials)
        memory = {each.host: each.gpu_bytes for each in found.facts.values()}
        notes = (_words(found), *found.notes, *_memory_notes(memory, found.gpus, space, images))
        yield Machines(workers=found.workers(), notes=notes)


def _memory_notes(
    gpus: Mapping[str, tuple[int, ...]], share: float, space: SearchSpace, images: ImageSet
) -> tuple[str, ...]:
    if not any(gpus.values()):
        return ()
    note = memory_note(gpus, share, largest_training(space, images))
    return () if note is None else (note,)


def _check_shares(cpus: float, gpus: float | None) -> None:
    if not (cpus >= 1 and cpus == int(cpus)):
        raise RunError(f"`cpus_per_trial` must be a whole number of cores, 1 or more, but got {cpus:g}")
    if gpus is not None and not (gpus >= 0 and (gpus <= 1 or gpus == int(gpus))):
        raise RunError(f"`gpus_per_trial` must be a share up to 1 or a whole number, but got {gpus:g}")


def check_nodes(
    cluster: Cluster, images: ImageSet, source: str, storage: str | None, *, weights: bool = True
) -> None:
    """Every node has the driver's versions, has the images or can have them, and can keep weights.

    Args:
        source: name, folder or URI of the images.
        storage: as for `machines`.
        weights: whether nodes keep weights, in the storage or else in the folder of runs.

    Raises:
        RunError: one has not or cannot.
    """
    from octnas.data.moved import files_of, folder_of
    from octnas.engine.node_data import node_data
    from octnas.engine.ray_cluster import token

    folder = folder_of(images)
    with contextlib.ExitStack() as stack:
        seen: dict[str, tuple[Path, bytes | None]] = {}
        if folder is not None:
            seen["data"] = folder / files_of(images)[0], None
        home = runs_home() if storage is None else Path(storage)
        if weights and (storage is None or not is_uri(storage)):
            seen["weights"] = stack.enter_context(token(home))
        unseen = cluster.check(seen, storage if weights else None)
    if names := unseen.get("weights"):
        what = "the folder of runs" if storage is None else "--storage"
        raise RunError(
            f"every node must see {what}, {home}, but {', '.join(names)} does not: give --storage a folder "
            "that all nodes share, or a URI such as s3://BUCKET/FOLDER"
        )
    missing = unseen.get("data", [])
    try:
        cluster.data = node_data(images, source, storage, visible=not missing)
    except RunError as error:
        raise RunError(f"{error} (not seen by {', '.join(missing)})" if missing else str(error)) from None


def _words(cluster: Cluster) -> str:
    nodes, workers = cluster.able(), cluster.workers()
    each = counted(cluster.cpus, "core") + (f" and {cluster.gpus:g} GPUs" if cluster.gpus else "")
    if not nodes:
        return (
            f"joined the cluster at {cluster.address}: no node takes a trial of {each} yet; waiting for one "
            "to be added"
        )
    takes = "takes" if len(nodes) == 1 else "take"
    count = f"{counted(len(nodes), 'node')} {takes} {counted(workers.count, 'trial')}"
    return f"joined the cluster at {cluster.address}: {count} of {each} at once"
