"""Jobs that were lost with their worker: whether a job may have killed it, or a machine went.

A trial whose training kills its process (out of memory, a crash in compiled code) does so again and again,
and must end as a failure. A machine that is switched off, preempted or out of reach says nothing about what
ran on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

__all__ = ["RETRIES", "Losses"]

RETRIES = 2
"""Times that a job whose worker process died is begun again."""


class Losses:
    """Counts lost attempts at jobs.

    Args:
        alive: ids of the nodes that are up. It is asked at each loss, since a node's end may be noticed
            after that of its workers: an attempt counts only as long as its node is up.
    """

    def __init__(self, alive: Callable[[], Collection[str]]) -> None:
        self._alive = alive
        self._died: dict[str, list[str | None]] = {}
        self.nodes: Counter[str] = Counter()
        """Jobs lost with their node, by its id ("" where it is not known)."""

    def lost(self, job_id: str, *, node: str | None, blameless: bool) -> bool:
        """Takes the loss of an attempt; answers whether the job is to be begun again.

        Args:
            node: id of the node that it ran on, None if unknown.
            blameless: whether the worker's machine is known to be at fault, or out of reach.
        """
        if blameless:
            self.nodes[node or ""] += 1
            return True
        died = self._died.setdefault(job_id, [])
        died.append(node)
        alive = self._alive()
        counted = sum(each is None or each in alive for each in died)
        return counted <= RETRIES

    def over(self, job_id: str) -> None:
        """The job ended; its losses are forgotten."""
        self._died.pop(job_id, None)
