"""Joining a Ray cluster that runs already: its nodes, what they must have, and what they can take.

octnas itself travels to the nodes in Ray's runtime environment; all else is in their image. Nodes that are
there at the start are checked before anything is trained, those that come later by their first job.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import octnas
from octnas.engine.node_facts import NodeFacts, difference, facts, reads
from octnas.engine.ray_demand import Demand
from octnas.engine.ray_nodes import Node, has_login, leaving, present
from octnas.engine.ray_session import connected
from octnas.engine.workers import Workers
from octnas.errors import OctnasError, RunError
from octnas.storage import check_place

# isort: split
# `octnas.engine.ray_session` sets what Ray reads when it is imported, so it stands before these.
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from octnas.engine.node_data import NodeData

__all__ = ["Cluster", "current", "joined", "token"]

ANSWER_SECONDS = 180.0
"""In which every node must say what it has; unpacking octnas and importing torch are part of it."""
CONNECT_SECONDS = 5.0
CAPACITY_SECONDS = 1.0
"""For how long a count of what the cluster can take is good."""


class Cluster:
    """A cluster that this process has joined.

    Args:
        cpus: cores of a trial.
        gpus: GPUs of a trial, or a share of one; None: a share where there are any.
    """

    def __init__(self, address: str, *, cpus: int, gpus: float | None) -> None:
        self.address = address
        self.data: NodeData | None = None
        """How its nodes find the images, where these do not travel through Ray."""
        self.notes: list[str] = []
        """What its user should know, a line each."""
        self.leaving: set[str] = set()
        """Ids of nodes that will be taken away, when `capacity` was last counted."""
        self.facts: dict[str, NodeFacts] = {}
        """Of the nodes that were checked, by id."""
        nodes = present()
        if gpus is None:
            from octnas.engine.workers import TRIALS_PER_GPU

            gpus = 1 / TRIALS_PER_GPU if any(node.gpus for node in nodes) else 0.0
            if not gpus and not any(node.cpus >= cpus for node in nodes):
                self.notes.append(
                    "no node is there yet that takes a trial, so trials will be trained on processors, "
                    "whatever comes; --gpus-per-trial asks for GPUs"
                )
        self.cpus, self.gpus = cpus, gpus
        self._held: dict[str, Any] = {}
        self._demand: Demand | None = None
        self._counted: tuple[float, int] | None = None
        self._idle_notes(nodes)
        if not has_login():
            self.notes.append(
                "this Ray cluster asks for no token: whoever reaches its ports can run code on it; keep them "
                "on a private network, or start every node with RAY_AUTH_MODE=token"
            )

    def workers(self) -> Workers:
        """What the cluster takes now; `capacity` follows it as nodes come and go."""
        nodes = present()
        return Workers(
            count=self.capacity(),
            cpus=self.cpus,
            gpus=self.gpus,
            cores=sum(node.cpus for node in nodes),
            devices=int(sum(node.gpus for node in nodes)),
        )

    def capacity(self) -> int:
        """Trials that the nodes take at once, at least one: an autoscaler starts nodes for what waits."""
        now = time.monotonic()
        if self._counted is None or now > self._counted[0] + CAPACITY_SECONDS:
            count = sum(node.slots(self.cpus, self.gpus) for node in self.able())
            self._counted = now, max(1, count)
            self.leaving = leaving()
        return self._counted[1]

    def able(self) -> list[Node]:
        """The nodes that take a trial."""
        return [
            node for node in present() if node.id not in self._held and node.slots(self.cpus, self.gpus) > 0
        ]

    def hold(self, node_id: str) -> bool:
        """Keeps trials off a node, by taking all of its cores; answers whether another one takes trials."""
        node = next((each for each in self.able() if each.id == node_id), None)
        if node is not None:
            self._held[node_id] = (
                ray.remote(_Holds)
                .options(
                    num_cpus=node.cpus,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
                )
                .remote()
            )
            self._counted = None
        return bool(self.able())

    def ask_for(self, trials: int) -> None:
        """Asks the autoscaler, if there is one, for machines for so many trials, until `left`."""
        each: dict[str, float] = {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}
        self._demand = Demand(each, trials)

    def left(self) -> None:
        """This process leaves it: machines that were asked for may go."""
        if self._demand is not None:
            self._demand.end()

    def check(
        self, seen: Mapping[str, tuple[Path, bytes | None]], storage: str | None
    ) -> dict[str, list[str]]:
        """Asks every node that takes trials for its facts.

        Args:
            seen: by what it is called: a file and what it holds (None: anything) that a node may or may not
                find.
            storage: a place that it must be able to write.

        Returns:
            For each of `seen` the names of the nodes that do not find it.

        Raises:
            RunError: a node does not answer, cannot run octnas, has other versions or cannot write.
        """
        nodes = self.able()
        asked = {
            _describe.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
            ).remote(dict(seen), storage): node
            for node in nodes
        }
        ready, late = (
            ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS) if asked else ([], [])
        )
        if late:
            raise RunError(
                f"every node must answer within {ANSWER_SECONDS:.0f} s, but "
                f"{_names(asked[each] for each in late)} did not: free its memory and disk, or take it out"
            )
        mine, odd, unseen = facts(), [], {name: list[str]() for name in seen}
        for reference in ready:
            node = asked[reference]
            try:
                theirs, found = ray.get(reference)
            except Exception as error:
                cause = getattr(error, "cause", None) or error
                if isinstance(cause, OctnasError):
                    raise RunError(f"{cause} (on node {node.name})") from None
                why = " ".join(str(cause).split())[-200:]
                raise RunError(
                    f"every node must be able to run octnas, but {node.name} is not ({why}): install octnas' "
                    "dependencies there, in the versions that this machine has"
                ) from None
            self.facts[node.id] = theirs
            if (what := difference(mine, theirs)) is not None:
                odd.append(f"{node.name} has {what}")
            for name, was_found in found.items():
                if not was_found:
                    unseen[name].append(node.name)
        if odd:
            raise RunError(
                f"every node must have the versions of this machine, but {'; '.join(odd)}: install the same "
                "there, or take it out"
            )
        return unseen

    def _idle_notes(self, nodes: Iterable[Node]) -> None:
        idle = [node for node in nodes if node.cpus >= self.cpus and not node.slots(self.cpus, self.gpus)]
        if idle and self.gpus:
            self.notes.append(
                f"trials have {self.gpus:g} GPUs each, so {_names(idle)} without one takes none; "
                "--gpus-per-trial 0 trains on processors, on all nodes"
            )


@ray.remote(max_retries=0)
def _describe(
    seen: dict[str, tuple[Path, bytes | None]], storage: str | None
) -> tuple[NodeFacts, dict[str, bool]]:
    found = {name: reads(path, content) for name, (path, content) in seen.items()}
    if storage is not None and all(found.values()):
        check_place(storage)
    return facts(), found


class _Holds:
    """Has a node's cores, and does nothing with them."""


_current: Cluster | None = None
"""The one that this process has joined, as Ray itself is one a process."""


def current() -> Cluster | None:
    """The cluster that this process has joined; None on one machine."""
    return _current


@contextlib.contextmanager
def joined(address: str, *, cpus: int, gpus: float | None) -> Iterator[Cluster]:
    """The cluster at an address ("auto": the one of this machine), for as long as the context lasts.

    Where a Ray runs in this process already, that one is used.

    Raises:
        RunError: there is none, it cannot be joined from here, or it has another Ray or Python.
    """
    global _current
    _check_address(address)
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            stack.enter_context(
                connected(
                    _unjoinable(address),
                    loopback=False,
                    address=address,
                    runtime_env={
                        "py_modules": [str(Path(octnas.__file__).parent)],
                        "env_vars": {"OMP_NUM_THREADS": str(cpus), "MKL_NUM_THREADS": str(cpus)},
                    },
                )
            )
        _current = Cluster(address, cpus=cpus, gpus=gpus)
        try:
            yield _current
        finally:
            _current.left()
            _current = None


def _check_address(address: str) -> None:
    """Refuses what cannot be joined, without Ray's long waits."""
    if address.startswith("ray://"):
        raise RunError(
            f"a search must run beside a node of its cluster, but {address!r} is a Ray Client: "
            "`ray job submit --address http://HEAD:8265 -- octnas search ... --cluster auto` runs it there"
        )
    if address == "auto":
        if os.environ.get("RAY_ADDRESS", "").startswith("ray://"):
            _check_address(os.environ["RAY_ADDRESS"])
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise RunError(f"--cluster must be auto or HOST:PORT (Ray's port is 6379), but got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RunError(
            f"no Ray cluster answers at {address} ({error}): start it with `ray start --head`, or leave out "
            "--cluster to search on this machine (`octnas resume NAME --cluster none`)"
        ) from None


@contextlib.contextmanager
def _unjoinable(address: str) -> Iterator[None]:
    """What Ray says when it cannot join, in one line."""
    try:
        yield
    except OctnasError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if "could not find any running" in reason.lower():
            raise RunError(
                "--cluster auto needs a Ray cluster on this machine, but there is none: start one with "
                "`ray start --head`, give HOST:PORT, or leave --cluster out"
            ) from None
        raise RunError(
            f"cannot join the Ray cluster at {address} ({reason}): run the command on one of its nodes, with "
            "their versions of Python and Ray"
        ) from None


@contextlib.contextmanager
def token(folder: Path) -> Iterator[tuple[Path, bytes | None]]:
    """A file in a folder, and what it holds, by which other machines tell whether they see the folder."""
    content = uuid.uuid4().hex.encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".octnas-", dir=folder)
    except OSError as error:
        raise RunError(f"cannot write {folder}: {error.strerror}; permit writing there") from None
    try:
        os.write(descriptor, content)
        os.close(descriptor)
        yield Path(name), content
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _names(nodes: Iterable[Node]) -> str:
    return ", ".join(node.name for node in nodes)
