"""The operations of a whole deployed network, node by node of its layer table, and the forms of its layers.

What is listed here is what `octnas.export` deploys, what `octnas.timing` times and what a latency is
predicted from. Networks are taken at batch 1: one image, or one clip. A 2D network runs the frames of a clip
as so many images, up to the mean over frames in its head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from octnas.architecture import Architecture
from octnas.backbones import Add, Concat, Conv, Dims, Excite, Head, LayerTable, Node, Norm, Pool
from octnas.costs.forms import LayerPlan, conv_pools, layer_ops, layer_plans
from octnas.costs.ops import Op, OpKind, Times, Volume, halved, map_op

__all__ = [
    "Times",
    "move_ops",
    "network_ops",
    "network_plans",
    "node_ops",
    "node_plans",
    "reads_and_writes",
    "sum_ops",
    "touched",
    "volumes",
]


def volumes(table: LayerTable, input_shape: Sequence[int]) -> dict[str, Volume]:
    """Frames and nominal size in px of every node's output map, for (C, H, W) or (C, T, H, W)."""
    sizes = table.sizes(input_shape[-2], input_shape[-1])
    frames = table.frames(input_shape[1] if len(input_shape) == 4 else 1)
    return {name: (frames[name], *size) for name, size in sizes.items()}


def network_plans(
    arch: Architecture, input_shape: Sequence[int], *, times: Times | None = None
) -> dict[str, LayerPlan]:
    """The plan of every convolution of an architecture, by name.

    Args:
        input_shape: (channels, H, W) in px, or (channels, T, H, W).
        times: milliseconds of an operation; by default a rule of thumb.
    """
    table = arch.table(in_channels=input_shape[0])
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
    table = arch.table(in_channels=input_shape[0], num_classes=num_classes)
    maps, lows = volumes(table, input_shape), table.lows(arch.low_channels)
    pools = arch.downsample == "pooled"
    ops: list[Op] = []
    for node in table.nodes:
        reads, writes = reads_and_writes(node)
        ops += node_ops(table, node, lows[reads], lows[writes], maps, pools=pools, times=times)
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
        low_in: low channels of what it reads; of the shortcut, for a residual sum.
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


def reads_and_writes(node: Node) -> tuple[str, str]:
    """The maps on whose low channels a node's operations depend: what it reads, and what it writes.

    A residual sum "reads" its shortcut and "writes" its body's partition.
    """
    match node:
        case Add():
            return node.reads[1], node.reads[0]
        case Concat():
            return node.name, node.name
        case _:
            return node.reads, node.name


def touched(table: LayerTable, node: Node) -> tuple[tuple[int, ...], int | None]:
    """The slots on which a node's operations depend: those of what it reads, and its output's own.

    On those of what it reads only by the sum of their low channels. The second is None where the output is
    never split or has the partition of what is read.
    """
    reads, writes = reads_and_writes(node)
    own = table.source_slots(writes) if isinstance(node, Conv | Add) else ()
    return table.source_slots(reads), own[0] if own else None


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
            ends = any(conv.name == node.reads[0] for conv in table.convs)
            channels = table.channels(node.reads[0])
            return sum_ops(channels, low_out, low_in, at, dims=dims, kind="sum" if ends else "add")
        case Head():
            means = _branches("mean", node.in_channels, low_in, maps[node.reads], dims=dims)
            return (*means, map_op("linear", node.in_channels, node.out_channels, (1, 1, 1)))
        case Conv():
            raise AssertionError("a convolution has plans")


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
