"""The latency of a network beside its plain twin, in the same process, in turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from octnas._version import __version__
from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.costs.ops import Times as OpTimes
from octnas.export.graphs import WithInput, exported_program, quiet, write_onnx
from octnas.machine import device_name, runtime_versions
from octnas.timing.measure import Runner, Times, interleaved
from octnas.timing.runtimes import (
    Device,
    Runtime,
    Shape,
    check_setting,
    deployed_for,
    file_runner,
    make_runner,
    precision,
    random_network,
    torch_threads,
)

__all__ = ["Latency", "file_latency", "latency", "plain_twin"]

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What a network takes beside its plain twin, in milliseconds of one run of `batch` images or clips."""

    architecture: Architecture
    input_shape: Shape
    num_classes: int
    device: str
    """The device's name."""
    runtime: Runtime
    precision: str
    threads: int
    batch: int
    octave: Times
    """Of the network; samples of one index are of one round with the twin's."""
    plain: Times
    gflops: float
    """10^9 multiply-adds per image, or per clip, of the network."""
    plain_gflops: float
    versions: Mapping[str, str]

    @property
    def latency_ms(self) -> float:
        """The network's median."""
        return self.octave.median

    @property
    def plain_latency_ms(self) -> float:
        """The plain twin's median."""
        return self.plain.median

    @property
    def ratio(self) -> float:
        """The network's median divided by its plain twin's."""
        return self.latency_ms / self.plain_latency_ms

    @property
    def ratio_quartiles(self) -> tuple[float, float]:
        """Of the ratios within each round."""
        ratios = np.divide(self.octave.samples, self.plain.samples)
        low, high = np.quantile(ratios, (0.25, 0.75))
        return float(low), float(high)

    @property
    def flops_ratio(self) -> float:
        """The network's multiply-adds divided by its plain twin's."""
        return self.gflops / self.plain_gflops

    @property
    def rounds(self) -> int:
        """Samples of each network."""
        return self.octave.n

    @property
    def slower(self) -> bool:
        """Whether it takes longer than its plain twin, in three rounds of four or more and by the medians."""
        other = self.architecture != plain_twin(self.architecture)
        return other and self.ratio > 1 and self.ratio_quartiles[0] > 1

    def to_dict(self) -> dict[str, Any]:
        """What `latency --json` prints."""
        return {
            "device": self.device,
            "runtime": self.runtime,
            "threads": self.threads,
            "batch": self.batch,
            "latency_ms": self.latency_ms,
            "plain_latency_ms": self.plain_latency_ms,
            "ratio": self.ratio,
            "flops_ratio": self.flops_ratio,
            "ratio_quartiles": list(self.ratio_quartiles),
            "latency_quartiles_ms": list(self.octave.quartiles),
            "plain_latency_quartiles_ms": list(self.plain.quartiles),
            "rounds": self.rounds,
            "slower": self.slower,
            "precision": self.precision,
            "versions": dict(self.versions),
            "backbone": self.architecture.backbone,
            "width": self.architecture.width,
            "stem": self.architecture.stem,
            "downsample": self.architecture.downsample,
            "low_channels": list(self.architecture.low_channels),
            "digest": self.architecture.digest,
            "input": "x".join(map(str, self.input_shape)),
            "classes": self.num_classes,
            "gflops": self.gflops,
            "plain_gflops": self.plain_gflops,
        }


def plain_twin(arch: Architecture) -> Architecture:
    """The same backbone, width, stem and downsampling without low channels."""
    return dataclasses.replace(arch, low_channels=(0,) * len(arch.low_channels))


def latency(
    arch: Architecture,
    *,
    runtime: Runtime = "onnxruntime",
    device: Device = "cpu",
    threads: int = 1,
    batch: int = 1,
    input_shape: Shape | None = None,
    num_classes: int = 1000,
    seconds: float = 10.0,
    rounds: int | None = None,
    times: OpTimes | None = None,
    note: Note | None = None,
) -> Latency:
    """Time an architecture and its plain twin, both deployed, with random weights.

    Args:
        input_shape: (C, H, W) or (C, T, H, W) in px; by default the backbone's usual one.
        seconds: of measuring, after the networks are made ready.
        rounds: see `interleaved`.
        times: by which the forms of the layers are chosen; see `deploy`.
        note: told what is under way.

    Raises:
        UnknownNameError, TimingError: see `make_runner`.
        ArchitectureError: an image for a 3D backbone.
    """
    check_setting(runtime, device, threads, batch)
    shape = arch.input_shape(input_shape)
    say = note or _unheard
    with torch_threads(threads):
        runners: dict[str, Runner] = {}
        for name, each in (("plain", plain_twin(arch)), ("octave", arch)):
            say(f"making the {name} network ready for {runtime}")
            runners[name] = make_runner(
                each,
                runtime=runtime,
                device=device,
                threads=threads,
                batch=batch,
                input_shape=shape,
                num_classes=num_classes,
                times=times,
            )
        say("measuring")
        measured = interleaved(runners, seconds=seconds, rounds=rounds)
    return _latency(arch, shape, num_classes, runtime, device, threads, batch, measured)


def file_latency(
    path: Path,
    arch: Architecture,
    *,
    input_shape: Shape,
    num_classes: int,
    normalises: bool = True,
    threads: int = 1,
    batch: int = 1,
    seconds: float = 10.0,
    rounds: int | None = None,
    note: Note | None = None,
) -> Latency:
    """Time an exported ONNX file, with ONNX Runtime on the processor, beside its plain twin's file.

    The twin is exported the same way with random weights and thrown away again.

    Args:
        arch: the architecture of the file's network.
        normalises: whether the file normalises its images, which its twin then does too.

    Raises:
        TimingError: see `check_setting`.
    """
    check_setting("onnxruntime", "cpu", threads, batch)
    say = note or _unheard
    channels = input_shape[0]
    with torch_threads(threads), TemporaryDirectory() as folder:
        say("making the plain network's file")
        net = random_network(plain_twin(arch), num_classes=num_classes, in_channels=channels)
        statistics = ([0.5] * channels, [0.25] * channels) if normalises else (None, None)
        twin = WithInput(deployed_for(net, input_shape), *statistics).eval()
        with quiet():
            write_onnx(exported_program(twin, input_shape), Path(folder) / "plain.onnx")
        runners = {
            name: file_runner(file, threads=threads, batch=batch, input_shape=input_shape)
            for name, file in (("plain", Path(folder) / "plain.onnx"), ("octave", path))
        }
        say("measuring")
        measured = interleaved(runners, seconds=seconds, rounds=rounds)
    return _latency(arch, input_shape, num_classes, "onnxruntime", "cpu", threads, batch, measured)


def _latency(
    arch: Architecture,
    shape: Shape,
    num_classes: int,
    runtime: Runtime,
    device: Device,
    threads: int,
    batch: int,
    measured: Mapping[str, Times],
) -> Latency:
    versions = {**runtime_versions(runtime), "octnas": __version__}
    if device == "cuda" and torch.version.cuda is not None:
        versions["cuda"] = torch.version.cuda
    return Latency(
        architecture=arch,
        input_shape=shape,
        num_classes=num_classes,
        device=device_name(device),
        runtime=runtime,
        precision=precision(runtime, device),
        threads=threads,
        batch=batch,
        octave=measured["octave"],
        plain=measured["plain"],
        gflops=cost(arch, input_shape=shape, num_classes=num_classes).gflops,
        plain_gflops=cost(plain_twin(arch), input_shape=shape, num_classes=num_classes).gflops,
        versions=versions,
    )


def _unheard(text: str) -> None:
    """Nobody wants to know."""
