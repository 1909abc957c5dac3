"""One backbone's architectures as paths through a small layered graph, each exactly once.

A step chooses the alpha index of one slot that may be split. A state after a step remembers what later
choices and costs depend on: the index of slots that a later product of the cost needs (usually the last
one) and what the granularity asks of the rest of the stage or block. Every path from the first state to
the last is one distinct architecture, and the cost of a path is a sum over its edges, so counting,
sampling, extremes and nearest members are sums and minima over paths.

With `stage+layer` a stage has an index s and each of its layers a step -1, 0 or +1 from it, clipped to
the allowed alphas. The index vectors that this reaches are exactly those whose largest and smallest
index in a stage differ by at most 2; the state carries these two, so that a vector that several s reach
still is one path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from octnas.backbones import Slot
from octnas.costs.flops import CostTable
from octnas.space.schema import Granularity

__all__ = ["ChoiceGraph", "Step", "build_graph"]

Int64 = NDArray[np.int64]
Memory = tuple[tuple[int, ...], tuple[int, ...]]
"""Indices of the slots that later products need, and the granularity's memory of the current group."""

_STEP_RANGE = 2
"""Steps of -1, 0, +1 from one index: the largest and the smallest index differ by at most this."""


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
    macs: Int64
    """Multiply-adds that the choice adds to the plain network's (negative: saves), (E,)."""
    known: tuple[int, ...]
    """Indices of the earlier slots whose alpha index the states before the step remember."""
    memory: Int64
    """What they remember: the alpha index of each `known` slot, (states, len(known))."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChoiceGraph:
    """All distinct architectures of one backbone (up to downsampling, which costs nothing).

    Graphs are compared and hashed by identity.
    """

    constant: int
    """Multiply-adds of the plain network."""
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
        """For each step and state before it, the least multiply-adds that the rest of a path can add."""
        return self._bounds(sign=1)

    @cached_property
    def reduced(self) -> tuple[Int64, ...]:
        """For each step, how much dearer each edge is than the cheapest way on from its source, (E,); >= 0.

        The reduced costs along a path sum to its cost less the smallest cost.
        """
        return tuple(
            step.macs + self.least[i + 1][step.target] - self.least[i][step.source]
            for i, step in enumerate(self.steps)
        )

    @cached_property
    def quantum(self) -> int:
        """The largest integer that divides the difference of any two costs (1 where all are equal)."""
        return int(np.gcd.reduce([int(np.gcd.reduce(costs)) for costs in self.reduced] or [0])) or 1

    @property
    def min_macs(self) -> int:
        """Multiply-adds of the cheapest architecture."""
        return self.constant + int(self.least[0][0])

    @cached_property
    def max_macs(self) -> int:
        """Multiply-adds of the dearest architecture."""
        return self.constant - int(self._bounds(sign=-1)[0][0])

    def smallest(self) -> tuple[int, ...]:
        """Alpha indices, one a step, of the cheapest path; ties to the smaller alphas."""
        return self._follow(self.least, sign=1)

    def largest(self) -> tuple[int, ...]:
        """Alpha indices, one a step, of the dearest path; ties to the smaller alphas."""
        return self._follow(self._bounds(sign=-1), sign=-1)

    def contains(self, choices: Sequence[int]) -> bool:
        """Whether a vector of alpha indices, one a step, is a path."""
        state = 0
        for step, choice in zip(self.steps, choices, strict=True):
            found = np.flatnonzero((step.source == state) & (step.choice == choice))
            if not found.size:
                return False
            state = int(step.target[found[0]])
        return True

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

    def _bounds(self, *, sign: int) -> tuple[Int64, ...]:
        bounds = [np.zeros(1, dtype=np.int64)]
        for step in reversed(self.steps):
            before = np.full(step.states, np.iinfo(np.int64).max, dtype=np.int64)
            np.minimum.at(before, step.source, sign * step.macs + bounds[-1][step.target])
            bounds.append(before)
        return tuple(reversed(bounds))

    def _follow(self, bounds: tuple[Int64, ...], *, sign: int) -> tuple[int, ...]:
        state, choices = 0, []
        for i, step in enumerate(self.steps):
            for edge in self.edges[i][state]:
                if sign * step.macs[edge] + bounds[i + 1][step.target[edge]] == bounds[i][state]:
                    choices.append(int(step.choice[edge]))
                    state = int(step.target[edge])
                    break
        return tuple(choices)


def build_graph(
    costs: CostTable,
    slots: Sequence[Slot],
    lows: Sequence[Sequence[int]],
    octave: Sequence[bool],
    granularity: Granularity,
) -> ChoiceGraph:
    """The graph of a backbone's choices.

    Args:
        costs: the backbone's cost at the target's input.
        lows: for each slot, the low channels of each allowed alpha.
        octave: for each slot, whether it may be split; the others stay at 0 and are no step.
    """
    order = [slot for slot in slots if octave[slot.index]]
    needed_until = _last_use(costs, octave)
    groups = [_group(slot, granularity) for slot in order]
    linear = costs.linear.tolist()
    partners: dict[int, list[tuple[int, int, int]]] = {}
    for first, second, coefficient, divisor in costs.pairs:
        if octave[first] and octave[second]:
            partners.setdefault(second, []).append((first, coefficient, divisor))

    steps: list[Step] = []
    live: tuple[int, ...] = ()
    states: dict[Memory, int] = {((), ()): 0}
    for position, slot in enumerate(order):
        last_of_group = position + 1 == len(order) or groups[position + 1] != groups[position]
        kept = tuple(i for i in (*live, slot.index) if needed_until.get(i, -1) > slot.index)
        after: dict[Memory, int] = {}
        rows: list[tuple[int, int, int, int]] = []
        for (indices, group_memory), source in states.items():
            known = dict(zip(live, indices, strict=True))
            for choice, memory in _allowed(granularity, group_memory, len(lows[slot.index])):
                known[slot.index] = choice
                low = lows[slot.index][choice]
                macs = linear[slot.index] * low + sum(
                    coefficient * lows[other][known[other]] * low // divisor
                    for other, coefficient, divisor in partners.get(slot.index, ())
                )
                state = (tuple(known[i] for i in kept), () if last_of_group else memory)
                rows.append((source, after.setdefault(state, len(after)), choice, macs))
        columns = np.array(rows, dtype=np.int64).T
        steps.append(
            Step(
                slot=slot.index,
                states=len(states),
                source=columns[0],
                target=columns[1],
                choice=columns[2],
                macs=columns[3],
                known=live,
                memory=np.array([indices for indices, _ in states], dtype=np.int64).reshape(len(states), -1),
            )
        )
        live, states = kept, after
    return ChoiceGraph(constant=costs.constant, steps=tuple(steps))


def _allowed(
    granularity: Granularity, memory: tuple[int, ...], alphas: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The indices that may follow in a group, each with the group's memory after it."""
    for choice in range(alphas):
        match granularity:
            case "layer":
                yield choice, ()
            case "stage" | "block":
                if memory in ((), (choice,)):
                    yield choice, (choice,)
            case "stage+layer":
                lowest, highest = min((*memory, choice)), max((*memory, choice))
                if highest - lowest <= _STEP_RANGE:
                    yield choice, (lowest, highest)


def _group(slot: Slot, granularity: Granularity) -> tuple[int, ...]:
    match granularity:
        case "layer":
            return (slot.index,)
        case "block":
            return slot.stage, slot.block
        case "stage" | "stage+layer":
            return (slot.stage,)


def _last_use(costs: CostTable, octave: Sequence[bool]) -> dict[int, int]:
    """For each slot in a product with a later slot, the last such slot."""
    last: dict[int, int] = {}
    for first, second, *_ in costs.pairs:
        if first < second and octave[first] and octave[second]:
            last[first] = max(last.get(first, second), second)
    return last
