"""One backbone's architectures as paths through a small layered graph, each exactly once.

A step chooses the alpha index of one slot that may be split. Every path from the first state to the last is
one distinct architecture, and the cost of a path is a sum over its edges, so counting, sampling, extremes and
nearest members are sums and minima over paths. What a state remembers is `octnas.space.choices`' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChoiceGraph", "Step"]

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The edges of one step; E edges from the states before it to the states after it."""

    slot: int
    """Index of the slot in the backbone's layer table."""
    states: int
    """Number of states before the step."""
    source: Int64
    """State before, (E,), ascending."""
    target: Int64
    """State after, (E,)."""
    choice: Int64
    """Alpha index, (E,)."""
    cost: Int64
    """What the choice adds to the plain network's cost (negative: saves), (E,)."""
    known: tuple[int, ...]
    """Indices of the earlier slots whose alpha index the states before the step remember."""
    memory: Int64
    """What they remember: the alpha index of each `known` slot, (states, len(known))."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChoiceGraph:
    """All distinct architectures of one backbone, up to downsampling, with one cost.

    The cost is a whole number: multiply-adds, or nanoseconds as a profile predicts them. Graphs are compared
    and hashed by identity.
    """

    constant: int
    """Cost of the plain network."""
    steps: tuple[Step, ...]

    @cached_property
    def size(self) -> int:
        """Number of paths, exact."""
        counts = [1]
        for step in reversed(self.steps):
            before = [0] * step.states
            for source, target in zip(step.source.tolist(), step.target.tolist(), strict=True):
                before[source] += counts[target]
            counts = before
        return counts[0]

    @cached_property
    def least(self) -> tuple[Int64, ...]:
        """For each step and state before it, the least cost that the rest of a path can add."""
        return self._bounds(sign=1)

    @cached_property
    def reduced(self) -> tuple[Int64, ...]:
        """For each step, how much dearer each edge is than the cheapest way on from its source, (E,); >= 0.

        The reduced costs along a path sum to its cost less the smallest cost.
        """
        return tuple(
            step.cost + self.least[i + 1][step.target] - self.least[i][step.source]
            for i, step in enumerate(self.steps)
        )

    @cached_property
    def quantum(self) -> int:
        """The largest integer that divides the difference of any two costs (1 where all are equal)."""
        return int(np.gcd.reduce([int(np.gcd.reduce(costs)) for costs in self.reduced] or [0])) or 1

    @property
    def min_cost(self) -> int:
        """Cost of the cheapest architecture."""
        return self.constant + int(self.least[0][0])

    @cached_property
    def max_cost(self) -> int:
        """Cost of the dearest architecture."""
        return self.constant - int(self._bounds(sign=-1)[0][0])

    def smallest(self) -> tuple[int, ...]:
        """Alpha indices, one a step, of the cheapest path; ties to the smaller alphas."""
        return self._follow(self.least, sign=1)

    def largest(self) -> tuple[int, ...]:
        """Alpha indices, one a step, of the dearest path; ties to the smaller alphas."""
        return self._follow(self._bounds(sign=-1), sign=-1)

    def follow(self, choices: Sequence[int]) -> list[int] | None:
        """The edges of a path, by their number in each step; None where the alpha indices are no path."""
        state, edges = 0, []
        for step, numbers, choice in zip(self.steps, self._numbers, choices, strict=True):
            edge = numbers[state].get(choice)
            if edge is None:
                return None
            edges.append(edge)
            state = int(step.target[edge])
        return edges

    def contains(self, choices: Sequence[int]) -> bool:
        """Whether a vector of alpha indices, one a step, is a path."""
        return self.follow(choices) is not None

    def cost(self, choices: Sequence[int]) -> int:
        """What a path costs; `choices` are its alpha indices, one a step."""
        edges = self.follow(choices)
        assert edges is not None
        return self.constant + sum(int(step.cost[e]) for step, e in zip(self.steps, edges, strict=True))

    @cached_property
    def edges(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """For each step and state before it, the indices of the edges that leave it."""
        leaving: list[list[list[int]]] = []
        for step in self.steps:
            rows: list[list[int]] = [[] for _ in range(step.states)]
            for edge, source in enumerate(step.source.tolist()):
                rows[source].append(edge)
            leaving.append(rows)
        return tuple(tuple(tuple(row) for row in rows) for rows in leaving)

    @cached_property
    def _numbers(self) -> tuple[tuple[dict[int, int], ...], ...]:
        """For each step and state before it, the edge of each choice."""
        return tuple(
            tuple({int(step.choice[edge]): edge for edge in row} for row in rows)
            for step, rows in zip(self.steps, self.edges, strict=True)
        )

    def _bounds(self, *, sign: int) -> tuple[Int64, ...]:
        bounds = [np.zeros(1, dtype=np.int64)]
        for step in reversed(self.steps):
            before = np.full(step.states, np.iinfo(np.int64).max, dtype=np.int64)
            np.minimum.at(before, step.source, sign * step.cost + bounds[-1][step.target])
            bounds.append(before)
        return tuple(reversed(bounds))

    def _follow(self, bounds: tuple[Int64, ...], *, sign: int) -> tuple[int, ...]:
        state, choices = 0, []
        for i, step in enumerate(self.steps):
            for edge in self.edges[i][state]:
                if sign * step.cost[edge] + bounds[i + 1][step.target[edge]] == bounds[i][state]:
                    choices.append(int(step.choice[edge]))
                    state = int(step.target[edge])
                    break
        return tuple(choices)
