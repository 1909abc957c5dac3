"""A network computed channel by channel from its layer table: slow, and with no idea of branches or orders.

A map is a list of its channels in dense order, each (B, ...) at its own resolution, with a flag for those
that are low. Every path of a convolution is computed by itself, group by group, on lists of channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from octnas.architecture import Architecture
from octnas.backbones import Add, Concat, Conv, Excite, Head, LayerTable, Norm, Pool

Size = tuple[int, int]


@dataclass
class Channels:
    """A map: its channels, which of them are low, and its nominal size."""

    values: list[Tensor]
    low: list[bool]
    size: Size

    def at(self, indices: list[int]) -> Tensor:
        """Some channels as one tensor (B, n, ...)."""
        return torch.stack([self.values[i] for i in indices], 1)


def pooled(x: Tensor) -> Tensor:
    """Mean of the pixels that exist in each 2x2 window of the last two dimensions."""
    height, width = x.shape[-2:]
    x = F.pad(x, (0, width % 2, 0, height % 2), value=float("nan"))
    windows = x.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))
    return windows.nanmean((-1, -3))


def upsampled(x: Tensor, size: Size) -> Tensor:
    return x.repeat_interleave(2, -1).repeat_interleave(2, -2)[..., : size[0], : size[1]]


def moved(x: Channels, low: list[bool]) -> Channels:
    """The same map with other low channels."""
    values = []
    for value, was, will in zip(x.values, x.low, low, strict=True):
        if was == will:
            values.append(value)
        else:
            values.append(pooled(value) if will else upsampled(value, x.size))
    return Channels(values, low, x.size)


def low_flags(table: LayerTable, name: str, lows: tuple[int, ...]) -> list[bool]:
    """The last channels of each group of each segment."""
    flags: list[bool] = []
    for part in table.segments[name]:
        count = 0 if part.slot is None else lows[part.slot]
        each, low = part.channels // part.groups, count // part.groups
        for _ in range(part.groups):
            flags += [False] * (each - low) + [True] * low
    return flags


def convolved(conv: Conv, x: Channels, weight: Tensor, low: list[bool], size: Size, pools: bool) -> Channels:
    """The four paths; `pools`: whether a stride over space is a pooling."""
    dims = weight.ndim - 2
    time = (conv.stride_time,) if dims == 3 else ()
    padding = (*((conv.padding_time,) if dims == 3 else ()), conv.padding, conv.padding)
    run = F.conv2d if dims == 2 else F.conv3d
    halves = conv.stride == 2
    stride = (*time, 1, 1) if pools or not halves else (*time, 2, 2)
    reads, writes = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    values: dict[int, Tensor] = {}
    for group in range(conv.groups):
        sources = range(group * reads, (group + 1) * reads)
        for to_low in (False, True):
            outs = [o for o in range(group * writes, (group + 1) * writes) if low[o] == to_low]
            total: Tensor | None = None
            for from_low in (False, True):
                ins = [i for i in sources if x.low[i] == from_low]
                if not ins or not outs:
                    continue
                kernel = weight[outs][:, [i - group * reads for i in ins]]
                source = x.at(ins)
                # How many octaves the source stands above the output, and whether it must rise.
                steps = (1 if halves and pools else 0) + to_low - from_low
                for _ in range(max(steps, 0)):
                    source = pooled(source)
                part = run(source, kernel, None, stride, padding)
                if steps < 0:
                    part = upsampled(part, size)
                total = part if total is None else total + part
            if outs:
                assert total is not None
                values |= dict(zip(outs, total.unbind(1), strict=True))
    return Channels([values[o] for o in range(conv.out_channels)], low, size)


def normalised(x: Channels, state: Mapping[str, Tensor], name: str) -> Channels:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    values = [
        (value - mean[i]) / (var[i] + 1e-5).sqrt() * weight[i] + bias[i] for i, value in enumerate(x.values)
    ]
    return Channels(values, x.low, x.size)


def activated(x: Channels, activation: str | None) -> Channels:
    if activation is None:
        return x
    top = 6.0 if activation == "relu6" else float("inf")
    return Channels([value.clamp(0.0, top) for value in x.values], x.low, x.size)


def windowed(pool: Pool, x: Channels, size: Size) -> Channels:
    values = []
    for value, low in zip(x.values, x.low, strict=True):
        if pool.how == "average":
            height, width = (-(-size[0] // 2), -(-size[1] // 2)) if low else size
            value = pooled(value)[..., :height, :width]
        elif pool.kernel > 1:
            value = F.max_pool2d(value, pool.kernel, pool.stride, pool.padding)
        if pool.kernel_time > 1:
            frames = value.shape[1]
            starts = range(0, frames, pool.stride_time)
            value = torch.stack([value[:, t : t + pool.kernel_time].amax(1) for t in starts], 1)
        values.append(value)
    return Channels(values, x.low, size)


def naive_logits(arch: Architecture, state: Mapping[str, Tensor], x: Tensor, table: LayerTable) -> Tensor:
    """Logits in evaluation; `state` has all parameters and statistics by name."""
    lows = arch.low_channels
    sizes = table.sizes(x.shape[-2], x.shape[-1])
    maps = {"input": Channels(list(x.unbind(1)), [False] * x.shape[1], sizes["input"])}
    for node in table.nodes:
        if isinstance(node, Head):
            means = torch.stack([value.flatten(1).mean(1) for value in maps[node.reads].values], 1)
            return F.linear(means, state[f"{node.name}.weight"], state[f"{node.name}.bias"])
        flags, size = low_flags(table, node.name, lows), sizes[node.name]
        match node:
            case Conv():
                here = maps[node.reads]
                if node.depthwise:
                    here = moved(here, flags)
                octave = any(here.low) or any(flags)
                pools = octave or (arch.downsample == "pooled" and node.slot is not None)
                here = convolved(node, here, state[f"{node.name}.weight"], flags, size, pools)
                if node.norm is not None:
                    here = normalised(here, state, node.norm)
                here = activated(here, node.activation)
            case Norm():
                here = activated(normalised(maps[node.reads], state, node.name), node.activation)
            case Pool():
                here = windowed(node, maps[node.reads], size)
            case Add():
                body, rest = maps[node.reads[0]], moved(maps[node.reads[1]], flags)
                total = [a + b for a, b in zip(body.values, rest.values, strict=True)]
                here = activated(Channels(total, flags, size), node.activation)
            case Concat():
                parts = [maps[name] for name in node.reads]
                here = Channels([v for p in parts for v in p.values], [f for p in parts for f in p.low], size)
            case Excite():
                here = maps[node.reads]
                means = torch.stack([value.flatten(1).mean(1) for value in here.values], 1)
                hidden = F.linear(means, state[f"{node.name}.fc1.weight"], state[f"{node.name}.fc1.bias"])
                factors = F.linear(
                    hidden.relu(), state[f"{node.name}.fc2.weight"], state[f"{node.name}.fc2.bias"]
                ).sigmoid()
                values = [
                    value * factors[:, i].reshape(-1, *[1] * (value.ndim - 1))
                    for i, value in enumerate(here.values)
                ]
                here = Channels(values, here.low, size)
        assert here.low == flags, node.name
        maps[node.name] = here
    raise AssertionError("a layer table ends in its head")
