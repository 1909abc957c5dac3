"""What low channels cost, as a constant, a term a slot and a term a pair of slots.

Multiply-adds and predicted nanoseconds both have this form; `octnas.space.graph` spreads the terms over the
edges of a graph of choices and knows nothing else of a cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from octnas.costs.flops import CostTable
from octnas.costs.latency import LatencyTable

__all__ = ["Terms", "latency_terms", "macs_terms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """cost = constant + sum_s unary[s][a_s] + sum_(i, j) pairs[i, j][a_i][a_j], with a_s the alpha index of a
    slot that may be split; whole numbers."""

    constant: int
    unary: Mapping[int, tuple[int, ...]]
    """By slot, then by alpha index."""
    pairs: Mapping[tuple[int, int], tuple[tuple[int, ...], ...]]
    """By two slots, the smaller index first; then by the alpha index of each. None is 0 everywhere."""


def macs_terms(costs: CostTable, lows: Sequence[Sequence[int]], octave: Sequence[bool]) -> Terms:
    """The terms of the multiply-adds.

    Args:
        lows: for each slot, the low channels of each allowed alpha.
        octave: for each slot, whether it may be split; the others have no low channels.
    """
    unary = {
        slot: [slope * low for low in lows[slot]]
        for slot, slope in enumerate(costs.linear.tolist())
        if octave[slot]
    }
    pairs: dict[tuple[int, int], list[list[int]]] = {}
    for first, second, coefficient, groups in costs.pairs:
        if not (octave[first] and octave[second]):
            continue
        if first == second:
            for a, low in enumerate(lows[first]):
                unary[first][a] += coefficient * low * low // groups
            continue
        table = pairs.setdefault((first, second), [[0] * len(lows[second]) for _ in lows[first]])
        for a, row in enumerate(table):
            for b, low in enumerate(lows[second]):
                row[b] += coefficient * lows[first][a] * low // groups
    return _terms(costs.constant, unary, pairs)


def latency_terms(table: LatencyTable, lows: Sequence[Sequence[int]], octave: Sequence[bool]) -> Terms:
    """The terms of the predicted nanoseconds; arguments as for `macs_terms`."""
    constant = table.constant_ns + sum(values[0] for slot, values in table.unary.items() if not octave[slot])
    unary = {slot: [table.unary[slot][low] for low in lows[slot]] for slot in table.unary if octave[slot]}
    pairs: dict[tuple[int, int], list[list[int]]] = {}
    for (first, second), values in table.pairs.items():
        if octave[first] and octave[second]:
            pairs[first, second] = [[values[low, other] for other in lows[second]] for low in lows[first]]
        elif octave[first]:
            for a, low in enumerate(lows[first]):
                unary[first][a] += values[low, 0]
        elif octave[second]:
            for b, low in enumerate(lows[second]):
                unary[second][b] += values[0, low]
        else:
            constant += values[0, 0]
    return _terms(constant, unary, pairs)


def _terms(
    constant: int, unary: Mapping[int, list[int]], pairs: Mapping[tuple[int, int], list[list[int]]]
) -> Terms:
    return Terms(
        constant=constant,
        unary={slot: tuple(values) for slot, values in unary.items()},
        pairs={key: tuple(map(tuple, rows)) for key, rows in pairs.items() if any(any(row) for row in rows)},
    )
