"""The studies in which Optuna's samplers propose: one over several backbones, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.study import Study
from optuna.trial import TrialState as OptunaState

from octnas.architecture import Architecture
from octnas.engine.moments import Curve
from octnas.engine.optuna_samplers import SCORES, RepairedSampler
from octnas.engine.optuna_storage import PartStorage
from octnas.record import TrialState

__all__ = ["Studies"]

_ENDS = {TrialState.COMPLETE: OptunaState.COMPLETE, TrialState.FAILED: OptunaState.FAIL}
"""All else ends as pruned."""


@dataclass(slots=True)
class _Asked:
    """A trial of a study, under way or told early."""

    study: Study
    storage: PartStorage
    trial: optuna.Trial


class Studies:
    """Asks Optuna's samplers, and tells them.

    Args:
        samplers: one a study; each backbone belongs to one of them.
        shown: trials of a study that its sampler looks at, about; None: all.
    """

    def __init__(self, samplers: Sequence[RepairedSampler], *, shown: int | None = None) -> None:
        self._studies: dict[str, tuple[Study, PartStorage, RepairedSampler]] = {}
        self._asked: dict[str, _Asked] = {}
        for sampler in samplers:
            storage = PartStorage(shown=shown)
            study = optuna.create_study(storage=storage, directions=["maximize", "minimize"], sampler=sampler)
            self._studies |= dict.fromkeys(sampler.backbones, (study, storage, sampler))

    def start(
        self, backbone: str, seed: np.random.SeedSequence, forced: Architecture | None = None
    ) -> Architecture:
        """Begins a trial: of `forced`, or of what the sampler proposes; of any of the study's backbones."""
        study, storage, sampler = self._studies[backbone]
        sampler.prepare(seed, forced)
        trial = study.ask()
        architecture = sampler.suggested(trial)
        self._asked[architecture.digest] = _Asked(study, storage, trial)
        return architecture

    def tell(
        self,
        architecture: Architecture,
        state: TrialState,
        curve: Curve,
        values: tuple[float, float] | None,
        *,
        again: bool,
    ) -> None:
        """Ends a trial of Optuna's or, `again`, adds one beside it that ended otherwise.

        Args:
            values: score and cost of a complete one.
        """
        asked = self._asked[architecture.digest]
        ends = _ENDS.get(state, OptunaState.PRUNED)
        learnt = {SCORES: list(curve)} if curve and ends is not OptunaState.FAIL else {}
        if not again:
            for name, value in learnt.items():
                asked.trial.set_user_attr(name, value)
            asked.study.tell(asked.trial, values, ends)
            return
        told = asked.storage.get_trial(asked.trial.number)
        asked.study.add_trial(
            optuna.trial.create_trial(
                state=ends,
                values=values,
                params=told.params,
                distributions=told.distributions,
                user_attrs=learnt,
                system_attrs=told.system_attrs,
            )
        )

    def settle(self, architecture: Architecture) -> None:
        """No more will be told of a trial."""
        del self._asked[architecture.digest]
