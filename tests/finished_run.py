"""A run folder of a search that is over: one trial, complete and within its budget."""

from __future__ import annotations

from octnas.record import RunFolder, SearchHeader, TrialRecord, TrialState
from octnas.space import parse_space

__all__ = ["finished_run"]


def finished_run(space_yaml: str, name: str = "r") -> RunFolder:
    """A run of a space with a ResNet-18, whose trial "t1" has alpha 0.5 everywhere."""
    space = parse_space(space_yaml)
    header = SearchHeader(
        name=name, space_yaml=space.to_yaml(), budget_gflops=1.0, trials=1, seed=0, data=space.proxy.data
    )
    run = RunFolder.create(name, header)
    record = TrialRecord(
        id="t1",
        architecture=space.uniform("resnet18", 0.5),
        state=TrialState.COMPLETE,
        reason=None,
        gflops=0.01,
        params=1,
        accuracy=0.5,
        loss=1.0,
        epochs=1,
        seconds=1.0,
        yardstick=None,
        within_budget=True,
        seed=0,
    )
    run.journal.append({"event": "trial", "trial": record.to_dict()})
    run.journal.release()
    return run
