"""What an operation takes that was not measured, from the nearest ones that were."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from octnas.costs.ops import Op, built_in_ms

__all__ = ["Nearest"]

NEIGHBOURS = 4


class Nearest:
    """Interpolates between measured operations.

    The nearest are those of the same kernel, dilation, stride and groups (else of the same kind, else all)
    whose channels and map differ by the least factors. What they take over the rule of thumb `built_in_ms`,
    weighted by the inverse square of the distance, is what an operation between them is taken to.
    """

    def __init__(self, times: Mapping[Op, float]) -> None:
        self._ops = sorted(times)
        self._places = np.array([_place(op) for op in self._ops])
        self._ratios = np.array([times[op] / built_in_ms(op) for op in self._ops])
        self._members: dict[Callable[[Op], Hashable], dict[Hashable, NDArray[np.intp]]] = {}

    def ms(self, op: Op) -> float:
        """Milliseconds of any operation."""
        near = self._near(op)
        distances = np.sqrt(((self._places[near] - _place(op)) ** 2).sum(axis=1))
        chosen = np.argsort(distances, kind="stable")[:NEIGHBOURS]
        weights = 1 / (distances[chosen] + 1e-3) ** 2
        return built_in_ms(op) * float(weights @ self._ratios[near[chosen]] / weights.sum())

    def _near(self, op: Op) -> NDArray[np.intp]:
        for key in (_family, _kind):
            if key not in self._members:
                self._members[key] = _by(key, self._ops)
            if key(op) in self._members[key]:
                return self._members[key][key(op)]
        return np.arange(len(self._ops))


def _by(key: Callable[[Op], Hashable], ops: Sequence[Op]) -> dict[Hashable, NDArray[np.intp]]:
    members: dict[Hashable, list[int]] = {}
    for i, op in enumerate(ops):
        members.setdefault(key(op), []).append(i)
    return {name: np.array(found) for name, found in members.items()}


def _family(op: Op) -> Hashable:
    # a depthwise convolution has as many groups as channels: those are near one another
    groups = 0 if 1 < op.groups == op.inputs else op.groups
    taps = op.kernel, op.kernel_time, op.dilation, op.dilation_time
    return op.kind, op.dims, *taps, op.stride, op.stride_time, groups


def _kind(op: Op) -> Hashable:
    return op.kind


def _place(op: Op) -> NDArray[np.float64]:
    return np.log2(np.array([op.inputs, op.outputs, op.pixels], dtype=np.float64))
