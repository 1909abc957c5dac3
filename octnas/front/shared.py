"""What a search knows of shared weights, and how far its shared scores agree with its own trainings.

A shared score is an architecture's accuracy on the weights that all of its backbone share, before any
training of its own. It chooses what is trained; what is reported of a trial is its training's accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from octnas.front.correlation import Agreement, agreement
from octnas.front.smoothing import smoothed
from octnas.record import (
    SearchHeader,
    SharedScore,
    SupernetRecord,
    TrialRecord,
    TrialState,
    predictions,
    shared_scores,
    supernets,
)

__all__ = ["Shared", "own_agreement", "shared_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What a journal tells of shared weights."""

    asked: int
    """Architectures that the search was to score."""
    scores: tuple[SharedScore, ...]
    supernets: tuple[SupernetRecord, ...]
    predictor: Mapping[str, Any] | None
    """What was last said of it, see `octnas.engine.predictor`; None where it was not asked."""

    @property
    def placed(self) -> tuple[SharedScore, ...]:
        """The scores whose cost is known."""
        return tuple(each for each in self.scores if each.gflops is not None)

    def to_dict(self, own: Agreement) -> dict[str, Any]:
        """JSON values, the key `shared` of `search --json`."""
        interval = None if own.tau_interval is None else list(own.tau_interval)
        predictor = None
        if self.predictor is not None:
            predictor = {key: value for key, value in self.predictor.items() if key != "chosen"}
        return {
            "score": self.asked,
            "supernets": [each.to_dict() for each in self.supernets],
            "scored": len(self.scores),
            "agreement": {"tau": own.tau, "tau_interval": interval, "trials": own.count},
            "predictor": predictor,
        }


def shared_of(header: SearchHeader, events: Sequence[Mapping[str, Any]]) -> Shared | None:
    """What a run's journal tells of shared weights; None where the run has none."""
    trained = tuple(supernets(events))
    if header.options.get("init") != "shared" and not trained:
        return None
    said = predictions(events)
    return Shared(
        asked=int(header.options.get("score") or 0),
        scores=tuple(shared_scores(events)),
        supernets=trained,
        predictor=said[-1] if said else None,
    )


def own_agreement(records: Iterable[TrialRecord], scores: Sequence[SharedScore]) -> Agreement:
    """How shared scores, smoothed as the search ranks by them, agree with the accuracies of its own complete
    trials, yardsticks too."""
    known = {each.architecture.digest: score for each, score in zip(scores, smoothed(scores), strict=True)}
    pairs = [
        (known[each.architecture.digest], each.accuracy)
        for each in records
        if each.state is TrialState.COMPLETE
        and each.architecture.digest in known
        and each.accuracy is not None
    ]
    if not pairs:
        return Agreement(count=0, tau=None, tau_interval=None, spearman=None, spearman_interval=None)
    return agreement([scored for scored, _ in pairs], [trained for _, trained in pairs])
