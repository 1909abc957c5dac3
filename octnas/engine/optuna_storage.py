"""Where a study of Optuna's keeps its trials: in memory, small, and not all of them in sight.

Optuna's samplers read all trials of a study for every proposal. Here a sampler may be shown a part: the front
of the finished trials, the latest of them, and every 2^k-th of the others. What is shown follows from the
order in which trials finished, so that a study made anew from a journal shows the same.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from octnas.front.staircase import Staircase

__all__ = ["PartStorage"]


class PartStorage(InMemoryStorage):
    """Of one study with two objectives, the first maximised and the second minimised. A trial's id is its
    number.

    Trials with the same parameters share what describes these: a trial of 53 parameters takes a third.

    Args:
        shown: trials that samplers see, about; None: all.
    """

    def __init__(self, *, shown: int | None = None) -> None:
        super().__init__()
        self._shown = shown
        self._described: dict[tuple[str, ...], dict[str, BaseDistribution]] = {}
        self._finished: list[int] = []
        self._under_way: dict[int, None] = {}
        self._front = Staircase()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id = int(super().create_new_trial(study_id, template_trial))
        self._under_way[trial_id] = None
        self._note(trial_id)
        return trial_id

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        changed = bool(super().set_trial_state_values(trial_id, state, values))
        self._note(trial_id)
        return changed

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if self._shown is None or len(self._finished) <= self._shown or states == (TrialState.WAITING,):
            return list(super().get_all_trials(study_id, deepcopy, states))
        trials = [self.get_trial(number) for number in self._part(self._shown)]
        return [each for each in trials if states is None or each.state in states]

    def _note(self, trial_id: int) -> None:
        """Takes note of a trial that is finished."""
        trial = self.get_trial(trial_id)
        if not trial.state.is_finished() or trial_id not in self._under_way:
            return
        del self._under_way[trial_id]
        self._finished.append(trial_id)
        trial.distributions = self._described.setdefault(tuple(trial.params), trial.distributions)
        if trial.state is TrialState.COMPLETE:
            score, cost = trial.values
            self._front.add(str(trial_id), cost, score)

    def _part(self, shown: int) -> list[int]:
        """Numbers of the trials in sight, in their order: half of `shown` the latest, the front, and as many
        of the others as leave room for."""
        latest = self._finished[-(shown // 2) :]
        front = [int(each) for each in self._front][-(shown // 4) :]
        room = max(shown - len(latest) - len(front), 1)
        others = self._finished[: -len(latest)]
        step = 1
        while len(others) > room * step:
            step *= 2
        return sorted({*latest, *front, *others[::step], *self._under_way})
