"""How long single operations take on this processor, in the surroundings of a network.

Operations take turns, so that the weights of each are as cold when it comes round as inside a network, whose
weights do not stay in the caches from one image to the next. Each is timed in several passes over the whole
list, so that a slow moment of the machine does not fall on a few of them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from octnas.costs.ops import Op
from octnas.timing.call_times import call_samples
from octnas.timing.kernel_times import kernel_samples
from octnas.timing.runtimes import Runtime, torch_threads

__all__ = ["PASSES", "op_times"]

GROUP = 64
"""Operations that take turns at a time: their maps and weights are several times the caches."""
PASSES = 4
REPEATS = 10
"""Runs of an operation in a pass that count."""
WARM_UP = 2

_SAMPLERS: dict[Runtime, Callable[..., list[list[float]]]] = {
    "onnxruntime": kernel_samples,
    "eager": call_samples,
    # the compiler knows no single operations; whole networks tell how much faster it makes them
    "compile": call_samples,
}


def op_times(
    ops: Iterable[Op],
    *,
    runtime: Runtime = "onnxruntime",
    threads: int = 1,
    batch: int = 1,
    passes: int = PASSES,
    advance: Callable[[int], None] | None = None,
) -> dict[Op, float]:
    """Milliseconds of each operation on the processor, for batches of `batch` images.

    Args:
        advance: told after every group how many operations were timed, each once in a pass.
    """
    wanted = sorted(set(ops))
    samples: dict[Op, list[float]] = {op: [] for op in wanted}
    with torch_threads(threads):
        for _ in range(passes):
            for start in range(0, len(wanted), GROUP):
                group = wanted[start : start + GROUP]
                found = _SAMPLERS[runtime](
                    group, threads=threads, batch=batch, warm_up=WARM_UP, repeats=REPEATS
                )
                for op, values in zip(group, found, strict=True):
                    samples[op] += values
                if advance is not None:
                    advance(len(group))
    return {op: _middle(values) for op, values in samples.items()}


def _middle(values: Sequence[float]) -> float:
    """Mean of the middle half: as robust as a median, and finer than the profiler's microsecond."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return max(0.0, float(np.mean(ordered[quarter : len(ordered) - quarter])))
