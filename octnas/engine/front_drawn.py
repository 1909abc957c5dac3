"""The front of a search under way, as its run in MLflow and its folder show it."""

from __future__ import annotations

import os
from collections.abc import Callable

from octnas.engine.campaign import Campaign
from octnas.front import SearchResult
from octnas.front.report import front_report
from octnas.front.told import Told
from octnas.record import FrontReport, RunFolder, TrialRecord
from octnas.record.links import RunLinks

__all__ = ["FrontDrawn"]


class FrontDrawn:
    """Draws a search's front whenever it is asked, and leaves the files in the run's folder.

    It is called in another thread than the search's: what it takes from the campaign are records that never
    change, and what it reads of the journal is read once.

    Args:
        run: its folder.
        warn: called, once, where the folder does not take the files.
    """

    def __init__(self, run: RunFolder, *, warn: Callable[[str], None]) -> None:
        self._run = run
        self._warn = warn
        self._warned = False
        self._told = Told()
        self._read = 0

    def under_way(self, campaign: Campaign, links: RunLinks | None) -> FrontReport:
        """The front as it stands, of a search that goes on."""
        for event, end in self._run.journal.after(self._read):
            self._told.take(event)
            self._read = end
        return self.of(SearchResult.told_of(self._run, _records(campaign), self._told), links)

    def of(self, result: SearchResult, links: RunLinks | None) -> FrontReport:
        """The front of a result.

        Args:
            result: of the run.
            links: to its runs in MLflow; None: those that the run's folder knows from before.
        """
        report = front_report(result, links or RunLinks.of(self._run))
        try:
            for name, content in report.files.items():
                self._leave(name, content if isinstance(content, bytes) else content.encode())
            if links is not None:
                links.keep(self._run.path)
        except OSError as error:  # the journal has all of it, so a full disk costs these alone
            if not self._warned:
                self._warned = True
                self._warn(f"cannot write the front's files in {self._run.path}: {error.strerror}")
        return report

    def _leave(self, name: str, content: bytes) -> None:
        """Whole in place of what was there: a browser may be reading it."""
        whole = self._run.path / f".{name}.new"
        whole.write_bytes(content)
        os.replace(whole, self._run.path / name)


def _records(campaign: Campaign) -> tuple[TrialRecord, ...]:
    while True:
        try:
            return campaign.records
        except RuntimeError:  # a trial began while they were copied
            continue
