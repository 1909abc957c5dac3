"""The linear map from times of single operations to those of whole networks, fitted on a few networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from octnas.costs.latency import Correction, Deviation
from octnas.costs.ops import Op, OpKind

__all__ = ["Measured", "fit_correction"]

_Floats = NDArray[np.float64]

NOISE = 0.03
"""Share by which a network's latency may differ from a sum without saying anything about the correction."""
FACTOR_SPREAD = 0.5
"""By how much a factor is expected to differ from 1."""
CONSTANT_SPREAD = 0.03
"""Of the constant, as a share of the fastest network."""
PER_OP_SPREAD = 0.1
"""Of what all operations of a network cost beside their times, as a share of the fastest network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A network that was timed as a whole."""

    ops: tuple[Op, ...]
    ms: float


def fit_correction(networks: Sequence[Measured], times: Mapping[Op, float]) -> tuple[Correction, Deviation]:
    """The correction that fits networks best, and how far each is from a fit without it.

    Non-negative least squares of the relative errors. A dozen networks do not determine ten numbers, so each
    is drawn to what it would be if networks were plain sums (factors 1, the rest 0), as strongly as the
    spreads above say: the maximum of the posterior with normal errors.

    Args:
        times: ms of every operation of the networks.
    """
    kinds = cast(list[OpKind], sorted({op.kind for network in networks for op in network.ops}))
    sums = np.array([_features(network.ops, times, kinds) for network in networks])
    measured = np.array([network.ms for network in networks])
    errors = []
    for i in range(len(networks)):
        others = np.arange(len(networks)) != i
        if others.any():
            solution = _solve(sums[others], measured[others])
            errors.append(100 * abs(float(sums[i] @ solution) / networks[i].ms - 1))
    constant, per_op, *factors = _solve(sums, measured).tolist()
    return (
        Correction(constant_ms=constant, per_op_ms=per_op, factors=dict(zip(kinds, factors, strict=True))),
        Deviation(
            median_percent=float(np.median(errors)) if errors else 0.0,
            worst_percent=max(errors, default=0.0),
            networks=len(networks),
        ),
    )


def _features(ops: Sequence[Op], times: Mapping[Op, float], kinds: Sequence[OpKind]) -> list[float]:
    """1, the number of operations, and their time by kind."""
    by_kind = dict.fromkeys(kinds, 0.0)
    for op in ops:
        by_kind[op.kind] += times[op]
    return [1.0, float(len(ops)), *by_kind.values()]


def _solve(sums: _Floats, measured: _Floats) -> _Floats:
    from scipy.optimize import nnls

    fastest, operations = float(measured.min()), float(np.median(sums[:, 1]))
    factors = sums.shape[1] - 2
    expected = np.array([0.0, 0.0] + [1.0] * factors)
    spread = np.array(
        [CONSTANT_SPREAD * fastest, PER_OP_SPREAD * fastest / operations] + [FACTOR_SPREAD] * factors
    )
    rows = np.vstack([sums / measured[:, None] / NOISE, np.diag(1 / spread)])
    values = np.concatenate([np.full(len(measured), 1 / NOISE), expected / spread])
    solution, _ = nnls(rows, values)
    return np.asarray(solution, dtype=np.float64)
