"""What a worker process of Ray's does with a job.

An error of a job is a result like any other, so the process lives on. What keeps a machine from taking part
(other versions, no data, a full disk) is not the job's fault: it is raised, and the job goes elsewhere.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from octnas.engine.evaluate import failure_reason, named
from octnas.engine.node_facts import NodeFacts, NodeUnfitError, difference, facts
from octnas.engine.ray_session import InStore, content
from octnas.engine.shipped import Sources, receive
from octnas.errors import OctnasError
from octnas.record import EpochScore

# isort: split
# `octnas.engine.ray_session` sets what Ray reads when it is imported, so it stands before these.
from ray import tune

if TYPE_CHECKING:
    from octnas.engine.node_data import NodeData

__all__ = ["run_job"]

UNFIT_SECONDS = 3.0
"""Before a machine that cannot take part says so: in that time another one may take what it gives back."""


def run_job(
    config: dict[str, Any],
    *,
    evaluate: str,
    data: Any,
    sources: Sources,
    driver: NodeFacts | None,
    node_data: NodeData | None,
    on_gpu: bool,
) -> None:
    """Runs one job; Tune calls it.

    Args:
        config: "job", and "initial": where the weights that it begins from are in Ray's store, or None.
        evaluate: the name ("module:function") of what is called with the job, the data and a `report`.
        sources: the users' code.
        driver: of the machine that hands out jobs, with which this one must agree; None: it is the same.
        node_data: how this machine finds the files of `data`, None where it has them.
        on_gpu: whether the job has a GPU, or a share of one; else it sees none.

    Raises:
        NodeUnfitError: this machine cannot take part.
    """
    if not on_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves all of them to who asked for none
    data = _admitted(data, driver, node_data)
    receive(sources)
    job = config["job"]
    stored: InStore | None = config["initial"]
    if stored is not None:
        job = replace(job, initial=content(stored))
    _use_threads(job.threads)

    def report(value: EpochScore | list[Any]) -> bool:
        told: dict[str, Any] = {"value": value}
        if isinstance(value, EpochScore):
            told = {"score": asdict(replace(value, worker=_this_worker()))}
        tune.report(told)  # does not return where the job is to stop
        return True

    try:
        named(evaluate)(job, data, report)
    except Exception as error:
        tune.report({"failed": failure_reason(error), "traceback": traceback.format_exc()})


def _this_worker() -> str:
    """This process, for people to read and to tell from all others: HOST/PID."""
    return f"{socket.gethostname()}/{os.getpid()}"


_agreed: NodeFacts | None = None
"""The driver's facts with which this process was found to agree."""


def _admitted(data: Any, driver: NodeFacts | None, node_data: NodeData | None) -> Any:
    """The data as this machine has them, after a look at what it must have in common with the driver's."""
    global _agreed
    try:
        if driver is not None and driver != _agreed:
            if (odd := difference(driver, facts())) is not None:
                raise NodeUnfitError(f"it has {odd}")
            _agreed = driver
        if node_data is None:
            return data
        from octnas.engine.node_data import here

        return here(data, node_data)
    except (OctnasError, OSError) as error:
        time.sleep(UNFIT_SECONDS)
        raise NodeUnfitError(" ".join(str(error).split())[:300]) from None


def _use_threads(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
