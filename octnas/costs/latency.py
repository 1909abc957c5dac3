"""Predicted latency: what a device was measured to take for each plain operation, summed over a network.

    latency of a network = constant + sum over its operations of (factor[kind] * measured ms + per operation)

The factors are fitted on whole networks of the device: they say what an operation adds inside a network,
where a runtime fuses sums and activations into convolutions and every call costs a little. As each node of a
layer table touches at most two searched maps, the latency of every architecture of a backbone is a constant,
a term a slot and a term a pair of slots (`LatencyTable`), like its multiply-adds, only that the terms are
tables and not polynomials. A concatenation counts as one map, whose low channels are the sum of its parts'.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, TypeVar

from octnas.architecture import Architecture
from octnas.backbones import LayerTable
from octnas.costs.nearest import Nearest
from octnas.costs.ops import OP_KINDS, Op, OpKind
from octnas.costs.plans import network_ops, node_ops, node_plans, volumes
from octnas.costs.still import still
from octnas.costs.touched import touched

__all__ = ["SCHEMA_VERSION", "Correction", "Deviation", "DeviceProfile", "LatencyTable", "table_ops"]

SCHEMA_VERSION = 2
"""Of the profile's JSON; one more whenever deployed networks are computed from other operations."""
_SHOWN_TOTALS = 5
"""How many numbers of low channels of one concatenation are timed; the profile interpolates between them."""
_NS = 1e6
"""Nanoseconds a millisecond."""
_COLUMNS = tuple(each.name for each in fields(Op))
"""Of a row of the JSON, before the time."""
_OPTIONAL = ("dilation", "dilation_time")
"""The last of them, which a row leaves out where they are 1."""
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """How the times of single operations add up to a network's; linear, so that a sum stays a sum."""

    constant_ms: float = 0.0
    per_op_ms: float = 0.0
    factors: Mapping[OpKind, float]
    """By kind of operation; 1 for a kind that is not there."""

    def op_ms(self, op: Op, measured_ms: float) -> float:
        """What an operation adds to a network."""
        return self.factors.get(op.kind, 1.0) * measured_ms + self.per_op_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How far predicted latencies were from measured ones, as absolute percentages of the measured."""

    median_percent: float
    worst_percent: float
    networks: int


@dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """The operations of a space as one device runs them in one runtime. Times are ms of a whole batch."""

    device: str
    """The device's name, as `octnas.machine.device_name` gives it."""
    kind: str
    """Kind of device: "cpu" or "cuda"."""
    runtime: str
    threads: int
    batch: int
    versions: Mapping[str, str]
    """Of what the runtime consists of, by name."""
    created: str
    """When it was measured: ISO 8601, UTC."""
    times: Mapping[Op, float]
    """Measured ms of each operation by itself."""
    correction: Correction
    error: Deviation
    """Of the networks that the correction was fitted on, each predicted by a fit without it."""
    seconds: float
    """What measuring took."""

    def measured_ms(self, op: Op) -> float:
        """An operation by itself: as measured or, where it was not, by the nearest ones that were."""
        known = self.times.get(op)
        return self._nearest.ms(op) if known is None else known

    def op_ms(self, op: Op) -> float:
        """What an operation adds to a network; `deploy(net, times=profile.op_ms)` chooses forms by it."""
        known = self._op_ms.get(op)
        if known is None:
            known = self._op_ms[op] = self.correction.op_ms(op, self.measured_ms(op))
        return known

    def latency_ms(
        self, arch: Architecture, input_shape: Sequence[int] | None = None, num_classes: int = 1000
    ) -> float:
        """Predicted milliseconds of a network deployed with the forms that take least by this profile.

        Args:
            input_shape: (C, H, W) or (C, T, H, W) in px; by default the backbone's usual one.

        Raises:
            ArchitectureError: an image for a 3D backbone.
        """
        ops = network_ops(arch, arch.input_shape(input_shape), num_classes, times=self.op_ms)
        return self.correction.constant_ms + sum(map(self.op_ms, ops))

    def covers(self, ops: Iterable[Op]) -> bool:
        """Whether all of these were measured."""
        return all(op in self.times for op in ops)

    @cached_property
    def digest(self) -> str:
        """Identity of everything in it, 12 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """JSON that `from_json` reads back as an equal profile."""
        correction, error = self.correction, self.error
        document = {
            "schema_version": SCHEMA_VERSION,
            "device": self.device,
            "kind": self.kind,
            "runtime": self.runtime,
            "threads": self.threads,
            "batch": self.batch,
            "versions": dict(sorted(self.versions.items())),
            "created": self.created,
            "seconds": self.seconds,
            "correction": {
                "constant_ms": correction.constant_ms,
                "per_op_ms": correction.per_op_ms,
                "factors": dict(sorted(correction.factors.items())),
            },
            "error": {
                "median_percent": error.median_percent,
                "worst_percent": error.worst_percent,
                "networks": error.networks,
            },
            "times": [[*_row(op), ms] for op, ms in sorted(self.times.items())],
        }
        return json.dumps(document, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> DeviceProfile:
        """The profile of a JSON text of this schema version, written by `to_json`.

        Raises:
            KeyError, TypeError, ValueError: it is none; `octnas.costs.profile_file` says so to users.
        """
        document: dict[str, Any] = json.loads(text)
        if document["schema_version"] != SCHEMA_VERSION:
            raise ValueError(
                f"schema version {document['schema_version']} where this octnas reads {SCHEMA_VERSION}"
            )
        times = {_op(row[:-1]): _time(row[-1]) for row in document["times"]}
        if not times:
            raise ValueError("no operations")
        correction, error = document["correction"], document["error"]
        return cls(
            **{name: str(document[name]) for name in ("device", "kind", "runtime", "created")},
            threads=int(document["threads"]),
            batch=int(document["batch"]),
            versions={str(name): str(value) for name, value in document["versions"].items()},
            seconds=_time(document["seconds"]),
            times=times,
            correction=Correction(
                constant_ms=_time(correction["constant_ms"]),
                per_op_ms=_time(correction["per_op_ms"]),
                factors={kind: _time(factor) for kind, factor in correction["factors"].items()},
            ),
            error=Deviation(
                median_percent=_time(error["median_percent"]),
                worst_percent=_time(error["worst_percent"]),
                networks=int(error["networks"]),
            ),
        )

    @cached_property
    def _op_ms(self) -> dict[Op, float]:
        return {}

    @cached_property
    def _nearest(self) -> Nearest:
        return Nearest(self.times)


Together = tuple[tuple[int, ...], int | None]
"""The slots that are read as one concatenation, ascending, each as often as it stands there, and the output's
own slot, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """The predicted latency of every architecture of one backbone at one input size, in whole ns.

    ns(low) = constant_ns + sum_s unary[s][low[s]] + sum_(i, j) pairs[i, j][low[i], low[j]]
    + sum_(S, o) sums[S, o][sum of low over S, low[o]], which is `DeviceProfile.latency_ms` to a microsecond.
    """

    constant_ns: int
    """The network without low channels, but for what `sums` has of it."""
    unary: Mapping[int, Mapping[int, int]]
    """By slot: what low channels add there, by their number; 0 for none."""
    pairs: Mapping[tuple[int, int], Mapping[tuple[int, int], int]]
    """By two slots, the smaller index first: what their low channels add beyond the unary terms."""
    sums: Mapping[Together, Mapping[tuple[int, int], int]] = field(default_factory=dict)
    """Of layers that read a concatenation: all that they take, by the low channels read and written."""

    @classmethod
    def of(
        cls,
        table: LayerTable,
        input_shape: Sequence[int],
        profile: DeviceProfile,
        lows: Sequence[Sequence[int]],
        pools: bool,
    ) -> LatencyTable:
        """The table of a backbone's layers for inputs of (C, H, W) or (C, T, H, W).

        Args:
            lows: for each slot, the numbers of low channels that it may have.
            pools: whether the architectures pool where they have stride 2 and no low channels.
        """
        table = still(table)
        maps = volumes(table, input_shape)
        constant = profile.correction.constant_ms
        unary: dict[int, dict[int, float]] = {
            slot.index: dict.fromkeys((0, *lows[slot.index]), 0.0) for slot in table.slots
        }
        pairs: dict[tuple[int, int], dict[tuple[int, int], float]] = {}
        sums: dict[Together, dict[tuple[int, int], float]] = {}
        for node in table.nodes:
            on = touched(table, node)
            sources, second, same = on.sources, on.own, on.tied and on.own is not None
            first = sources[0] if sources else None
            ms: dict[tuple[int, int], float] = {}
            for low_in in _totals(sources, lows):
                for own in (low_in,) if same else _allowed(second, lows):
                    low_out = on.low_out(low_in, own)
                    ops = node_ops(table, node, low_in, low_out, maps, pools=pools, times=profile.op_ms)
                    ms[low_in, own] = sum(map(profile.op_ms, ops))
            if len(sources) > 1:
                together = sums.setdefault((sources, second), {})
                for key, value in ms.items():
                    together[key] = together.get(key, 0.0) + value
                continue
            plain = ms[0, 0]
            constant += plain
            if first is not None:
                for low in _allowed(first, lows):
                    unary[first][low] += ms[low, low if same else 0] - plain
            if second is not None and not same:
                for low in _allowed(second, lows):
                    unary[second][low] += ms[0, low] - plain
            if first is None or second is None or same:
                continue
            added = pairs.setdefault((min(first, second), max(first, second)), {})
            for (low_in, low_out), value in ms.items():
                key = (low_in, low_out) if first < second else (low_out, low_in)
                extra = value - ms[low_in, 0] - ms[0, low_out] + plain
                added[key] = added.get(key, 0.0) + extra
        return cls(
            constant_ns=round(constant * _NS),
            unary={slot: _whole(values) for slot, values in unary.items()},
            pairs={key: _whole(values) for key, values in sorted(pairs.items())},
            sums={key: _whole(values) for key, values in sums.items()},
        )

    @property
    def plain_ns(self) -> int:
        """Nanoseconds of the network without low channels."""
        return self.constant_ns + sum(values[0, 0] for values in self.sums.values())

    def ns(self, lows: Sequence[int]) -> int:
        """Nanoseconds of the architecture with these low channels, one number a slot."""
        total = self.constant_ns + sum(self.unary[slot][low] for slot, low in enumerate(lows))
        total += sum(values[lows[i], lows[j]] for (i, j), values in self.pairs.items())
        for (slots, own), values in self.sums.items():
            total += values[sum(lows[slot] for slot in slots), 0 if own is None else lows[own]]
        return total


def table_ops(
    table: LayerTable, input_shape: Sequence[int], lows: Sequence[Sequence[int]], pools: bool
) -> frozenset[Op]:
    """The operations that the plans of all architectures of a backbone consist of; see `LatencyTable.of`.

    All of them where layers read one searched map; where they read a concatenation, which may have hundreds
    of numbers of low channels, those of a few numbers, from the least to the greatest.
    """
    table = still(table)
    maps = volumes(table, input_shape)
    found: set[Op] = set()
    for node in table.nodes:
        on = touched(table, node)
        totals = _totals(on.sources, lows)
        for low_in in _few(totals) if len(on.sources) > 1 else totals:
            for own in _allowed(on.own, lows):
                for ops in node_plans(table, node, low_in, on.low_out(low_in, own), maps, pools=pools):
                    found.update(ops)
    return frozenset(found)


def _totals(slots: Sequence[int], lows: Sequence[Sequence[int]]) -> list[int]:
    """The numbers of low channels that a map has which these slots split together."""
    totals = {0}
    for slot in dict.fromkeys(slots):
        each = slots.count(slot)
        totals = {total + each * low for total in totals for low in _allowed(slot, lows)}
    return sorted(totals)


def _few(totals: Sequence[int]) -> list[int]:
    """Some of many numbers, evenly spaced, the first and the last among them."""
    if len(totals) <= _SHOWN_TOTALS:
        return list(totals)
    last = len(totals) - 1
    return [totals[round(i * last / (_SHOWN_TOTALS - 1))] for i in range(_SHOWN_TOTALS)]


def _allowed(slot: int | None, lows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return (0,) if slot is None else tuple(dict.fromkeys((0, *lows[slot])))


def _whole(values: Mapping[Key, float]) -> dict[Key, int]:
    return {key: round(value * _NS) for key, value in values.items()}


def _row(op: Op) -> tuple[str | int, ...]:
    columns = _COLUMNS if any(getattr(op, name) != 1 for name in _OPTIONAL) else _COLUMNS[: -len(_OPTIONAL)]
    return tuple(getattr(op, name) for name in columns)


def _op(row: Sequence[Any]) -> Op:
    kind, *numbers = row
    if kind not in OP_KINDS:
        raise ValueError(f"{kind!r} is no kind of operation")
    columns = _COLUMNS[1:]
    if len(numbers) == len(columns) - len(_OPTIONAL):
        columns = columns[: -len(_OPTIONAL)]
    values: dict[str, Any] = {name: int(n) for name, n in zip(columns, numbers, strict=True)}
    return Op(kind=kind, **values)


def _time(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{value!r} is no time")
    return number
