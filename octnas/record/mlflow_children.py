"""The runs of a search and of its trials in a store, each of them once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from octnas.record.mlflow_runs import Runs, fullest
from octnas.record.runs import SearchHeader
from octnas.record.tracking_values import search_identity
from octnas.record.trial import EpochScore

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["Child", "only_children", "only_search"]

_OPEN = ("RUNNING", "SCHEDULED")


@dataclass(kw_only=True, slots=True)
class Child:
    """A trial's run: its start in ms since 1970, the record that it shows, and what it holds."""

    run_id: str
    start: int
    shows: str = ""
    under_way: bool = True
    on_front: bool = False
    has_params: bool = False
    has_architecture: bool = False
    scores: dict[int, EpochScore] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run) -> Child:
        """What a run tells of itself."""
        return cls(
            run_id=run.info.run_id,
            start=run.info.start_time,
            shows=run.data.tags.get("octnas.record", ""),
            under_way=run.info.status in _OPEN,
            on_front=run.data.tags.get("octnas.on_front") == "true",
            has_params=bool(run.data.params),
            has_architecture="octnas.architecture" in run.data.tags,
        )


def only_search(runs: Runs, header: SearchHeader) -> Run | None:
    """The search's run. Of several the one with the most trials is kept, and the trials of others with it."""
    found = list(runs.search(search_identity(header)))
    if len(found) < 2:
        return found[0] if found else None
    trials = {run.info.run_id: list(runs.search(_below(run.info.run_id))) for run in found}
    kept = max(found, key=lambda run: (len(trials[run.info.run_id]), -run.info.start_time))
    for run in found:
        if run is not kept:
            for trial in trials[run.info.run_id]:
                runs.client.set_tag(trial.info.run_id, "mlflow.parentRunId", kept.info.run_id)
            runs.client.delete_run(run.info.run_id)
    return kept


def _below(parent: str) -> dict[str, str]:
    return {"mlflow.parentRunId": parent, "octnas.kind": "trial"}


def only_children(runs: Runs, parent: str) -> dict[str, Child]:
    """The run of each trial; of several the fullest is kept."""
    found: dict[str, list[Run]] = {}
    for run in runs.search(_below(parent)):
        found.setdefault(run.data.tags["octnas.trial_id"], []).append(run)
    for several in found.values():
        kept = fullest(several)
        for run in several:
            if run is not kept:
                runs.client.delete_run(run.info.run_id)
        several[:] = [kept]
    return {trial_id: Child.of(run) for trial_id, (run,) in found.items()}
