"""From the terms of a cost and the granularity to the graph of a backbone's choices.

A state after a step remembers what later choices and costs depend on: the index of slots that a later term of
a cost needs (for multiply-adds usually the last one, for latency also the output of the block before, which
the residual sum and the first layer of the next block read), the total low channels so far of slots that a
later term adds up (the parts of a concatenation: a DenseNet's state has a sum, and not the choices of all
layers before), and what the granularity asks of the rest of the stage or block.

With `stage+layer` a stage has an index s and each of its layers a step -1, 0 or +1 from it, clipped to
the allowed alphas. The index vectors that this reaches are exactly those whose largest and smallest
index in a stage differ by at most 2; the state carries these two, so that a vector that several s reach
still is one path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from octnas.backbones import Slot
from octnas.space.graph import ChoiceGraph, Step
from octnas.space.schema import Granularity
from octnas.space.terms import Terms

__all__ = ["build_graphs"]

Memory = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Indices of the slots that later terms need, totals of low channels that they need, and the granularity's
memory of the current group."""

_STEP_RANGE = 2
"""Steps of -1, 0, +1 from one index: the largest and the smallest index differ by at most this."""


def build_graphs(
    costs: Sequence[Terms],
    slots: Sequence[Slot],
    lows: Sequence[Sequence[int]],
    octave: Sequence[bool],
    granularity: Granularity,
) -> tuple[ChoiceGraph, ...]:
    """The graph of a backbone's choices, once for each cost: the same states and edges with other figures.

    Args:
        costs: one or more; the states remember what any of them depends on.
        lows: for each slot, the low channels of each allowed alpha.
        octave: for each slot, whether it may be split; the others stay at 0 and are no step.
    """
    order = [slot for slot in slots if octave[slot.index]]
    needed_until = _last_use(costs)
    groups = [_group(slot, granularity) for slot in order]
    partners = [_partners(terms) for terms in costs]
    sums = [_SumsAt(terms) for terms in costs]

    steps: list[list[Step]] = [[] for _ in costs]
    live: tuple[int, ...] = ()
    adding: tuple[tuple[int, ...], ...] = ()
    states: dict[Memory, int] = {((), (), ()): 0}
    for position, slot in enumerate(order):
        own, here = slot.index, lows[slot.index]
        last_of_group = position + 1 == len(order) or groups[position + 1] != groups[position]
        kept = tuple(i for i in (*live, own) if needed_until.get(i, -1) > own)
        added_up = tuple(sorted({part for each in sums for part in each.open_after(own)}))
        # A total after the step is one before it, or none, and perhaps what the slot itself has.
        before = [tuple(source for source in part if source != own) for part in added_up]
        after: dict[Memory, int] = {}
        rows: list[tuple[int, ...]] = []
        for (indices, totals, group_memory), source in states.items():
            known = dict(zip(live, indices, strict=True))
            total = dict(zip(adding, totals, strict=True))
            for choice, memory in _allowed(granularity, group_memory, len(here)):
                known[own] = choice
                added = (
                    terms.unary[own][choice]
                    + sum(table[known[other]][choice] for other, table in pairs.get(own, ()))
                    + at.cost(own, known, here[choice], total)
                    for terms, pairs, at in zip(costs, partners, sums, strict=True)
                )
                state = (
                    tuple(known[i] for i in kept),
                    tuple(
                        total.get(rest, 0) + part.count(own) * here[choice]
                        for part, rest in zip(added_up, before, strict=True)
                    ),
                    () if last_of_group else memory,
                )
                rows.append((source, after.setdefault(state, len(after)), choice, *added))
        columns = np.array(rows, dtype=np.int64).T
        remembered = np.array([memory[0] for memory in states], dtype=np.int64).reshape(len(states), -1)
        for into, cost in zip(steps, columns[3:], strict=True):
            into.append(
                Step(
                    slot=own,
                    states=len(states),
                    source=columns[0],
                    target=columns[1],
                    choice=columns[2],
                    cost=cost,
                    known=live,
                    memory=remembered,
                )
            )
        live, adding, states = kept, added_up, after
    return tuple(
        ChoiceGraph(constant=terms.constant, steps=tuple(found))
        for terms, found in zip(costs, steps, strict=True)
    )


class _SumsAt:
    """The terms of sums, by the slot at which all that they depend on is chosen."""

    def __init__(self, terms: Terms) -> None:
        self._keys = list(terms.sums)
        self._by_slot: dict[int, list[tuple[tuple[int, ...], int | None, Mapping[int, tuple[int, ...]]]]] = {}
        for (sources, slot), table in terms.sums.items():
            self._by_slot.setdefault(_last_of(sources, slot), []).append((sources, slot, table))

    def open_after(self, slot: int) -> Iterator[tuple[int, ...]]:
        """The slots up to this one whose low channels a later slot's choice needs the total of."""
        for sources, other in self._keys:
            part = tuple(source for source in sources if source <= slot)
            if part and slot < _last_of(sources, other):
                yield part

    def cost(
        self, slot: int, known: Mapping[int, int], low: int, totals: Mapping[tuple[int, ...], int]
    ) -> int:
        """What the choice of a slot adds, with the totals before it.

        Args:
            known: the alpha index of this slot, and of those before it that are remembered.
            low: this slot's low channels.
        """
        cost = 0
        for sources, other, table in self._by_slot.get(slot, ()):
            before = tuple(source for source in sources if source != slot)
            total = totals.get(before, 0) + (len(sources) - len(before)) * low
            cost += table[total][0 if other is None else known[other]]
        return cost


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
    """For each slot whose index a term with a later slot needs, the last such slot."""
    last: dict[int, int] = {}
    for terms in costs:
        sums = ((slot, sources[-1]) for sources, slot in terms.sums if slot is not None)
        for first, second in (*terms.pairs, *sums):
            last[first] = max(last.get(first, second), second)
    return last


def _last_of(sources: Sequence[int], slot: int | None) -> int:
    """The slot at which all that a term of a sum depends on is chosen."""
    return sources[-1] if slot is None else max(sources[-1], slot)


def _partners(terms: Terms) -> dict[int, list[tuple[int, tuple[tuple[int, ...], ...]]]]:
    """By slot, the earlier slots that it shares a term with, and the terms."""
    partners: dict[int, list[tuple[int, tuple[tuple[int, ...], ...]]]] = {}
    for (first, second), table in terms.pairs.items():
        partners.setdefault(second, []).append((first, table))
    return partners
