"""A trained network for use: its inference form, and files that run without octnas."""

from __future__ import annotations

from octnas.export.card import DataFacts, Provenance, Timings
from octnas.export.deploy import DeployedNetwork, deploy
from octnas.export.files import ExportReport, check_target, export_model
from octnas.export.verify import Verification

__all__ = [
    "DataFacts",
    "DeployedNetwork",
    "ExportReport",
    "Provenance",
    "Timings",
    "Verification",
    "check_target",
    "deploy",
    "export_model",
]
