"""The Grafana dashboard as tests read it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).parents[1] / "dashboards" / "grafana"


def panels() -> list[dict[str, Any]]:
    """The panels, without the rows that hold them."""
    board = json.loads((GRAFANA / "octnas.json").read_text(encoding="utf-8"))
    return [each for each in board["panels"] if each["type"] != "row"]


def targets() -> list[dict[str, Any]]:
    """The queries of all panels."""
    return [target for panel in panels() for target in panel["targets"]]


def metrics_of(expression: str) -> set[str]:
    """The metrics that a PromQL expression asks for: Ray puts `ray_` before the names of all."""
    return set(re.findall(r"\bray_\w+", expression))
