"""What the cluster's autoscaler is asked for, no longer than a driver is there to ask.

Ray keeps a request until the next one, also where whoever made it has died: machines would be paid for that
nobody uses. So an actor that outlives the driver makes it, and takes it back when it is not renewed.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Any

import octnas.engine.ray_session  # noqa: F401

# isort: split
# `octnas.engine.ray_session` sets what Ray reads when it is imported, so it stands before these.
import ray
from ray.autoscaler.sdk import request_resources

__all__ = ["Demand"]

MOST = 1000
"""Trials' worth of machines that are asked for at most."""
EXPIRES = 60.0
"""Seconds after which a request that was not renewed is taken back."""
RENEWED = 10.0
"""Seconds between two renewals."""


class Demand:
    """A request for machines, where there is an autoscaler; without one nothing comes of it.

    Args:
        each: resources of a trial, as Ray names them.
        trials: as many as are to be run.
    """

    def __init__(self, each: dict[str, float], trials: int) -> None:
        made: Any = ray.remote(_Keeper).options(num_cpus=0, lifetime="detached", max_restarts=0)
        self._keeper = made.remote([each] * min(trials, MOST))
        self._ended = threading.Event()
        threading.Thread(target=self._renew, daemon=True).start()

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED):
            with contextlib.suppress(Exception):
                self._keeper.renew.remote()

    def end(self) -> None:
        """The machines may go."""
        self._ended.set()
        with contextlib.suppress(Exception):  # Ray is going away itself
            ray.kill(self._keeper)
            request_resources(bundles=[])


class _Keeper:
    """Makes the request, in a process of its own."""

    def __init__(self, bundles: list[dict[str, float]]) -> None:
        self._until = time.monotonic() + EXPIRES
        with contextlib.suppress(Exception):  # an autoscaler that does not answer
            request_resources(bundles=bundles)
        threading.Thread(target=self._watch, daemon=True).start()

    def renew(self) -> None:
        self._until = time.monotonic() + EXPIRES

    def _watch(self) -> None:
        while time.monotonic() < self._until:
            time.sleep(1.0)
        with contextlib.suppress(Exception):
            request_resources(bundles=[])
        os._exit(0)  # an actor ends itself in its main thread alone
