"""Operations in eager PyTorch: what a call takes of the module or function that deployed networks use."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from octnas.backbones import Pool
from octnas.costs.ops import Op, OpKind
from octnas.export.convs import DeployedConv, channels_last
from octnas.export.nodes import DeployedNorm
from octnas.nn.layers import OctPool
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


def _map(op: Op, batch: int, channels: int, *, grown: int = 1, frames: int | None = None) -> Tensor:
    """A map of the operation's size, `grown` times as large."""
    time = op.frames if frames is None else frames
    size = op.height * grown, op.width * grown
    shape = (batch * time, channels, *size) if op.dims == 2 else (batch, channels, time, *size)
    made = torch.rand(shape)
    return made.contiguous(memory_format=channels_last(made))


def _module(op: Op, inputs: int) -> DeployedConv:
    """A convolution to the output of an operation."""
    sizes, strides, dilations = [op.kernel] * 2, [op.stride] * 2, [op.dilation] * 2
    if op.dims == 3:
        sizes, strides = [op.kernel_time, *sizes], [op.stride_time, *strides]
        dilations = [op.dilation_time, *dilations]
    return DeployedConv(
        torch.randn(op.outputs, inputs // op.groups, *sizes) / inputs,
        torch.randn(op.outputs),
        padding=[each * (size // 2) for each, size in zip(dilations, sizes, strict=True)],
        stride=strides,
        dilation=dilations,
        groups=op.groups,
        activation="relu",
    ).eval()


def _conv(op: Op, batch: int) -> _Case:
    module = _module(op, op.inputs)
    x = _map(op, batch, op.inputs, grown=op.stride, frames=op.frames * op.stride_time)
    return _Case(maps=(x,), call=lambda: module(x))


def _sum(op: Op, batch: int) -> _Case:
    """A sum inside a convolution."""
    module = _module(op, _THIN)
    x, y = _map(op, batch, _THIN), _map(op, batch, op.outputs)
    return _Case(maps=(y, x), call=lambda: module(x, y), base=lambda: module(x))


def _add(op: Op, batch: int) -> _Case:
    x, y = _map(op, batch, op.outputs), _map(op, batch, op.outputs)
    return _Case(maps=(y, x), call=lambda: F.relu(x + y))


def _pool(op: Op, batch: int) -> _Case:
    if (op.kernel, op.stride, op.kernel_time) != (2, 2, 1):
        return _pooling(op, batch, "average")
    x = _map(op, batch, op.inputs, grown=2)
    return _Case(maps=(x,), call=lambda: pool(x))


def _maxpool(op: Op, batch: int) -> _Case:
    return _pooling(op, batch, "max")


def _pooling(op: Op, batch: int, how: Literal["max", "average"]) -> _Case:
    pooling = OctPool(
        Pool(
            name="pool",
            reads="input",
            how=how,
            kernel=op.kernel,
            stride=op.stride,
            padding=op.kernel // 2 if op.kernel > op.stride else 0,
            kernel_time=op.kernel_time,
            stride_time=op.stride_time,
            padding_time=op.kernel_time // 2 if op.kernel_time > op.stride_time else 0,
        )
    )
    x = _map(op, batch, op.inputs, grown=op.stride, frames=op.frames * op.stride_time)
    return _Case(maps=(x,), call=lambda: pooling(x, (op.height, op.width)))


def _rise(op: Op, batch: int) -> _Case:
    """The upsampling; the sum that follows is part of the convolution that makes the high map."""
    size = op.height, op.width
    small = replace(op, height=-(-op.height // 2), width=-(-op.width // 2))
    x = _map(small, batch, op.inputs)
    return _Case(maps=(x,), call=lambda: upsample(x, size))


def _concat(op: Op, batch: int) -> _Case:
    first = max(1, op.outputs // op.groups // 2) * op.groups
    x, y = (_map(op, batch, n) for n in (first, op.outputs - first))
    return _Case(maps=(x, y), call=lambda: concat(x, y, op.groups))


def _cut(op: Op, batch: int) -> _Case:
    """One of two parts becomes a map of its own; the other is read where it is."""
    x = _map(op, batch, op.outputs)
    return _Case(maps=(x,), call=lambda: x[:, op.outputs // 2 :].clone(memory_format=channels_last(x)))


def _norm(op: Op, batch: int) -> _Case:
    norm = DeployedNorm(torch.rand(op.inputs), torch.rand(op.inputs), 0, "relu")
    x = _map(op, batch, op.inputs)
    return _Case(maps=(x,), call=lambda: norm(x, None, (op.height, op.width), (None, None)))


def _excite(op: Op, batch: int) -> _Case:
    """Mean and product; the fully connected layers between them are operations of their own."""
    x = _map(op, batch, op.inputs)
    axes = tuple(range(2, x.dim()))
    return _Case(maps=(x,), call=lambda: x * torch.sigmoid(x.mean(axes, keepdim=True)))


def _gate(op: Op, batch: int) -> _Case:
    x = _map(op, batch, op.inputs)
    factors = torch.rand(*x.shape[:2], *[1] * (x.dim() - 2))
    return _Case(maps=(x,), call=lambda: x * factors)


def _mean(op: Op, batch: int) -> _Case:
    x = _map(op, batch, op.inputs)
    axes = tuple(range(2, x.dim()))
    return _Case(maps=(x,), call=lambda: x.mean(axes))


def _linear(op: Op, batch: int) -> _Case:
    module = nn.Linear(op.inputs, op.outputs)
    x = torch.rand(batch * op.frames, op.inputs)
    return _Case(maps=(x,), call=lambda: module(x))


_CASES: dict[OpKind, Callable[[Op, int], _Case]] = {
    "conv": _conv,
    "pool": _pool,
    "maxpool": _maxpool,
    "rise": _rise,
    "concat": _concat,
    "sum": _sum,
    "add": _add,
    "cut": _cut,
    "norm": _norm,
    "excite": _excite,
    "gate": _gate,
    "mean": _mean,
    "linear": _linear,
}
