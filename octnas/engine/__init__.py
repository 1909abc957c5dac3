"""The search engine: what to train next, where it runs, what becomes of it.

Everything is loaded when it is first used: the command line names samplers without loading a tensor library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octnas.engine.display import progress
    from octnas.engine.evaluate import TrialJob
    from octnas.engine.events import SearchEvent
    from octnas.engine.export_run import export, export_text
    from octnas.engine.rank_display import rank_progress
    from octnas.engine.rank_session import rank
    from octnas.engine.served import dashboard, dashboard_text, has_display
    from octnas.engine.session import resume, search
    from octnas.engine.shown import fronts, fronts_text, write_page
    from octnas.engine.sizing import dry_run, unreachable
    from octnas.engine.sizing_table import dry_run_table
    from octnas.engine.supernet_session import resume_supernet, supernet, supernet_text
    from octnas.engine.winner import train, training_text

__all__ = [
    "SearchEvent",
    "TrialJob",
    "dashboard",
    "dashboard_text",
    "dry_run",
    "dry_run_table",
    "export",
    "export_text",
    "fronts",
    "fronts_text",
    "has_display",
    "progress",
    "rank",
    "rank_progress",
    "resume",
    "resume_supernet",
    "search",
    "supernet",
    "supernet_text",
    "train",
    "training_text",
    "unreachable",
    "write_page",
]

_HOMES = {
    "SearchEvent": "octnas.engine.events",
    "TrialJob": "octnas.engine.evaluate",
    "dashboard": "octnas.engine.served",
    "dashboard_text": "octnas.engine.served",
    "dry_run": "octnas.engine.sizing",
    "dry_run_table": "octnas.engine.sizing_table",
    "export": "octnas.engine.export_run",
    "export_text": "octnas.engine.export_run",
    "fronts": "octnas.engine.shown",
    "fronts_text": "octnas.engine.shown",
    "has_display": "octnas.engine.served",
    "progress": "octnas.engine.display",
    "rank": "octnas.engine.rank_session",
    "rank_progress": "octnas.engine.rank_display",
    "resume": "octnas.engine.session",
    "resume_supernet": "octnas.engine.supernet_session",
    "search": "octnas.engine.session",
    "supernet": "octnas.engine.supernet_session",
    "supernet_text": "octnas.engine.supernet_session",
    "train": "octnas.engine.winner",
    "training_text": "octnas.engine.winner",
    "unreachable": "octnas.engine.sizing",
    "write_page": "octnas.engine.shown",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'octnas.engine' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
