"""The first import of mlflow, which takes seconds and which only one thread may do.

Its modules need one another while they are made, so a second thread that imports it meanwhile meets half of
it and fails. Ray Tune imports it too, in the thread of the search.
"""

from __future__ import annotations

import threading

from octnas.record.tracking_store import prepare_environment

__all__ = ["import_mlflow"]

_ALONE = threading.Lock()


def import_mlflow() -> None:
    """Imports it, or waits until another thread has."""
    with _ALONE:
        prepare_environment()
        import mlflow.tracking  # noqa: F401
