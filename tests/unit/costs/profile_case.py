"""Profiles of a device that is not there."""

from __future__ import annotations

from collections.abc import Mapping

from octnas.costs.latency import Correction, Deviation, DeviceProfile
from octnas.costs.ops import OP_KINDS, Op, OpKind
from octnas.space.members import Members


def synthetic_profile(times: Mapping[Op, float], correction: Correction, **kinds: float) -> DeviceProfile:
    """A profile of these times; `cut=1e3` makes every cut a second."""
    extra = {_one(kind): kinds[kind] for kind in OP_KINDS if kind in kinds}
    filled = {**times, **extra} or {_one("conv"): 1.0}
    return DeviceProfile(
        device="a processor, 2 cores",
        kind="cpu",
        runtime="onnxruntime",
        threads=1,
        batch=1,
        versions={"onnxruntime": "1.0"},
        created="2026-01-02T03:04:05+00:00",
        times=filled,
        correction=correction,
        error=Deviation(median_percent=1.0, worst_percent=2.0, networks=12),
        seconds=60.0,
    )


def octave_lows(members: Members) -> list[tuple[int, ...]]:
    """For each slot, the low channels that members may have there."""
    return [lows if octave else (0,) for lows, octave in zip(members.lows, members.octave, strict=True)]


def _one(kind: OpKind) -> Op:
    return Op(kind=kind, inputs=64, outputs=64, height=28, width=28)
