"""The operations of a whole deployed network, node by node of its layer table, and the forms of its layers.

What is listed here is what `octnas.export` deploys, what `octnas.timing` times and what a latency is
predicted from. Networks are taken at batch 1: one image, or one clip. A 2D network runs the frames of a clip
as so many images, up to the mean over frames in its head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from octnas.architecture import Architecture
from octnas.backbones import (
    Add,
    Concat,
    Conv,
    Dims,
    Elementwise,
    Excite,
    Gate,
    Head,
    LayerTable,
    Node,
    Norm,
    Plain,
    Pool,
    Squeeze,
)
from octnas.costs.forms import LayerPlan, conv_pools, layer_ops, layer_plans
from octnas.costs.ops import Op, OpKind, Times, Volume, halved, map_op
from octnas.costs.still import still
from octnas.costs.touched import all_reads, lows_of, split_reads

__all__ = [
    "Times",
    "is_inside",
    "move_ops",
    "network_ops",
    "network_plans",
    "node_ops",
    "node_plans",
    "sum_ops",
    "volumes",
]


def volumes(table: LayerTable, input_shape: Sequence[int]) -> dict[str, Volume]:
    """Frames and nominal size in px of every node's output map, for (C, H, W) or (C, T, H, W)."""
    sizes = table.sizes(input_shape[-2], input_shape[-1])
    frames = table.frames(input_shape[1] if len(input_shape) == 4 else 1)
    return {name: (frames[name], *size) for name, size in sizes.items()}


def network_plans(
    arch: Architecture,
    input_shape: Sequence[int],
    *,
    table: LayerTable | None = None,
    times: Times | None = None,
) -> dict[str, LayerPlan]:
    """The plan of every convolution of an architecture, by name.

    Args:
        input_shape: (channels, H, W) in px, or (channels, T, H, W).
        table: the layer table of the network at hand; by default the backbone's.
        times: milliseconds of an operation; by default a rule of thumb.
    """
    table = arch.table(in_channels=input_shape[0]) if table is None else table
    maps, lows = volumes(table, input_shape), table.lows(arch.low_channels)
    pools = arch.downsample == "pooled"
    return {
        conv.name: _layer(table, conv, table.low_in(conv, lows), lows[conv.name], maps, pools, times)
        for conv in table.convs
    }


def network_ops(
    arch: Architecture,
    input_shape: Sequence[int],
    num_classes: int = 1000,
    *,
    times: Times | None = None,
) -> tuple[Op, ...]:
    """Every operation of the deployed network at batch 1, in the order of execution."""
    table = still(arch.table(in_channels=input_shape[0], num_classes=num_classes))
    maps, lows = volumes(table, input_shape), table.lows(arch.low_channels)
    pools = arch.downsample == "pooled"
    ops: list[Op] = []
    for node in table.nodes:
        ops += node_ops(table, node, *lows_of(table, node, lows), maps, pools=pools, times=times)
    return tuple(ops)


def node_ops(
    table: LayerTable,
    node: Node,
    low_in: int,
    low_out: int,
    maps: Mapping[str, Volume],
    *,
    pools: bool,
    times: Times | None = None,
) -> tuple[Op, ...]:
    """The operations of one node of a layer table.

    Args:
        low_in: low channels of what it reads, in total; of the shortcut, for a residual sum.
        low_out: low channels of a convolution's output, or of a residual sum's body; else unused.
        maps: see `volumes`.
        pools: whether the architecture pools where it has stride 2 and no low channels.
    """
    if isinstance(node, Conv):
        plan = _layer(table, node, *_reached(node, low_in, low_out), maps, pools, times)
        return (*_moves(table, node, low_in, low_out, maps), *plan.ops)
    return _other_ops(table, node, low_in, low_out, maps)


def node_plans(
    table: LayerTable, node: Node, low_in: int, low_out: int, maps: Mapping[str, Volume], *, pools: bool
) -> tuple[tuple[Op, ...], ...]:
    """What `node_ops` may give, whatever the times: the operations of every plan of a convolution."""
    if not isinstance(node, Conv):
        return (_other_ops(table, node, low_in, low_out, maps),)
    plans = layer_plans(
        node,
        *_reached(node, low_in, low_out),
        maps[node.name][1:],
        dims=table.dims,
        frames=(maps[node.reads][0], maps[node.name][0]),
        pools=pools and conv_pools(node),
    )
    return tuple((*_moves(table, node, low_in, low_out, maps), *plan.ops) for plan in plans)


def sum_ops(
    channels: int, low: int, low_shortcut: int, at: Volume, *, dims: Dims = 2, kind: OpKind = "sum"
) -> tuple[Op, ...]:
    """The residual sum of a body with `low` of `channels` low channels and a shortcut with `low_shortcut`.

    Where the two differ the channels between them change their resolution first. `kind` is "sum" where a
    convolution ends the body, which then adds, and "add" elsewhere.
    """
    return (
        *move_ops(channels, low_shortcut, low, at, dims=dims),
        *_branches(kind, channels, low, at, dims=dims),
    )


def move_ops(channels: int, before: int, after: int, at: Volume, *, dims: Dims = 2) -> tuple[Op, ...]:
    """What a map of nominal size `at` takes to go from `before` of its channels low to `after`."""
    moved, small = abs(after - before), halved(at)
    if not moved:
        return ()
    down = after > before
    whole, there, rest = (channels - before, small, before) if down else (before, at, channels - before)
    ops = [map_op("cut", whole, whole, at if down else small, dims=dims)] if whole > moved else []
    if down:
        ops.append(map_op("pool", moved, moved, there, dims=dims, kernel=2, stride=2))
    else:
        ops.append(map_op("rise", moved, moved, there, dims=dims))
    if rest:
        ops.append(map_op("concat", rest + moved, rest + moved, there, dims=dims))
    return tuple(ops)


def is_inside(table: LayerTable, add: Add) -> bool:
    """Whether a deployed network makes a residual sum inside the layer that ends its body.

    So it is where that is a convolution or an excitation without an activation of its own, which nothing else
    reads.
    """
    body = next((node for node in table.nodes if node.name == add.reads[0]), None)
    if not (isinstance(body, Excite) or (isinstance(body, Conv) and body.activation is None)):
        return False
    return sum(name == body.name for node in table.nodes for name in all_reads(node)) == 1


def _layer(
    table: LayerTable,
    conv: Conv,
    low_in: int,
    low_out: int,
    maps: Mapping[str, Volume],
    pools: bool,
    times: Times | None,
) -> LayerPlan:
    return layer_ops(
        conv,
        low_in,
        low_out,
        maps[conv.name][1:],
        dims=table.dims,
        frames=(maps[conv.reads][0], maps[conv.name][0]),
        pools=pools and conv_pools(conv),
        times=times,
    )


def _reached(conv: Conv, low_in: int, low_out: int) -> tuple[int, int]:
    """Low channels that a convolution reads and writes; a depthwise one's input is moved before."""
    return (low_out if conv.depthwise else low_in), low_out


def _moves(
    table: LayerTable, conv: Conv, low_in: int, low_out: int, maps: Mapping[str, Volume]
) -> tuple[Op, ...]:
    """Of a depthwise convolution's input, whose low channels are those of its output."""
    if not conv.depthwise:
        return ()
    return move_ops(conv.in_channels, low_in, low_out, maps[conv.reads], dims=table.dims)


def _other_ops(
    table: LayerTable, node: Node, low_in: int, low_out: int, maps: Mapping[str, Volume]
) -> tuple[Op, ...]:
    dims, at = table.dims, maps[node.name]
    match node:
        case Pool():
            kind: OpKind = "maxpool" if node.how == "max" else "pool"
            return _branches(
                kind,
                table.channels(node.reads),
                low_in,
                at,
                dims=dims,
                kernel=node.kernel,
                stride=node.stride,
                kernel_time=node.kernel_time,
                stride_time=node.stride_time,
            )
        case Norm():
            return _branches("norm", node.channels, low_in, at, dims=dims)
        case Concat():
            return _branches("concat", table.channels(node.name), low_in, at, dims=dims)
        case Excite():
            # one vector a clip in 3D, one a frame in 2D
            vectors = at[0] if dims == 2 else 1
            layers = ((node.channels, node.squeezed), (node.squeezed, node.channels))
            return (
                *_branches("excite", node.channels, low_in, at, dims=dims),
                *(map_op("linear", inputs, outputs, (vectors, 1, 1)) for inputs, outputs in layers),
            )
        case Add():
            ends = any(conv.name == node.reads[0] for conv in table.convs) and is_inside(table, node)
            channels = table.channels(node.reads[0])
            return sum_ops(channels, low_out, low_in, at, dims=dims, kind="sum" if ends else "add")
        case Elementwise():
            return _branches("norm", table.channels(node.reads), low_in, at, dims=dims)
        case Squeeze():
            return _branches("mean", node.channels, low_in, maps[node.reads], dims=dims)
        case Gate():
            return _branches("gate", table.channels(node.reads[0]), low_in, at, dims=dims)
        case Plain():
            return (*_lift_ops(table, node, low_in, maps), *_plain_ops(table, node, maps))
        case Head():
            means = _branches("mean", node.in_channels, low_in, maps[node.reads], dims=dims)
            return (*means, map_op("linear", node.in_channels, node.out_channels, (1, 1, 1)))
        case Conv():
            raise AssertionError("a convolution has plans")


_MOVES_NOTHING = {
    "Dropout",
    "Flatten",
    "Identity",
    "contiguous",
    "dropout",
    "flatten",
    "reshape",
    "squeeze",
    "unsqueeze",
    "view",
}
"""Calls that a runtime makes without touching an element."""


def _lift_ops(table: LayerTable, node: Plain, low_in: int, maps: Mapping[str, Volume]) -> tuple[Op, ...]:
    """What it takes to put what a node reads to full resolution, as if that were one map."""
    split = [name for name in split_reads(node) if table.source_slots(name)]
    if not low_in:
        return ()
    return move_ops(sum(map(table.channels, split)), low_in, 0, maps[split[0]], dims=table.dims)


def _plain_ops(table: LayerTable, node: Plain, maps: Mapping[str, Volume]) -> tuple[Op, ...]:
    """A call of a user's network: a layer of as many multiply-adds, or else a pass over its output."""
    frames, height, width = maps["input"]
    shape = (table.in_channels, *([frames] if table.dims == 3 else []), height, width)
    macs, at = table.plain_macs(shape).get(node.name, 0), maps[node.name]
    outputs = max(1, node.channels)
    pixels = at[1] * at[2] * (at[0] if table.dims == 3 else 1)
    if macs:
        inputs = max(1, macs // (outputs * pixels))
        if pixels == 1:
            return (map_op("linear", inputs, outputs, (at[0], 1, 1)),)
        return (map_op("conv", inputs, outputs, at, dims=table.dims),)
    if pixels == 1 or not node.channels or node.what in _MOVES_NOTHING:
        return ()
    return (map_op("norm", outputs, outputs, at, dims=table.dims),)


def _branches(
    kind: OpKind,
    channels: int,
    low: int,
    at: Volume,
    *,
    dims: Dims,
    kernel: int = 1,
    stride: int = 1,
    kernel_time: int = 1,
    stride_time: int = 1,
) -> tuple[Op, ...]:
    """An operation on each branch of a map that has channels."""
    return tuple(
        map_op(
            kind,
            part,
            part,
            size,
            dims=dims,
            kernel=kernel,
            stride=stride,
            kernel_time=kernel_time,
            stride_time=stride_time,
        )
        for part, size in ((channels - low, at), (low, halved(at)))
        if part
    )
