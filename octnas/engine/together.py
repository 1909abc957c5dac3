"""The workers that train one network together: how many fit, and what each has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octnas.counted import counted
from octnas.engine.machines import check_nodes
from octnas.engine.workers import Workers
from octnas.errors import RunError
from octnas.machine import usable_cores

if TYPE_CHECKING:
    from octnas.data import ImageSet
    from octnas.engine.node_data import NodeData
    from octnas.engine.ray_nodes import Node

__all__ = ["Together", "cores_each", "local_workers", "together"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Where a network is trained by several workers."""

    workers: Workers
    node_data: NodeData | None = None
    """How other machines find the images, where they do not travel through Ray."""
    notes: tuple[str, ...] = ()
    """What its user should know, a line each."""


@contextlib.contextmanager
def together(
    count: int, cluster: str | None, *, images: ImageSet, source: str, storage: str | None
) -> Iterator[Together]:
    """Room for `count` workers on this machine, or in the cluster at an address ("auto": this machine's).

    A worker has a GPU where there are any, and its part of the cores.

    Raises:
        RunError: they do not fit this machine, the cluster cannot be joined, or a node cannot take part.
    """
    if cluster is None:
        yield Together(workers=local_workers(count))
        return
    from octnas.engine.ray_cluster import joined
    from octnas.engine.ray_nodes import present

    with joined(cluster, cpus=1, gpus=None) as found:
        nodes = present()
        found.gpus = 1.0 if any(node.gpus for node in nodes) else 0.0
        found.cpus = cores_each(nodes, count)
        check_nodes(found, images, source, storage, weights=False)
        found.ask_for(count)
        fit = sum(node.slots(found.cpus, found.gpus) for node in found.able())
        each = counted(found.cpus, "core") + (" and a GPU" if found.gpus else "")
        notes = [f"joined the cluster at {cluster}: {counted(count, 'worker')} of {each}"]
        if fit < count:
            notes.append(
                f"{fit} of {count} workers fit the nodes that are there: waiting for more to be added"
            )
        yield Together(
            workers=Workers(
                count=count,
                cpus=found.cpus,
                gpus=found.gpus,
                cores=sum(node.cpus for node in nodes),
                devices=int(sum(node.gpus for node in nodes)),
            ),
            node_data=found.data,
            notes=(*notes, *found.notes),
        )


def local_workers(count: int) -> Workers:
    """`count` workers on this machine.

    Raises:
        RunError: it has fewer GPUs, or, without any, fewer cores.
    """
    import torch

    cores = usable_cores()
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    most, what = (devices, "GPU") if devices else (cores, "core")
    if not 1 <= count <= most:
        raise RunError(
            f"each worker needs a {what} of its own, but {count} are asked for and {counted(most, what)} "
            f"can be used here: --workers {most}, or --cluster for more machines"
        )
    return Workers(
        count=count,
        cpus=max(1, cores // count),
        gpus=1.0 if devices else 0.0,
        cores=max(cores, count),  # more GPUs than cores: Ray must find one for each worker all the same
        devices=devices,
    )


def cores_each(nodes: Sequence[Node], count: int) -> int:
    """Cores of a worker: with GPUs those that every GPU has, else the most with which `count` workers fit."""
    with_gpus = [node for node in nodes if node.gpus >= 1]
    if with_gpus:
        return max(1, min(node.cpus // int(node.gpus) for node in with_gpus))
    most = max((node.cpus for node in nodes), default=1)
    fitting = (cores for cores in range(most, 1, -1) if sum(node.cpus // cores for node in nodes) >= count)
    return next(fitting, 1)
