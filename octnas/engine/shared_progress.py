"""How far the part of a search is that comes before its trials, and for how long it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from octnas.engine.supernets import Supernets

__all__ = ["Durations", "SharedProgress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedProgress:
    """Where supernets and scoring stand."""

    running: tuple[tuple[str, int], ...] = ()
    """Backbones whose supernets are trained now, with their scored epochs."""
    epochs: int = 0
    """Of one supernet's whole training; 0 before it is known."""
    trained: int = 0
    """Scored epochs of all supernets that are not given up."""
    to_train: int = 0
    """Epochs of all of these."""
    scored: int = 0
    to_score: int = 0
    """Architectures to score in all."""

    @property
    def scoring(self) -> bool:
        """Whether all that is left is to score."""
        return self.trained >= self.to_train > 0 or self.to_train == 0 < self.scored


class Durations:
    """What epochs and scores have taken so far."""

    def __init__(self, workers: int, costs: Mapping[str, float]) -> None:
        """`costs` are the backbones' in any unit: what was not seen yet is taken to last as long."""
        self._workers = workers
        self._costs = costs
        self._epochs: dict[str, tuple[int, float]] = {}
        self._scores = (0, 0.0)

    def epoch(self, backbone: str, seconds: float) -> None:
        """One more epoch of a supernet."""
        count, spent = self._epochs.get(backbone, (0, 0.0))
        self._epochs[backbone] = count + 1, spent + seconds

    def scores(self, count: int, seconds: float) -> None:
        """`count` architectures more were scored by a worker in so many seconds."""
        self._scores = self._scores[0] + count, self._scores[1] + seconds

    def left(self, supernets: Supernets | None, to_score: int) -> float | None:
        """Seconds until all is trained, and scored as far as that is known; None while nothing is."""
        estimates = [self._training(supernets) if supernets is not None else None]
        count, spent = self._scores
        if count:
            estimates.append(max(0, to_score) * spent / count)
        known = [each for each in estimates if each is not None]
        return sum(known) / self._workers if known else None

    def _training(self, supernets: Supernets) -> float | None:
        if not supernets.unended:
            return 0.0
        if not self._epochs:
            return None
        pace = sum(spent for _, spent in self._epochs.values()) / sum(
            count * self._costs[name] for name, (count, _) in self._epochs.items()
        )
        return sum(
            (supernets.epochs - each.epochs) * self._seconds(each.backbone, pace)
            for each in supernets.unended
        )

    def _seconds(self, backbone: str, pace: float) -> float:
        if backbone in self._epochs:
            count, spent = self._epochs[backbone]
            return spent / count
        return pace * self._costs[backbone]
