"""The nodes of the Ray that this process is in, as Ray lists them.

What Ray tells by no public call is asked of its inner parts, and taken for unknown where these have changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import octnas.engine.ray_session  # noqa: F401
from octnas.engine.workers import gpu_slots

# isort: split
# `octnas.engine.ray_session` sets what Ray reads when it is imported, so it stands before these.
import ray

__all__ = ["Node", "has_login", "leaving", "name_of_node", "node_of_actor", "nodes_alive", "present"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine of the cluster, as Ray lists it."""

    id: str
    name: str
    """Its host's name and address."""
    cpus: int
    gpus: float

    def slots(self, cpus: int, gpus: float) -> int:
        """Trials of so many cores and GPUs (or a share of one) that it takes at once."""
        count = self.cpus // cpus
        return min(count, gpu_slots(self.gpus, gpus)) if gpus > 0 else count


def present() -> list[Node]:
    """The nodes that are up and not about to be taken away."""
    going = leaving()
    return [
        Node(
            id=each["NodeID"],
            name=_name_of(each),
            cpus=int(each["Resources"].get("CPU", 0)),
            gpus=float(each["Resources"].get("GPU", 0)),
        )
        for each in _listed()
        if each["Alive"] and each["NodeID"] not in going
    ]


def _listed() -> list[dict[str, Any]]:
    return list(ray.nodes())  # type: ignore[no-untyped-call]


def nodes_alive() -> set[str]:
    """Ids of the nodes that are up and not about to be taken away."""
    return {node.id for node in present()}


def node_of_actor(actor_id: str) -> str | None:
    """Id of the node that an actor, dead or alive, runs on; None where Ray does not tell."""
    # No public call tells it without the dashboard's server.
    with contextlib.suppress(Exception):
        return str(ray._private.state.actors(actor_id)["Address"]["NodeID"]) or None
    return None


def name_of_node(node_id: str | None) -> str:
    """Host and address of a node, up or not."""
    return next((_name_of(each) for each in _listed() if each["NodeID"] == node_id), "unknown")


def has_login() -> bool:
    """Whether Ray asks who connects; releases before 2.52 cannot."""
    with contextlib.suppress(Exception):
        inner: Any = ray._raylet
        return bool(inner.get_authentication_mode() == inner.AuthenticationMode.TOKEN)
    return False


def leaving() -> set[str]:
    """Ids of nodes that have a preemption notice, or are being removed by the autoscaler."""
    with contextlib.suppress(Exception):  # not a public call either
        return set(ray._private.state.state.get_draining_nodes())
    return set()


def _name_of(listed: Mapping[str, Any]) -> str:
    host, address = str(listed.get("NodeManagerHostname", "")), str(listed.get("NodeManagerAddress", ""))
    return f"{host} ({address})" if host and host != address else address
