"""One backbone's architectures as paths through a small layered graph, each exactly once.

A step chooses the alpha index of one slot that may be split. A state after a step remembers what later
choices and costs depend on: the index of slots that a later term of a cost needs (for multiply-adds usually
the last one, for latency also the output of the block before, which the residual sum and the first layer of
the next block read) and what the granularity asks of the rest of the stage or block. Every path from the
first state to the last is one distinct architecture, and the cost of a path is a sum over its edges, so
counting, sampling, extremes and nearest members are sums and minima over paths.

With `stage+layer` a stage has an index s and each of its layers a step -1, 0 or +1 from it, clipped to
the allowed alphas. The index vectors that this reaches are exactly those whose largest and smallest
index in a stage differ by at most 2; the state carries these two, so that a vector that several s reach
still is one path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from octnas.backbones import Slot
from octnas.space.schema import Granularity
from octnas.space.terms import Terms

__all__ = ["ChoiceGraph", "Step", "build_graphs"]

Int64 = NDArray[np.int64]
Memory = tuple[tuple[int, ...], tuple[int, ...]]
"""Indices of the slots that later terms need, and the granularity's memory of the current group."""

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


def build_graphs(
    costs: Sequence[Terms],
    slots: Sequence[Slot],
    alphas: int,
    octave: Sequence[bool],
    granularity: Granularity,
) -> tuple[ChoiceGraph, ...]:
    """The graph of a backbone's choices, once for each cost: the same states and edges with other figures.

    Args:
        costs: one or more; the states remember what any of them depends on.
        alphas: number of allowed alphas.
        octave: for each slot, whether it may be split; the others stay at 0 and are no step.
    """
    order = [slot for slot in slots if octave[slot.index]]
    needed_until = _last_use(costs)
    groups = [_group(slot, granularity) for slot in order]
    partners = [_partners(terms) for terms in costs]

    steps: list[list[Step]] = [[] for _ in costs]
    live: tuple[int, ...] = ()
    states: dict[Memory, int] = {((), ()): 0}
    for position, slot in enumerate(order):
        last_of_group = position + 1 == len(order) or groups[position + 1] != groups[position]
        kept = tuple(i for i in (*live, slot.index) if needed_until.get(i, -1) > slot.index)
        after: dict[Memory, int] = {}
        rows: list[tuple[int, ...]] = []
        for (indices, group_memory), source in states.items():
            known = dict(zip(live, indices, strict=True))
            for choice, memory in _allowed(granularity, group_memory, alphas):
                known[slot.index] = choice
                added = (
                    terms.unary[slot.index][choice]
                    + sum(table[known[other]][choice] for other, table in pairs.get(slot.index, ()))
                    for terms, pairs in zip(costs, partners, strict=True)
                )
                state = (tuple(known[i] for i in kept), () if last_of_group else memory)
                rows.append((source, after.setdefault(state, len(after)), choice, *added))
        columns = np.array(rows, dtype=np.int64).T
        remembered = np.array([indices for indices, _ in states], dtype=np.int64).reshape(len(states), -1)
        for into, cost in zip(steps, columns[3:], strict=True):
            into.append(
                Step(
                    slot=slot.index,
                    states=len(states),
                    source=columns[0],
                    target=columns[1],
                    choice=columns[2],
                    cost=cost,
                    known=live,
                    memory=remembered,
                )
            )
        live, states = kept, after
    return tuple(
        ChoiceGraph(constant=terms.constant, steps=tuple(found))
        for terms, found in zip(costs, steps, strict=True)
    )


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


def _last_use(costs: Iterable[Terms]) -> dict[int, int]:
    """For each slot in a term with a later slot, the last such slot."""
    last: dict[int, int] = {}
    for terms in costs:
        for first, second in terms.pairs:
            last[first] = max(last.get(first, second), second)
    return last


def _partners(terms: Terms) -> dict[int, list[tuple[int, tuple[tuple[int, ...], ...]]]]:
    """By slot, the earlier slots that it shares a term with, and the terms."""
    partners: dict[int, list[tuple[int, tuple[tuple[int, ...], ...]]]] = {}
    for (first, second), table in terms.pairs.items():
        partners.setdefault(second, []).append((first, table))
    return partners
