"""Make the profile of a device: time the operations of a space, then a few whole networks of it.

The operations are those of every plan of every architecture: which plan is best is what their times say. The
networks are deployed by these times and correct the sums.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from octnas.architecture import Architecture
from octnas.costs.latency import Correction, Deviation, DeviceProfile, table_ops
from octnas.costs.ops import Op
from octnas.costs.plans import network_ops
from octnas.costs.profile_file import check_writable, find_profile, profile_folder, profile_path, save_profile
from octnas.errors import TimingError
from octnas.machine import device_name, runtime_versions
from octnas.space import SearchSpace
from octnas.timing.correction import Measured, fit_correction
from octnas.timing.measure import Runner, interleaved
from octnas.timing.op_times import PASSES, op_times
from octnas.timing.runtimes import as_device, as_runtime, check_setting, make_runner, torch_threads

__all__ = ["NETWORKS", "Progress", "cached_profile", "profile", "random_networks", "space_ops"]

NETWORKS = {"onnxruntime": 12, "eager": 12, "compile": 4}
"""Random networks by runtime; a compiled one takes a minute to make."""
SEED = 0
SLICES = 5
SLICE_ROUNDS = 6
_SHARES = {"operations": 0.25, "networks": 0.5, "measuring": 0.25}
"""Of the work, as the progress shows it."""

Progress = Callable[[str, float], None]
"""Told what is under way and the share of all that is done, 0 to 1."""


def profile(
    space: SearchSpace,
    *,
    runtime: str = "onnxruntime",
    device: str = "cpu",
    threads: int = 1,
    batch: int = 1,
    networks: int | None = None,
    folder: Path | None = None,
    to: Path | None = None,
    progress: Progress | None = None,
) -> DeviceProfile:
    """Measure a profile that predicts the latency of every member of a space, and write it.

    Takes two to five minutes on one core. Nothing is written before all is measured.

    Args:
        networks: random members that are timed whole, besides up to a third as many plain ones; by default
            12, and 4 where they are compiled.
        folder: of the cache, where `cached_profile` finds it; by default `profile_folder()`.
        to: a file to write it to as well.

    Raises:
        UnknownNameError, TimingError: this machine cannot time such a setting, or the device is a GPU.
        ProfileError: the file cannot be written.
    """
    chosen = as_runtime(runtime)
    _check_device(device)
    check_setting(chosen, device, threads, batch)
    count = NETWORKS[chosen] if networks is None else networks
    if count < 1:
        raise TimingError(f"`networks` must be 1 or more, but got {count}")
    for path in (to, (folder or profile_folder()) / "profile.json"):
        if path is not None:
            check_writable(path)
    report = _Report(progress)
    start = time.perf_counter()
    ops = space_ops(space)
    times = op_times(
        ops,
        runtime=chosen,
        threads=threads,
        batch=batch,
        advance=lambda n: report.advance("operations", n / (len(ops) * PASSES)),
    )

    def made(correction: Correction, error: Deviation) -> DeviceProfile:
        return DeviceProfile(
            device=device_name(device),
            kind=device,
            runtime=chosen,
            threads=threads,
            batch=batch,
            versions=runtime_versions(chosen),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            times=times,
            correction=correction,
            error=error,
            seconds=round(time.perf_counter() - start, 1),
        )

    sums = made(Correction(factors={}), Deviation(median_percent=0, worst_percent=0, networks=0))
    archs = _fit_networks(space, count)
    target = space.target
    shape = target.input_shape
    runners: dict[str, Runner] = {}
    with torch_threads(threads):
        for i, arch in enumerate(archs):
            runners[str(i)] = make_runner(
                arch,
                runtime=chosen,
                threads=threads,
                batch=batch,
                input_shape=shape,
                num_classes=target.classes,
                times=sums.op_ms,
            )
            report.advance("networks", 1 / len(archs))
        latencies = _medians(runners, report)
    measured = [
        Measured(ops=network_ops(arch, shape, target.classes, times=sums.op_ms), ms=ms)
        for arch, ms in zip(archs, latencies, strict=True)
    ]
    # of layers that read a concatenation, some operations were not timed
    known = {op: sums.measured_ms(op) for network in measured for op in network.ops}
    result = made(*fit_correction(measured, known))
    for path in (to, profile_path(result, folder)):
        if path is not None:
            save_profile(result, path)
    return result


def cached_profile(
    space: SearchSpace,
    *,
    runtime: str = "onnxruntime",
    device: str = "cpu",
    threads: int = 1,
    batch: int = 1,
    folder: Path | None = None,
) -> DeviceProfile | None:
    """The latest profile in the cache that was made on this device and knows every operation of a space."""
    return find_profile(
        as_runtime(runtime), threads, batch, folder, device=as_device(device), ops=space_ops(space)
    )


def space_ops(space: SearchSpace) -> frozenset[Op]:
    """The operations that the plans of all members of a space consist of, at the target's size.

    Of layers that read a concatenation, some; see `table_ops`.
    """
    found: set[Op] = set()
    for name in space.backbones:
        members = space.members(name)
        lows = [lows if octave else (0,) for lows, octave in zip(members.lows, members.octave, strict=True)]
        for downsample in space.downsample:
            found |= table_ops(members.table, space.target.input_shape, lows, downsample == "pooled")
    return frozenset(found)


def random_networks(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Distinct random members, spread over the backbones and, for each, over its costs."""
    feasible, rng = space.feasible(space.max_gflops), np.random.default_rng(seed)
    found: dict[Architecture, None] = {}
    for i in range(20 * count):  # a small space may not have so many
        if len(found) == count:
            break
        found[feasible.sample(rng, space.backbones[i % len(space.backbones)])] = None
    return list(found)


def _fit_networks(space: SearchSpace, count: int) -> list[Architecture]:
    plain = [space.uniform(name, 0, space.downsample[0]) for name in space.backbones]
    random = random_networks(space, count, SEED)
    return list(dict.fromkeys([*plain[: max(1, count // 3)], *random]))


def _check_device(device: str) -> None:
    if as_device(device) != "cpu":
        raise TimingError(
            "a profile must be of a processor, but got device 'cuda', where a network is no sum of its "
            "operations: time single networks with `octnas latency ARCH --runtime compile --device cuda`"
        )


def _medians(runners: dict[str, Runner], report: _Report) -> list[float]:
    """Median ms of each, in turns."""
    samples: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(SLICES):
        for name, times in interleaved(runners, seconds=0, rounds=SLICE_ROUNDS).items():
            samples[name] += times.samples
        report.advance("measuring", 1 / SLICES)
    return [float(np.median(values)) for values in samples.values()]


class _Report:
    """Adds up how much of the work is done."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._done = dict.fromkeys(_SHARES, 0.0)

    def advance(self, part: str, share: float) -> None:
        self._done[part] += share
        if self._progress is not None:
            total = sum(_SHARES[name] * min(1.0, done) for name, done in self._done.items())
            self._progress(part, total)
