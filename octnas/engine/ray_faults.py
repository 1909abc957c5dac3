"""Why Tune's trials end with an error, and what is begun again.

Tune's own retries count a node that was switched off against the trial; here it does not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from octnas.engine.driver import Driver
from octnas.engine.losses import Losses
from octnas.engine.node_facts import NodeUnfitError
from octnas.engine.ray_cluster import Cluster
from octnas.engine.ray_nodes import name_of_node, node_of_actor, nodes_alive
from octnas.errors import RunError

# isort: split
# `octnas.engine.ray_session`, which these import, sets what Ray reads when it is imported.
import ray
from ray.air.execution._internal.actor_manager import RayActorManager

__all__ = ["Faults", "every_loss_told"]

MOST_UNPLACED = 10
"""Workers in a row that cannot be started, it is not known where, before a search ends."""


class Faults:
    """Hears of errors from Tune's scheduler, and answers its searcher."""

    def __init__(self, driver: Driver, cluster: Cluster | None) -> None:
        self._driver = driver
        self._cluster = cluster
        self._losses = Losses(nodes_alive)
        self._actors: dict[str, str] = {}
        self._errors: dict[str, BaseException | None] = {}
        self._unplaced = 0
        self._told: set[str] = set()

    def runs_in(self, trial_id: str, actor_id: str) -> None:
        """A trial of Tune's has an actor."""
        self._actors[trial_id] = actor_id

    def errored(self, trial: Any) -> None:
        """A trial of Tune's ended with an error."""
        error = None
        # Tune gives its scheduler no error, and has not yet put the file of it where its own method looks.
        with contextlib.suppress(Exception):
            if trial.pickled_error_file is not None:
                error = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
            else:  # an error of Ray's that is no actor's: the environment that octnas travels in
                error = ray.exceptions.RuntimeEnvSetupError(Path(trial.error_file).read_text("utf-8"))
        self._errors[trial.trial_id] = error

    def again(self, trial_id: str, job_id: str) -> bool:
        """Whether the job of a trial of Tune's that ended with an error is to be begun again.

        A node that cannot take part gets no more of them; where none is left, that is the driver's fault.
        """
        error = self._errors.pop(trial_id, None)
        # Of a worker that died while it was started, only its error knows the actor.
        actor = self._actors.pop(trial_id, None) or getattr(error, "actor_id", None)
        node = None if actor is None else node_of_actor(actor)
        unfit = _unfit(error)
        if unfit is not None:
            if node is None or self._cluster is None:
                self._not_started(unfit)
            else:
                self._hold(self._cluster, node, unfit, job_id)
            return True
        blameless = isinstance(error, ray.exceptions.ActorUnavailableError) or bool(
            getattr(error, "preempted", False)
        )
        if node is not None and node not in nodes_alive():
            blameless = True
        if self._cluster is None:
            blameless = False  # this machine alone, which is up
        again = self._losses.lost(job_id, node=node, blameless=blameless)
        if blameless:
            self._say(f"gone:{node}", f"node {name_of_node(node)} is gone: {job_id} is begun again elsewhere")
        return again

    def ended(self, trial_id: str, job_id: str) -> None:
        """A trial of Tune's ended as it should."""
        self._actors.pop(trial_id, None)
        self._losses.over(job_id)
        self._unplaced = 0

    def _not_started(self, reason: str) -> None:
        """A worker could not be started, it is not known where: no job's fault, nor to be tried for ever."""
        self._unplaced += 1
        if self._unplaced > MOST_UNPLACED:
            self._driver.fault = self._driver.fault or RunError(
                f"workers must start, but {self._unplaced} in a row did not, since {reason}"
            )

    def _hold(self, cluster: Cluster, node: str, reason: str, job_id: str) -> None:
        self._say(
            f"unfit:{node}",
            f"node {name_of_node(node)} gets no trials, since {reason}; {job_id} goes elsewhere",
        )
        if not cluster.hold(node):
            self._driver.fault = self._driver.fault or RunError(
                f"no node is left that can take a trial: the last one, {name_of_node(node)}, cannot, since "
                f"{reason}"
            )

    def _say(self, key: str, text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._driver.note(text)


@contextlib.contextmanager
def every_loss_told() -> Iterator[None]:
    """While the block runs, any error of Ray's in a worker is the worker's death to Tune.

    Tune ends the whole run at those that are neither an actor's nor a task's, such as the one of a worker
    that Ray itself killed to save its node's memory.
    """
    manager: Any = RayActorManager
    plain = manager._actor_task_failed

    def told(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        known = ray.exceptions.RayActorError, ray.exceptions.RayTaskError
        if isinstance(exception, ray.exceptions.RayError) and not isinstance(exception, known):
            exception = ray.exceptions.RayActorError(error_msg=str(exception))
        plain(self, tracked_actor_task, exception)

    manager._actor_task_failed = told
    try:
        yield
    finally:
        manager._actor_task_failed = plain


def _unfit(error: BaseException | None) -> str | None:
    """Why a node cannot take part; None where that is not what the error says."""
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, NodeUnfitError):
        return str(cause)
    if isinstance(error, ray.exceptions.RuntimeEnvSetupError) or getattr(error, "actor_init_failed", False):
        return " ".join(str(error).split())[-200:]  # octnas does not start there
    return None
