"""Operations in ONNX Runtime: what its profiler says that their kernels take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from octnas.costs.ops import Op
from octnas.timing.op_graphs import AROUND, INPUT, Graph, op_graph, sum_base_graph

__all__ = ["kernel_samples"]


def kernel_samples(
    ops: Sequence[Op], *, threads: int, batch: int, warm_up: int, repeats: int
) -> list[list[float]]:
    """For each operation, the milliseconds of its kernels in each of `repeats` runs; they take turns."""
    sums = [i for i, op in enumerate(ops) if op.kind == "sum"]
    graphs = [op_graph(op, batch) for op in ops] + [sum_base_graph(ops[i], batch) for i in sums]
    with TemporaryDirectory() as folder:
        sessions = [_Session(graph, threads, Path(folder) / str(i)) for i, graph in enumerate(graphs)]
        for _ in range(warm_up + repeats):
            for session in sessions:
                session.run()
        samples = [session.samples()[warm_up:] for session in sessions]
    for i, base in zip(sums, samples[len(ops) :], strict=True):
        samples[i] = [whole - without for whole, without in zip(samples[i], base, strict=True)]
    return samples[: len(ops)]


class _Session:
    """A graph with the profiler on."""

    def __init__(self, graph: Graph, threads: int, prefix: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(prefix)
        # threads of a session whose turn it is not would spin for a while
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
        self._border_channels = graph.border_channels
        self._feed = {INPUT: np.random.default_rng(0).random(graph.input_shape, dtype=np.float32)}
        self._runs = 0

    def run(self) -> None:
        self._session.run(None, self._feed)
        self._runs += 1

    def samples(self) -> list[float]:
        """Milliseconds of the operation's kernels in each run; ends the profiling."""
        path = Path(self._session.end_profiling())
        kernels = [event for event in json.loads(path.read_text(encoding="utf-8")) if _is_kernel(event)]
        path.unlink()
        each = len(kernels) // self._runs
        runs = (kernels[i : i + each] for i in range(0, len(kernels), each))
        return [sum(event["dur"] for event in run if self._is_own(event)) / 1e3 for run in runs]

    def _is_own(self, event: dict[str, Any]) -> bool:
        if event["name"].startswith(AROUND):
            return False
        facts = event["args"]
        if facts["op_name"] != "ReorderOutput":
            return True
        (shape,) = facts["output_type_shape"][0].values()
        return bool(shape[1] != self._border_channels)


def _is_kernel(event: dict[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event["name"]).endswith("kernel_time")
