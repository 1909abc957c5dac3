"""Operations in eager PyTorch: what a call takes of the module or function that deployed networks use."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from octnas.costs.plans import Op, OpKind
from octnas.export.convs import DeployedConv2d
from octnas.nn.maps import concat, pool, upsample

__all__ = ["call_samples"]

_THIN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A call, on maps that an operation before it would have written."""

    maps: tuple[Tensor, ...]
    call: Callable[[], object]
    base: Callable[[], object] | None = None
    """What takes as long without the operation."""


def call_samples(
    ops: Sequence[Op], *, threads: int, batch: int, warm_up: int, repeats: int
) -> list[list[float]]:
    """For each operation, milliseconds of each of `repeats` calls; they take turns.

    PyTorch must have been set to `threads` before.
    """
    assert torch.get_num_threads() == threads
    samples: list[list[float]] = [[] for _ in ops]
    with torch.inference_mode():
        cases = [_CASES[op.kind](op, batch) for op in ops]
        for _ in range(warm_up + repeats):
            for values, case in zip(samples, cases, strict=True):
                took = _ms(case.maps, case.call)
                values.append(took if case.base is None else took - _ms(case.maps, case.base))
    return [values[warm_up:] for values in samples]


def _ms(maps: tuple[Tensor, ...], call: Callable[[], object]) -> float:
    for each in maps:
        each.mul_(1.0)  # a network has just written it
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def _map(batch: int, channels: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, channels, height, width).contiguous(memory_format=torch.channels_last)


def _module(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> DeployedConv2d:
    return DeployedConv2d(
        torch.randn(outputs, inputs // groups, kernel, kernel) / inputs,
        torch.randn(outputs),
        padding=kernel // 2,
        stride=stride,
        groups=groups,
        relu=True,
    ).eval()


def _conv(op: Op, batch: int) -> _Case:
    module = _module(op.inputs, op.outputs, kernel=op.kernel, stride=op.stride, groups=op.groups)
    x = _map(batch, op.inputs, op.height * op.stride, op.width * op.stride)
    return _Case(maps=(x,), call=lambda: module(x))


def _sum(op: Op, batch: int) -> _Case:
    """A sum inside a convolution."""
    module = _module(_THIN, op.outputs)
    x, y = _map(batch, _THIN, op.height, op.width), _map(batch, op.outputs, op.height, op.width)
    return _Case(maps=(y, x), call=lambda: module(x, y), base=lambda: module(x))


def _pool(op: Op, batch: int) -> _Case:
    x = _map(batch, op.inputs, 2 * op.height, 2 * op.width)
    return _Case(maps=(x,), call=lambda: pool(x))


def _maxpool(op: Op, batch: int) -> _Case:
    x = _map(batch, op.inputs, 2 * op.height, 2 * op.width)
    return _Case(maps=(x,), call=lambda: F.max_pool2d(x, 3, 2, 1))


def _rise(op: Op, batch: int) -> _Case:
    """The upsampling; the sum that follows is part of the convolution that makes the high map."""
    size = op.height, op.width
    x = _map(batch, op.inputs, -(-op.height // 2), -(-op.width // 2))
    return _Case(maps=(x,), call=lambda: upsample(x, size))


def _concat(op: Op, batch: int) -> _Case:
    first = max(1, op.outputs // 2)
    x, y = (_map(batch, n, op.height, op.width) for n in (first, op.outputs - first))
    return _Case(maps=(x, y), call=lambda: concat(x, y))


def _cut(op: Op, batch: int) -> _Case:
    """One of two parts becomes a map of its own; the other is read where it is."""
    x = _map(batch, op.outputs, op.height, op.width)
    return _Case(
        maps=(x,),
        call=lambda: x[:, op.outputs // 2 :].clone(memory_format=torch.channels_last),
    )


def _mean(op: Op, batch: int) -> _Case:
    x = _map(batch, op.inputs, op.height, op.width)
    return _Case(maps=(x,), call=lambda: x.mean((2, 3)))


def _linear(op: Op, batch: int) -> _Case:
    module = nn.Linear(op.inputs, op.outputs)
    x = torch.rand(batch, op.inputs)
    return _Case(maps=(x,), call=lambda: module(x))


_CASES: dict[OpKind, Callable[[Op, int], _Case]] = {
    "conv": _conv,
    "pool": _pool,
    "maxpool": _maxpool,
    "rise": _rise,
    "concat": _concat,
    "sum": _sum,
    "cut": _cut,
    "mean": _mean,
    "linear": _linear,
}
