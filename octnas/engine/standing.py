"""Where the trials of a search stand, from running sums: what an event tells costs the same at any number."""

from __future__ import annotations

from collections.abc import Mapping

from octnas.front import SearchResult
from octnas.front.staircase import Staircase
from octnas.record import Objective, SearchHeader, TrialRecord, TrialState

__all__ = ["Standing"]


class Standing:
    """What is known of the final trials.

    Args:
        limit: the most that a trial costs by the objective: GFLOPs or ms.
        objective: of the search.
        header: of the search; None: `so_far` is not asked for.
    """

    def __init__(
        self, *, limit: float, objective: Objective = "gflops", header: SearchHeader | None = None
    ) -> None:
        self.finished = 0
        """Trials that are final."""
        self.only_failures = True
        """Whether no final trial is anything but failed."""
        self.states = dict.fromkeys(TrialState, 0)
        """How many trials are in each state."""
        self._limit = limit
        self._objective: Objective = objective
        self._header = header
        self._front = Staircase()
        self._members: dict[str, TrialRecord] = {}
        self._yardsticks: dict[str, TrialRecord] = {}
        self._so_far: SearchResult | None = None
        self._best: str | None = None
        self._stale = False
        self._spent = [0.0, 0]
        self._complete = [0.0, 0]

    def move(self, before: TrialRecord | None, after: TrialRecord) -> None:
        """A trial that began (None), or whose state may have changed."""
        if before is not None:
            self.states[before.state] -= 1
        self.states[after.state] += 1

    def finish(self, record: TrialRecord) -> None:
        """Takes in a trial that is final; each once."""
        self.finished += 1
        self.only_failures = self.only_failures and record.state is TrialState.FAILED
        if record.epochs:
            self._spent = [self._spent[0] + record.seconds, self._spent[1] + 1]
        if record.state is not TrialState.COMPLETE:
            return
        self._complete = [self._complete[0] + record.seconds, self._complete[1] + 1]
        cost, accuracy = record.cost(self._objective), record.accuracy
        assert accuracy is not None
        if record.yardstick is not None:
            self._yardsticks[record.id] = record
            self._so_far = None
        if not record.within_budget or cost > self._limit:
            return
        beaten = self._front.add(record.id, cost, accuracy)
        if beaten is not None:
            self._stale, self._so_far = True, None
            self._members[record.id] = record
            for each in beaten:
                del self._members[each]

    @property
    def front(self) -> int:
        """Members of the front, as `octnas.front.pareto_front` finds them."""
        return len(self._front)

    def best(self, records: Mapping[str, TrialRecord]) -> TrialRecord | None:
        """The member that `octnas.front.best` finds.

        Args:
            records: all trials by their ids, in the order in which they started.
        """
        if self._stale:
            self._best, self._stale = self._find(records), False
        return None if self._best is None else records[self._best]

    def so_far(self) -> SearchResult | None:
        """The front and the complete yardsticks as they ended, as a result of their own; None: no header.

        The same object until one of them changes, so that what is made of it can be kept.
        """
        if self._so_far is None and self._header is not None:
            records = {**self._members, **self._yardsticks}.values()
            started = sorted(records, key=lambda each: (len(each.id), each.id))  # ids are numbers
            self._so_far = SearchResult(header=self._header, records=tuple(started))
        return self._so_far

    @property
    def seconds(self) -> float | None:
        """Mean wall-clock of the final trials that were scored; None where there is none."""
        return self._spent[0] / self._spent[1] if self._spent[1] else None

    @property
    def complete_seconds(self) -> float | None:
        """Mean wall-clock of the complete trials; None where there is none."""
        return self._complete[0] / self._complete[1] if self._complete[1] else None

    def _find(self, records: Mapping[str, TrialRecord]) -> str | None:
        for step in self._front.steps():
            candidates = [each for each in step if each not in self._yardsticks]
            if len(candidates) > 1:  # equal in both: the one that started first
                equal = set(candidates)
                return next(each for each in records if each in equal)
            if candidates:
                return candidates[0]
        return None
