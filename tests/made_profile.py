"""A profile of this device that nobody measured: every operation of a space with a made-up time."""

from __future__ import annotations

import random

from octnas.costs.latency import Correction, Deviation, DeviceProfile, table_ops
from octnas.costs.ops import built_in_ms
from octnas.machine import device_name, runtime_versions
from octnas.space import SearchSpace


def made_profile(space: SearchSpace, *, seed: int = 0, device: str | None = None) -> DeviceProfile:
    """Times that differ by up to a half from the rule of thumb, so that no term is the sum of others."""
    rng = random.Random(seed)
    ops = set()
    for name in space.backbones:
        members = space.members(name)
        lows = [lows if octave else (0,) for lows, octave in zip(members.lows, members.octave, strict=True)]
        for pools in (False, True):
            ops |= table_ops(members.table, space.target.input_shape, lows, pools)
    return DeviceProfile(
        device=device or device_name("cpu"),
        kind="cpu",
        runtime="onnxruntime",
        threads=1,
        batch=1,
        versions=runtime_versions("onnxruntime"),
        created="2026-01-02T03:04:05+00:00",
        times={op: built_in_ms(op) * rng.uniform(0.5, 1.5) for op in sorted(ops)},
        correction=Correction(constant_ms=0.01, per_op_ms=0.0005, factors={"sum": 0.5, "conv": 1.1}),
        error=Deviation(median_percent=1.0, worst_percent=2.0, networks=12),
        seconds=60.0,
    )
