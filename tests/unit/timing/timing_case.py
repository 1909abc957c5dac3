"""What the tests of timing share: latencies that were never measured, and a tiny network."""

from __future__ import annotations

from collections.abc import Sequence

from octnas.architecture import Architecture
from octnas.timing.latency import Latency
from octnas.timing.measure import Times

TINY = Architecture.uniform("resnet18", alpha="1/2", width=8, stem="small", downsample="pooled")


def made_up(octave: Sequence[float], plain: Sequence[float], architecture: Architecture = TINY) -> Latency:
    """A latency of these samples in ms."""
    return Latency(
        architecture=architecture,
        input_shape=(3, 32, 32),
        num_classes=10,
        device="a processor, 2 cores",
        runtime="onnxruntime",
        precision="float32",
        threads=1,
        batch=1,
        octave=Times(samples=tuple(octave)),
        plain=Times(samples=tuple(plain)),
        gflops=0.003,
        plain_gflops=0.004,
        versions={"onnxruntime": "1.0"},
    )
