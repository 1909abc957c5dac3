"""What each kernel of an ONNX file takes, from ONNX Runtime's own profiler; for `latency.py`."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime

__all__ = ["Kernel", "kernel_times"]

WARM_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One node of the optimised graph."""

    op: str
    ms: float
    """Median over the runs."""
    macs: int
    """Multiply-adds of a convolution at batch 1; 0 of anything else."""
    side: int
    """Height of a convolution's output map in px, else 0."""
    size: int
    """Height of a convolution's kernel, else 0."""


def kernel_times(path: Path, shape: tuple[int, int, int], *, runs: int = 15) -> list[Kernel]:
    """Every kernel of a file with the input "images" (1, *shape), one thread, in no particular order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    with TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        images = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
        for _ in range(WARM_UP + runs):
            session.run(None, {"images": images})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    seen: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            seen.setdefault(event["name"], []).append(event)
    return [_kernel(each[WARM_UP:]) for each in seen.values()]


def _kernel(events: list[dict[str, Any]]) -> Kernel:
    facts = events[0]["args"]
    op, macs, side, size = facts["op_name"], 0, 0, 0
    if op == "Conv":
        weight = next(iter(facts["input_type_shape"][1].values()))
        output = next(iter(facts["output_type_shape"][0].values()))
        macs, side, size = int(np.prod(weight)) * output[2] * output[3], output[2], weight[2]
    ms = statistics.median(event["dur"] for event in events) / 1e3
    return Kernel(op=op, ms=ms, macs=macs, side=side, size=size)
