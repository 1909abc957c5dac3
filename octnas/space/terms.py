"""What low channels cost, as a constant, a term a slot, a term a pair of slots, and terms of sums of slots.

A layer that reads a concatenation depends on how many low channels all of its parts have together.
Multiply-adds and predicted nanoseconds both have this form; `octnas.space.choices` spreads the terms over the
edges of a graph of choices and knows nothing else of a cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from octnas.costs.flops import CostTable
from octnas.costs.latency import LatencyTable

__all__ = ["Terms", "latency_terms", "macs_terms"]


SumKey = tuple[tuple[int, ...], int | None]
"""Two or more slots whose low channels add up, ascending, and another one that the term depends on too.

A slot stands twice where a map is concatenated twice. The other one is the later in networks of ours; in a
user's it may be before some of the sources, or one of them, where what reads a concatenation is added to an
earlier map.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """cost = constant + sum_s unary[s][a_s] + sum_(i, j) pairs[i, j][a_i][a_j]
    + sum_(S, j) sums[S, j][sum of lows[s][a_s] over S][a_j], with a_s the alpha index of a slot that may be
    split; whole numbers."""

    constant: int
    unary: Mapping[int, tuple[int, ...]]
    """By slot, then by alpha index."""
    pairs: Mapping[tuple[int, int], tuple[tuple[int, ...], ...]]
    """By two slots, the smaller index first; then by the alpha index of each. None is 0 everywhere."""
    sums: Mapping[SumKey, Mapping[int, tuple[int, ...]]]
    """Then by the total of low channels, then by the later slot's alpha index, 0 where there is no such slot.
    None is 0 everywhere."""


def macs_terms(costs: CostTable, lows: Sequence[Sequence[int]], octave: Sequence[bool]) -> Terms:
    """The terms of the multiply-adds.

    Args:
        lows: for each slot, the low channels of each allowed alpha.
        octave: for each slot, whether it may be split; the others have no low channels.
    """
    terms = _Builder(costs.constant, lows, octave)
    for slot, slope in enumerate(costs.linear.tolist()):
        terms.add_unary(slot, slope.__mul__)
    for first, second, coefficient, groups in costs.pairs:
        terms.add_pair(first, second, partial(_product, coefficient, groups))
    for sources, slot, coefficient in costs.joint:
        terms.add_sum(sources, slot, partial(_product, coefficient, 1))
    return terms.built()


def latency_terms(table: LatencyTable, lows: Sequence[Sequence[int]], octave: Sequence[bool]) -> Terms:
    """The terms of the predicted nanoseconds; arguments as for `macs_terms`."""
    terms = _Builder(table.constant_ns, lows, octave)
    for slot, unary in table.unary.items():
        terms.add_unary(slot, unary.__getitem__)
    for (first, second), pair in table.pairs.items():
        terms.add_pair(first, second, partial(_entry, pair))
    for (sources, out), joint in table.sums.items():
        terms.add_sum(sources, out, partial(_entry, joint))
    return terms.built()


class _Builder:
    """Terms as they add up; slots that may not be split have no low channels and are in none of them."""

    def __init__(self, constant: int, lows: Sequence[Sequence[int]], octave: Sequence[bool]) -> None:
        self._constant, self._lows, self._octave = constant, lows, octave
        self._unary = {slot: [0] * len(lows[slot]) for slot, free in enumerate(octave) if free}
        self._pairs: dict[tuple[int, int], list[list[int]]] = {}
        self._sums: dict[SumKey, dict[int, list[int]]] = {}

    def add_unary(self, slot: int, value: Callable[[int], int]) -> None:
        """A term of a slot's low channels."""
        if not self._octave[slot]:
            self._constant += value(0)
            return
        for a, low in enumerate(self._lows[slot]):
            self._unary[slot][a] += value(low)

    def add_pair(self, first: int, second: int, value: Callable[[int, int], int]) -> None:
        """A term of two slots' low channels; they may be the same."""
        if first == second:
            self.add_unary(first, lambda low: value(low, low))
        elif not self._octave[first]:
            self.add_unary(second, lambda low: value(0, low))
        elif not self._octave[second]:
            self.add_unary(first, lambda low: value(low, 0))
        else:
            rows, columns = self._lows[first], self._lows[second]
            table = self._pairs.setdefault((first, second), [[0] * len(columns) for _ in rows])
            for row, low in zip(table, rows, strict=True):
                for b, other in enumerate(columns):
                    row[b] += value(low, other)

    def add_sum(self, sources: Sequence[int], slot: int | None, value: Callable[[int, int], int]) -> None:
        """A term of the total low channels of several slots, and of those of another one."""
        summed = tuple(sorted(source for source in sources if self._octave[source]))
        if slot is not None and not self._octave[slot]:
            slot = None
        if len(summed) > 1:
            lows = (0,) if slot is None else self._lows[slot]
            table = self._sums.setdefault((summed, slot), {})
            for total in totals(
                [[summed.count(each) * low for low in self._lows[each]] for each in dict.fromkeys(summed)]
            ):
                row = table.setdefault(total, [0] * len(lows))
                for b, low in enumerate(lows):
                    row[b] += value(total, low)
        elif summed and slot is not None:
            self.add_pair(summed[0], slot, value)
        elif summed:
            self.add_unary(summed[0], lambda total: value(total, 0))
        elif slot is not None:
            self.add_unary(slot, lambda low: value(0, low))
        else:
            self._constant += value(0, 0)

    def built(self) -> Terms:
        """The terms, without those that are 0 everywhere."""
        return Terms(
            constant=self._constant,
            unary={slot: tuple(values) for slot, values in self._unary.items()},
            pairs={key: tuple(map(tuple, rows)) for key, rows in self._pairs.items() if any(map(any, rows))},
            sums={
                key: {total: tuple(row) for total, row in table.items()}
                for key, table in self._sums.items()
                if any(map(any, table.values()))
            },
        )


def _product(coefficient: int, groups: int, first: int, second: int) -> int:
    return coefficient * first * second // groups


def _entry(table: Mapping[tuple[int, int], int], first: int, second: int) -> int:
    return table[first, second]


def totals(lows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Everything that one number of each sequence can add up to, ascending."""
    found = {0}
    for values in lows:
        found = {total + value for total in found for value in values}
    return tuple(sorted(found))
