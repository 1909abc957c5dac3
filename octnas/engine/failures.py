"""When so many trials fail alike that the search itself has failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from octnas.errors import SearchFailedError
from octnas.record import TrialRecord, TrialState

__all__ = ["SAME_FAILURES", "refuse_if_all_failed", "same_failure"]

SAME_FAILURES = 5
"""A search whose first trials, this many, all fail for one reason is stopped."""


def same_failure(records: Iterable[TrialRecord], name: str) -> SearchFailedError | None:
    """The error of a search of which all final trials, `SAME_FAILURES` or more, failed for one reason."""
    final = [record for record in records if record.state.final]
    reasons = {record.reason if record.state is TrialState.FAILED else None for record in final}
    if len(final) < SAME_FAILURES or len(reasons) != 1 or None in reasons:
        return None
    return SearchFailedError(
        f"the first {len(final)} trials all failed alike: {reasons.pop()}; "
        f"their rows are in {name!r}, mend the cause and search under another name"
    )


def refuse_if_all_failed(records: Sequence[TrialRecord]) -> None:
    """A search of which nothing came.

    Raises:
        SearchFailedError: there are trials, and all of them failed.
    """
    if records and all(record.state is TrialState.FAILED for record in records):
        raise SearchFailedError(
            f"all {len(records)} trials failed, the last with: {records[-1].reason}; mend the cause and "
            "search under another name"
        )
