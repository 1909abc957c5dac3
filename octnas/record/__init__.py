"""What is known of a search and its trials, and where it is kept. No tensor library is imported here."""

from octnas.record.journal import Journal, history, replay
from octnas.record.networks import networks
from octnas.record.run_list import RunSummary, list_runs
from octnas.record.runs import (
    JOURNAL_VERSION,
    RunFolder,
    SearchHeader,
    Yardstick,
    default_name,
    name_taken,
    run_path,
    runs_home,
)
from octnas.record.shared import SharedScore, SupernetRecord, predictions, shared_scores, supernets
from octnas.record.tracking_values import FrontReport
from octnas.record.trial import EpochScore, Objective, TrialRecord, TrialState

__all__ = [
    "JOURNAL_VERSION",
    "EpochScore",
    "FrontReport",
    "Journal",
    "Objective",
    "RunFolder",
    "RunSummary",
    "SearchHeader",
    "SharedScore",
    "SupernetRecord",
    "TrialRecord",
    "TrialState",
    "Yardstick",
    "default_name",
    "history",
    "list_runs",
    "name_taken",
    "networks",
    "predictions",
    "replay",
    "run_path",
    "runs_home",
    "shared_scores",
    "supernets",
]
