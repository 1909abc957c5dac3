"""What octnas tells MLflow's own pages: the columns of the list of runs, the charts of a search's trials, and
a search's description.

MLflow keeps the state of a page that somebody shares in a tag of the experiment, by the name that the link
has as `viewStateShareKey`; what is written here is such a state, as MLflow 3 reads it. A page that does not
know it shows its usual columns and charts.
"""

from __future__ import annotations

import json
from typing import Any

from octnas.record.links import artifact_page, charts_key, charts_page, run_page
from octnas.record.runs import SearchHeader

__all__ = ["SHARED_VIEW", "charts_view", "with_links"]

_TAG = "mlflow.sharedViewState."
_COLUMNS = (
    "metrics.`accuracy`",
    "metrics.`gflops`",
    "metrics.`latency_ms`",
    "tags.`octnas.on_front`",
    "tags.`octnas.state`",
    "tags.`octnas.yardstick`",
    "params.`backbone`",
    "params.`alphas`",
    "metrics.`shared_accuracy`",
)

SHARED_VIEW = (
    f"{_TAG}octnas",
    json.dumps({"selectedColumns": _COLUMNS, "orderByKey": "attributes.start_time", "orderByAsc": False}),
)
"""The experiment's tag that tells MLflow's page which columns the list of runs has, where a link asks for it;
without it the list shows neither accuracy nor GFLOPs. Trials stay below their search in this order."""

_SECTION = "octnas"


def charts_view(header: SearchHeader) -> tuple[str, str]:
    """The experiment's tag by which MLflow's Chart view draws the trials of one search: accuracy against each
    cost that is known, and accuracy over the mean alpha of the stages."""
    costs = ["gflops", *(["latency_ms"] if header.profile else [])]
    charts = [_scatter(cost, "accuracy") for cost in costs]
    charts.append(_parallel([f"alpha.stage{stage}" for stage in _stages(header)], ["gflops", "accuracy"]))
    state = {
        "searchFilter": f"tags.`octnas.search` = '{header.name}' and tags.`octnas.kind` = 'trial'",
        "orderByKey": "metrics.`accuracy`",
        "orderByAsc": False,
        "selectedColumns": _COLUMNS,
        "runsHiddenMode": "SHOW_ALL",
        "runListHidden": True,
        "compareRunCharts": [
            {"uuid": f"{_SECTION}-{number}", "metricSectionId": _SECTION, "deleted": False, **chart}
            for number, chart in enumerate(charts)
        ],
        "compareRunSections": [{"uuid": _SECTION, "name": "Front", "display": True, "isReordered": False}],
    }
    return f"{_TAG}{charts_key(header.name)}", json.dumps(state, separators=(",", ":"))


def _stages(header: SearchHeader) -> list[int]:
    """The stages that any of the yardsticks has, which are of every backbone."""
    return sorted({slot.stage for each in header.yardsticks for slot in each.architecture.table().slots})


def _scatter(x: str, y: str) -> dict[str, Any]:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return {"type": "SCATTER", **axes, "runsCountToCompare": 100}


def _parallel(params: list[str], metrics: list[str]) -> dict[str, Any]:
    return {"type": "PARALLEL", "selectedParams": params, "selectedMetrics": metrics, "showAllRuns": False}


def with_links(note: str, header: SearchHeader, experiment_id: str, run_id: str) -> str:
    """A search's description with links to its page, its trials' charts and all runs above it, and its
    picture below its first paragraph.

    MLflow's page folds a description after about five lines, and no link below them can be clicked.
    """
    first, _, rest = note.partition("\n\n")
    page = artifact_page(None, experiment_id, run_id, "front.html")
    charts = charts_page(None, experiment_id, header.name)
    trials = run_page(None, experiment_id)
    links = f"[The front, to look into]({page}) · [charts of its trials]({charts}) · [all runs]({trials})"
    # Relative, so that it is true of every server and below every path; MLflow's page drops data: addresses.
    picture = f"![The front](get-artifact?path=front-small.png&run_uuid={run_id})"
    return f"{links}\n\n{first}\n\n{picture}\n\n{rest}"
