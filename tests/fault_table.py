"""What broke, what it cost and how long it took: a line a fault, in the file that OCTNAS_FAULTS names."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["tell"]

FILE = os.path.abspath(os.environ["OCTNAS_FAULTS"]) if os.environ.get("OCTNAS_FAULTS") else ""
"""As the command was given it: tests go to folders of their own."""
HEAD = "| fault | lost | s until training went on, or the store was whole |\n|---|---|---|\n"


def tell(fault: str, lost: str, seconds: float) -> None:
    """One line more, where somebody wants the table."""
    if FILE:
        path = Path(FILE)
        before = path.read_text(encoding="utf-8") if path.exists() else HEAD
        path.write_text(f"{before}| {fault} | {lost} | {seconds:.1f} |\n", encoding="utf-8")
