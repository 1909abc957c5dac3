"""A function drawn from what the scores of architectures may be (`octnas.engine.surrogate`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drawn", "Function", "Layers"]

Float64 = NDArray[np.float64]

Function = tuple[float, list[Float64]]
"""An intercept and, for each step of a graph, a score for each edge, (E,)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layers:
    """A function whose value is `intercept + per_mac * macs` plus each layer's entry in `table`."""

    intercept: float
    per_mac: float
    """Of a multiply-add."""
    table: Float64
    """By layer and alpha index, (L, A)."""


class Drawn:
    """A function drawn from what the scores may be, in the unit of the observed scores."""

    def __init__(
        self,
        functions: Mapping[str, Function],
        at: Callable[[str, tuple[int, ...]], float],
        layers: Callable[[str], Layers],
    ) -> None:
        self._functions = functions
        self._at = at
        self._layers = layers

    def __getitem__(self, backbone: str) -> Function:
        """The function on the backbone's graph, for `octnas.space.Optimum`: the value of an architecture is
        the intercept plus the scores of its path's edges."""
        return self._functions[backbone]

    def value(self, backbone: str, choices: Sequence[int]) -> float:
        """The function's value at an architecture; quick for one that was fitted."""
        return self._at(backbone, tuple(choices))

    def layers(self, backbone: str) -> Layers:
        """The function as a sum over layers, where no pairs are modelled."""
        return self._layers(backbone)
