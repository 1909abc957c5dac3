"""Which of the scored architectures are trained: the candidates of a search with shared weights.

The score of an architecture's training is predicted by its shared score (`octnas.front.smoothing`) and an
offset, the mean difference of the two over the trials that finished: that of its backbone, drawn to the mean
of all as by `PRIOR` more trials. The next candidate is the one whose prediction adds most hypervolume to what
was trained already, where trials under way count by their predictions; where nothing is predicted to add any,
the first by `best_first` among all. When all scored ones are trained, the search's own sampler goes on.

Taking the first of the untrained by rank and crowding would train both ends of the front again and again: the
ends of what is left are always the least crowded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from octnas.architecture import Architecture
from octnas.engine.acquisition import gains
from octnas.engine.rungs import best_first, score_of
from octnas.front.smoothing import smoothed
from octnas.record import SharedScore, TrialRecord, TrialState
from octnas.space import Feasible

__all__ = ["PRIOR", "Finalists", "Sampler"]

PRIOR = 2
"""Trials that the mean difference of all backbones weighs as much as, beside a backbone's own."""


class Sampler(Protocol):
    """What proposes when all scored architectures are trained."""

    def ask(self) -> Architecture | None: ...
    def add(self, architecture: Architecture, *, counts: bool = False) -> None: ...
    def tell(self, record: TrialRecord) -> None: ...


class Finalists:
    """Proposes scored architectures for training.

    Args:
        feasible: the members within the budgets.
        scores: the shared scores; those of architectures outside the budgets are left out.
        rank_by: "accuracy" or "loss".
        reserved: architectures that are trained anyway: yardsticks.
        history: what is known from before a death: each trial as it stood after each line of the journal.
        sampler: proposes what comes after the scored ones; it knows the history.
    """

    def __init__(
        self,
        feasible: Feasible,
        scores: Iterable[SharedScore],
        *,
        rank_by: str = "accuracy",
        reserved: Iterable[Architecture] = (),
        history: Iterable[TrialRecord] = (),
        sampler: Sampler,
    ) -> None:
        self._feasible = feasible
        self._rank_by = rank_by
        self._sampler = sampler
        self._scored = {
            each.architecture.digest: each for each in scores if feasible.contains(each.architecture)
        }
        within = list(self._scored.values())
        self._smoothed = dict(zip(self._scored, smoothed(within), strict=True))
        self._costs = {key: feasible.cost(each.architecture) for key, each in self._scored.items()}
        self._known = {each.digest for each in reserved}
        self._started: dict[str, Architecture] = {}
        self._records: dict[str, TrialRecord] = {}
        for record in history:
            self._note(record.architecture)
            self._records[record.architecture.digest] = record

    def ask(self) -> Architecture | None:
        """The next architecture to train; None where the space has none left."""
        left = [each for key, each in self._scored.items() if key not in self._known]
        if not left:
            proposed = self._sampler.ask()
            if proposed is not None:
                self._note(proposed)
            return proposed
        chosen = self._first_of(left).architecture
        self._sampler.add(chosen, counts=True)
        self._note(chosen)
        return chosen

    def add(self, architecture: Architecture) -> None:
        """Makes an architecture known that was not asked for: a yardstick."""
        self._sampler.add(architecture)
        self._note(architecture)

    def tell(self, record: TrialRecord) -> None:
        """Tells what became of a trial."""
        self._records[record.architecture.digest] = record
        self._sampler.tell(record)

    def predicted(self, score: SharedScore) -> float:
        """The score of an architecture's training, as far as trials so far tell."""
        return self._shared(score) + self._offset(score.architecture.backbone)

    # ---------------------------------------------------------------- inside
    def _note(self, architecture: Architecture) -> None:
        self._known.add(architecture.digest)
        self._started[architecture.digest] = architecture

    def _first_of(self, left: list[SharedScore]) -> SharedScore:
        points = [(self.predicted(each), self._costs[each.architecture.digest]) for each in left]
        known = self._points_of_known()
        lowest = min(score for score, _ in (*points, *known))
        scores, costs = np.array(points).T
        known_scores, known_costs = np.array(known).reshape(-1, 2).T
        limit = self._feasible.reference_units / self._feasible.limit_units * self._feasible.limit
        gained = gains(costs, scores, known_costs, known_scores, reference=(limit, lowest))
        if gained.max() > 0:
            return left[int(np.argmax(gained))]
        return left[next(i for i in best_first([*points, *known]) if i < len(left))]

    def _points_of_known(self) -> list[tuple[float, float]]:
        """(score, cost) of what was trained, and as predicted of what is under way; what was stopped early or
        failed leaves its place to others."""
        points = []
        for key, architecture in self._started.items():
            record = self._records.get(key)
            if not self._feasible.within(architecture):
                continue
            cost = self._feasible.cost(architecture)
            if record is not None and record.state is TrialState.COMPLETE:
                points.append((self._trained(record), cost))
            elif key in self._scored and (record is None or not record.state.final):
                points.append((self.predicted(self._scored[key]), cost))
        return points

    def _offset(self, backbone: str) -> float:
        differences = [
            (record.architecture.backbone, self._trained(record) - self._shared(self._scored[key]))
            for key, record in self._records.items()
            if key in self._scored and record.state is TrialState.COMPLETE
        ]
        if not differences:
            return 0.0
        common = sum(each for _, each in differences) / len(differences)
        own = [each for name, each in differences if name == backbone]
        return (sum(own) + PRIOR * common) / (len(own) + PRIOR)

    def _shared(self, score: SharedScore) -> float:
        return score_of(self._smoothed[score.architecture.digest], score.loss, self._rank_by)

    def _trained(self, record: TrialRecord) -> float:
        assert record.accuracy is not None
        assert record.loss is not None
        return score_of(record.accuracy, record.loss, self._rank_by)
