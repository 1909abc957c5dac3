"""Where a search and its trials are seen in MLflow: links that name no server where any may show the store.

A store that is a server has its pages at its own address. One that is a file or a database has none: its
links begin with "#/", and are true of every MLflow server that is started over it (`octnas dashboard NAME`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from octnas.record.credentials import without_credentials
from octnas.record.runs import RunFolder

__all__ = [
    "RunLinks",
    "artifact_page",
    "charts_key",
    "charts_page",
    "run_page",
    "server_of",
]

_FILE = "mlflow.json"
_VIEW = "workflowType=machine_learning"  # else MLflow opens the view for chat traces
_SHARED = "viewStateShareKey=octnas"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLinks:
    """A search's run in MLflow, and those of its trials.

    `uri` is the store's, without credentials; `trials` has the run of each trial by the trial's id, as far as
    the store has them. A run's folder keeps it as mlflow.json.
    """

    uri: str
    experiment_id: str
    run_id: str
    trials: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "uri", without_credentials(self.uri))

    @property
    def server(self) -> str | None:
        """The address of the server that shows the store; None where any server over it does."""
        return server_of(self.uri)

    @property
    def search_page(self) -> str:
        """The search's run."""
        return run_page(self.server, self.experiment_id, self.run_id)

    @property
    def front_page(self) -> str:
        """The search's front, as MLflow shows it."""
        return artifact_page(self.server, self.experiment_id, self.run_id, "front.html")

    @property
    def list_page(self) -> str:
        """All runs of the experiment, trials below their searches."""
        return run_page(self.server, self.experiment_id)

    def trial_page(self, trial_id: str) -> str | None:
        """A trial's run; None where the store does not have it yet."""
        run_id = self.trials.get(trial_id)
        return None if run_id is None else run_page(self.server, self.experiment_id, run_id)

    def where(self, search: str) -> str:
        """For people: the search's page, or the command that shows it where no server does yet."""
        return f"`octnas dashboard {search}`" if self.server is None else self.search_page

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them back to an equal value."""
        return {
            "uri": self.uri,
            "experiment_id": self.experiment_id,
            "run_id": self.run_id,
            "trials": dict(self.trials),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> RunLinks:
        """The links that `to_dict` wrote; unknown keys are ignored."""
        return cls(
            uri=str(value["uri"]),
            experiment_id=str(value["experiment_id"]),
            run_id=str(value["run_id"]),
            trials={str(trial_id): str(run_id) for trial_id, run_id in value["trials"].items()},
        )

    @classmethod
    def of(cls, run: RunFolder) -> RunLinks | None:
        """What the run's folder keeps; None where no store has taken the search, or the file is damaged."""
        try:
            return cls.from_dict(json.loads((run.path / _FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def keep(self, folder: Path) -> None:
        """Writes it into a run's folder, whole in place of what was there.

        Raises:
            OSError: the folder cannot be written.
        """
        whole = folder / f".{_FILE}.new"
        whole.write_text(json.dumps(self.to_dict()) + "\n", encoding="utf-8")
        os.replace(whole, folder / _FILE)


def server_of(uri: str) -> str | None:
    """The address of an http store without credentials and query; None for other stores."""
    if not uri.startswith(("http://", "https://")):
        return None
    parts = urlsplit(uri)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def run_page(server: str | None, experiment_id: str, run_id: str | None = None) -> str:
    """The page of a run, or of the experiment's list of runs, in the columns that octnas chose."""
    runs = f"{_root(server)}#/experiments/{experiment_id}/runs"
    return f"{runs}/{run_id}?{_VIEW}" if run_id else f"{runs}?{_VIEW}&{_SHARED}"


def artifact_page(server: str | None, experiment_id: str, run_id: str, name: str) -> str:
    """The page on which MLflow shows a file of a run."""
    return f"{_root(server)}#/experiments/{experiment_id}/runs/{run_id}/artifacts/{quote(name)}?{_VIEW}"


def charts_key(search: str) -> str:
    """By which MLflow finds what its charts of a search's trials are, see `octnas.record.mlflow_view`."""
    return f"octnas-{search}"


def charts_page(server: str | None, experiment_id: str, search: str) -> str:
    """The page on which MLflow draws the trials of a search."""
    key = f"viewStateShareKey={charts_key(search)}"
    return f"{_root(server)}#/experiments/{experiment_id}/runs?{_VIEW}&{key}&compareRunsMode=CHART"


def _root(server: str | None) -> str:
    return "" if server is None else f"{server}/"
