"""The names of the samplers, and the default, in one place; `optuna_adapter` has what they stand for.

Kept apart from it so that the command line can name them without loading Optuna.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

__all__ = ["DEFAULT_SAMPLER", "SAMPLER_NAMES", "Sampler"]

Sampler = Literal["thompson", "tpe", "nsga2", "random", "gp"]
"""A linear model, Thompson draws from it, and the member of a draw's exact front that gains most;
multi-objective TPE; NSGA-II; stratified random draws; a Gaussian process."""
SAMPLER_NAMES: Final[tuple[Sampler, ...]] = get_args(Sampler)
DEFAULT_SAMPLER: Final[Sampler] = "thompson"
