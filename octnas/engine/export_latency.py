"""What an export says of latency: this device's clock, for the exported network and for the target."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octnas.architecture import Architecture
from octnas.costs.plans import Times
from octnas.data import ImageSet
from octnas.export import ExportReport, Timings
from octnas.space.schema import Target
from octnas.timing.latency import file_latency, latency

__all__ = ["latency_metrics", "latency_tags", "timings"]

NETWORK_SECONDS = 3.0
"""Of measuring the exported network beside its plain twin, once both are ready."""
TARGET_SECONDS = 6.0
"""The same of a target network, which is larger."""

_METRICS = {
    "latency_ms": "latency_ms",
    "plain_latency_ms": "plain_latency_ms",
    "latency_ratio": "ratio",
    "flops_ratio": "flops_ratio",
}


def timings(
    onnx: Path,
    exported: Architecture,
    images: ImageSet,
    winner: Architecture,
    target: Target,
    times: Times | None = None,
) -> Timings:
    """The exported file beside its plain twin's; where it is not the target network, that one as well.

    ONNX Runtime, one thread, one image or clip: the setting of `--budget-ms`. Progress goes to standard
    error.

    Args:
        onnx: the file of the network `exported`, which takes `images`.
        winner: the architecture at the target's width and stem.
        times: by which the forms of the target network's layers are chosen; see `octnas.export.deploy`.
    """
    shape, classes = images.shape, len(images.classes)
    of_file = file_latency(
        onnx,
        exported,
        input_shape=shape,
        num_classes=classes,
        seconds=NETWORK_SECONDS,
        note=lambda text: _say(f"latency of this network: {text}"),
    ).to_dict()
    if (exported, shape, classes) == (winner, target.input_shape, target.classes):
        return Timings(network=of_file)
    of_target = latency(
        winner,
        input_shape=target.input_shape,
        num_classes=target.classes,
        seconds=TARGET_SECONDS,
        times=times,
        note=lambda text: _say(f"latency of the target network: {text}"),
    ).to_dict()
    return Timings(network=of_file, target=of_target)


def latency_metrics(report: ExportReport) -> dict[str, float]:
    """What MLflow keeps as numbers; those of the target network begin with "target_"."""
    return {
        f"{prefix}{name}": timing[key]
        for prefix, timing in _measured(report).items()
        for name, key in _METRICS.items()
    }


def latency_tags(report: ExportReport) -> dict[str, str]:
    """What MLflow keeps as words: the device, the runtime, and whether the plain twin is faster."""
    tags: dict[str, str] = {}
    for prefix, timing in _measured(report).items():
        tags[f"octnas.{prefix}slower_than_plain"] = str(timing["slower"]).lower()
        tags["octnas.device"] = timing["device"]
        tags["octnas.runtime"] = (
            f"{timing['runtime']}, {timing['precision']}, threads {timing['threads']}, "
            f"batch {timing['batch']}"
        )
        tags["octnas.versions"] = ", ".join(f"{name} {value}" for name, value in timing["versions"].items())
    return tags


def _measured(report: ExportReport) -> dict[str, Mapping[str, Any]]:
    both = {"": report.latency, "target_": report.target_latency}
    return {prefix: timing for prefix, timing in both.items() if timing is not None}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
