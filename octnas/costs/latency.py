"""Predicted latency: what a device was measured to take for each plain operation, summed over a network.

    latency of a network = constant + sum over its operations of (factor[kind] * measured ms + per operation)

The factors are fitted on whole networks of the device: they say what an operation adds inside a network,
where a runtime fuses sums and activations into convolutions and every call costs a little. As each node of a
layer table reads at most two searched maps, the latency of every architecture of a backbone is a constant, a
term a slot and a term a pair of slots (`LatencyTable`), like its multiply-adds, only that the terms are
tables and not polynomials.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from octnas.architecture import Architecture
from octnas.backbones import Add, Conv, LayerTable
from octnas.costs.plans import (
    OP_KINDS,
    Op,
    OpKind,
    built_in_ms,
    conv_pools,
    layer_plans,
    network_ops,
    node_ops,
)

__all__ = ["SCHEMA_VERSION", "Correction", "Deviation", "DeviceProfile", "LatencyTable", "table_ops"]

SCHEMA_VERSION = 1
"""Of the profile's JSON; one more whenever deployed networks are computed from other operations."""
_DEFAULT_SIDE = {"imagenet": 224, "small": 32}
_NEIGHBOURS = 4
_NS = 1e6
"""Nanoseconds a millisecond."""
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
        """An operation by itself: as measured or, where it was not, by the nearest ones that were.

        The nearest are those of its kind, kernel and stride (else of its kind, else all) whose channels and
        map differ by the least factors. What they take over the rule of thumb `built_in_ms`, weighted by the
        inverse square of the distance, is what this one is taken to.
        """
        known = self.times.get(op)
        return self._interpolated(op) if known is None else known

    def op_ms(self, op: Op) -> float:
        """What an operation adds to a network; `deploy(net, times=profile.op_ms)` chooses forms by it."""
        known = self._op_ms.get(op)
        if known is None:
            known = self._op_ms[op] = self.correction.op_ms(op, self.measured_ms(op))
        return known

    def latency_ms(
        self, arch: Architecture, input_shape: tuple[int, int, int] | None = None, num_classes: int = 1000
    ) -> float:
        """Predicted milliseconds of a network deployed with the forms that take least by this profile.

        Args:
            input_shape: (C, H, W) in px; by default 3 x 224 x 224, or 3 x 32 x 32 with the small-image stem.
        """
        side = _DEFAULT_SIDE[arch.stem]
        ops = network_ops(arch, input_shape or (3, side, side), num_classes, times=self.op_ms)
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

    def _interpolated(self, op: Op) -> float:
        near = [
            other for other in self.times if _family(other) == _family(op) and other.groups == op.groups
        ] or [other for other in self.times if other.kind == op.kind]
        ranked = sorted((_distance(op, other), other) for other in near or self.times)[:_NEIGHBOURS]
        weights = [1 / (distance + 1e-3) ** 2 for distance, _ in ranked]
        ratios = [self.times[other] / built_in_ms(other) for _, other in ranked]
        mean = sum(w * r for w, r in zip(weights, ratios, strict=True)) / sum(weights)
        return built_in_ms(op) * mean


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """The predicted latency of every architecture of one backbone at one input size, in whole ns.

    ns(low) = constant_ns + sum_s unary[s][low[s]] + sum_(i, j) pairs[i, j][low[i], low[j]], which is
    `DeviceProfile.latency_ms` to a microsecond.
    """

    constant_ns: int
    """The network without low channels."""
    unary: Mapping[int, Mapping[int, int]]
    """By slot: what low channels add there, by their number; 0 for none."""
    pairs: Mapping[tuple[int, int], Mapping[tuple[int, int], int]]
    """By two slots, the smaller index first: what their low channels add beyond the unary terms."""

    @classmethod
    def of(
        cls,
        table: LayerTable,
        height: int,
        width: int,
        profile: DeviceProfile,
        lows: Sequence[Sequence[int]],
        pools: bool,
    ) -> LatencyTable:
        """The table of a backbone's layers for inputs of `height` x `width` px.

        Args:
            lows: for each slot, the numbers of low channels that it may have.
            pools: whether the architectures pool where they have stride 2 and no low channels.
        """
        sizes, sources = table.sizes(height, width), table.source_slots
        constant = profile.correction.constant_ms
        unary: dict[int, dict[int, float]] = {
            slot.index: dict.fromkeys((0, *lows[slot.index]), 0.0) for slot in table.slots
        }
        pairs: dict[tuple[int, int], dict[tuple[int, int], float]] = {}
        for node in table.nodes:
            reads = node.reads[1] if isinstance(node, Add) else node.reads
            writes = node.reads[0] if isinstance(node, Add) else node.name
            first, second = sources[reads], sources[writes]
            same = first is not None and first == second
            ms: dict[tuple[int, int], float] = {}
            for low_in in _allowed(first, lows):
                for low_out in (low_in,) if same else _allowed(second, lows):
                    ops = node_ops(table, node, low_in, low_out, sizes, pools=pools, times=profile.op_ms)
                    ms[low_in, low_out] = sum(map(profile.op_ms, ops))
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
        )

    def ns(self, lows: Sequence[int]) -> int:
        """Nanoseconds of the architecture with these low channels, one number a slot."""
        total = self.constant_ns + sum(self.unary[slot][low] for slot, low in enumerate(lows))
        return total + sum(values[lows[i], lows[j]] for (i, j), values in self.pairs.items())


def table_ops(
    table: LayerTable, height: int, width: int, lows: Sequence[Sequence[int]], pools: bool
) -> frozenset[Op]:
    """Every operation that any plan of any architecture of a backbone consists of; see `LatencyTable.of`."""
    sizes, sources = table.sizes(height, width), table.source_slots
    found: set[Op] = set()
    for node in table.nodes:
        reads = node.reads[1] if isinstance(node, Add) else node.reads
        writes = node.reads[0] if isinstance(node, Add) else node.name
        for low_in in _allowed(sources[reads], lows):
            for low_out in _allowed(sources[writes], lows):
                if isinstance(node, Conv):
                    plans = layer_plans(
                        node, low_in, low_out, sizes[node.name], pools=pools and conv_pools(node)
                    )
                    found.update(op for plan in plans for op in plan.ops)
                else:
                    found.update(node_ops(table, node, low_in, low_out, sizes, pools=pools))
    return frozenset(found)


def _allowed(slot: int | None, lows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return (0,) if slot is None else tuple(dict.fromkeys((0, *lows[slot])))


def _whole(values: Mapping[Key, float]) -> dict[Key, int]:
    return {key: round(value * _NS) for key, value in values.items()}


def _row(op: Op) -> tuple[str | int, ...]:
    return op.kind, op.inputs, op.outputs, op.height, op.width, op.kernel, op.stride, op.groups


def _op(row: Sequence[Any]) -> Op:
    kind, *numbers = row
    if kind not in OP_KINDS:
        raise ValueError(f"{kind!r} is no kind of operation")
    inputs, outputs, height, width, kernel, stride, groups = map(int, numbers)
    return Op(
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        height=height,
        width=width,
        kernel=kernel,
        stride=stride,
        groups=groups,
    )


def _time(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{value!r} is no time")
    return number


def _family(op: Op) -> tuple[str, int, int]:
    return op.kind, op.kernel, op.stride


def _distance(op: Op, other: Op) -> float:
    ratios = (
        op.inputs / other.inputs,
        op.outputs / other.outputs,
        op.height * op.width / (other.height * other.width),
    )
    return math.sqrt(sum(math.log2(ratio) ** 2 for ratio in ratios))
