"""How a deployed octave layer is computed: equivalent plans of plain operations, and the choice between them.

One layer with `hi + li` input and `ho + lo` output channels (high + low) has several plans that give the
same numbers. A plan is a list of `Op`s, each of which is timed by itself on a device, so that a plan, and a
whole network, costs the sum of its operations. With h and l the two branches of the input, P the 2x2 average,
U nearest upsampling, W the dense kernel with channels ordered [high | low]:

| form | high | low | for |
|---|---|---|---|
| plain | conv(h), strided or pooled as the architecture says | | no low channels |
| concat | conv(h, W_hh) + U conv(l, W_lh) | conv([P h, l], W_lo) | stride 1 |
| low-to-all | conv(h, W_hh) + U a | conv(P h, W_hl) + b, where [a, b] = conv(l, W_:l) | stride 1, all paths |
| high-to-all | a + U c | P b + d, where [a, b] = conv(h, W_:h), [c, d] = conv(l, W_:l) | 1x1, pool after |
| lifted-high | conv([h, U l], W_ho) | conv(P [h, U l], W_lo) | 1x1, where few channels rise to many |
| lifted | a | P b, where [a, b] = conv([h, U l], W) | 1x1, the plain layer |
| half | conv([P h, l], W_ho) | conv(P [P h, l], W_lo) | stride 2 |
| half-to-all | a | P b, where [a, b] = conv([P h, l], W) | stride 2, 1x1 |

A 1x1 convolution commutes with pooling and with upsampling, borders of odd maps included, and P U l is l,
which is what the forms for 1x1 use: fewer convolutions or less to move, and more multiply-adds than
`octnas.costs.flops` counts, which are those of the concat and half forms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from octnas.architecture import Architecture
from octnas.backbones import Add, Conv, Head, LayerTable, MaxPool, Node

__all__ = [
    "OP_KINDS",
    "Form",
    "LayerPlan",
    "Op",
    "OpKind",
    "Times",
    "built_in_ms",
    "conv_pools",
    "layer_ops",
    "layer_plans",
    "network_ops",
    "network_plans",
    "node_ops",
    "sum_ops",
]

OpKind = Literal["conv", "pool", "rise", "concat", "sum", "cut", "maxpool", "mean", "linear"]
OP_KINDS: tuple[OpKind, ...] = get_args(OpKind)
Form = Literal[
    "plain", "concat", "low-to-all", "high-to-all", "lifted-high", "lifted", "half", "half-to-all", "from-low"
]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Op:
    """One plain operation at batch 1, as it is timed.

    Kinds: "conv" (with its bias, and its activation where the runtime fuses it), "pool" (2x2 average),
    "rise" (a low map upsampled by 2 and added to a high one), "concat" and "cut" (of channels), "sum" (of two
    maps), "maxpool" (3x3, stride 2), "mean" (over all pixels) and "linear".
    """

    kind: OpKind
    inputs: int
    """Input channels."""
    outputs: int
    """Output channels."""
    height: int
    """Of the output map in px; of the input map for "mean", of the whole map for "cut"."""
    width: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1

    @property
    def macs(self) -> int:
        """Multiply-adds; 0 for what neither convolves nor multiplies a matrix."""
        if self.kind not in ("conv", "linear"):
            return 0
        return self.inputs // self.groups * self.outputs * self.kernel**2 * self.height * self.width

    @property
    def elements(self) -> int:
        """Elements of the output map (of the input map for "mean")."""
        return self.outputs * self.height * self.width


Times = Callable[[Op], float]
"""Milliseconds of an operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """One way to compute a layer."""

    form: Form
    ops: tuple[Op, ...]

    def ms(self, times: Times) -> float:
        """The sum of its operations' times."""
        return sum(map(times, self.ops))


def built_in_ms(op: Op) -> float:
    """A rule of thumb in ms where nothing was timed: one core of a processor with 512 bit vectors.

    Convolutions run in blocks of 16 channels at 130 multiply-adds a ns, a fifth slower on maps of 7 px or
    less. Everything else moves its output at 30 bytes a ns; at a quarter of it where that leaves the blocked
    layout, as a cut of channels does and, with channels that are no multiple of 16, concatenation and, far
    worse, pooling. Each operation takes a microsecond or two besides. Only comparisons between the plans of
    one layer are made with it.
    """
    if op.kind in ("conv", "linear"):
        inputs = op.inputs if op.groups > 1 or op.inputs < 16 else -(-op.inputs // 16) * 16
        macs = op.macs // (op.inputs * op.outputs) * inputs * -(-op.outputs // 16) * 16
        rate = 130e6 if min(op.height, op.width) > 7 else 105e6
        return 2e-3 + macs / rate
    strays = op.outputs % 16 != 0
    if op.kind == "pool" and strays:
        return 1e-3 + op.elements / 250e3
    copied = op.kind == "cut" or (op.kind == "concat" and strays)
    return 1e-3 + op.elements * (16 if copied else 4) / 30e6


def layer_plans(
    conv: Conv, low_in: int, low_out: int, size: Size, *, pools: bool = False
) -> tuple[LayerPlan, ...]:
    """All plans of one convolution with its batch-norm folded in; the first is the fewest multiply-adds.

    Args:
        size: nominal height and width in px of the output map.
        pools: whether the layer pools before it convolves where it has stride 2 and no low channels.
    """
    return tuple(
        LayerPlan(form=form, ops=tuple(ops)) for form, ops in _plans(conv, low_in, low_out, size, pools)
    )


def layer_ops(
    conv: Conv, low_in: int, low_out: int, size: Size, *, pools: bool = False, times: Times | None = None
) -> LayerPlan:
    """The plan of one convolution that takes least by `times` (default: `built_in_ms`)."""
    plans = layer_plans(conv, low_in, low_out, size, pools=pools)
    return min(plans, key=lambda plan: plan.ms(times or built_in_ms))


def sum_ops(channels: int, low: int, low_shortcut: int, size: Size) -> tuple[Op, ...]:
    """The residual sum of a body with `low` of `channels` low channels and a shortcut with `low_shortcut`.

    Where the two differ the channels between them change their resolution first.
    """
    ops: list[Op] = []
    moved = abs(low - low_shortcut)
    if moved:
        small = _half(size)
        part = small if low > low_shortcut else size
        ops.append(_op("cut", moved, moved, part if low < low_shortcut else size))
        ops.append(_op("pool" if low > low_shortcut else "rise", moved, moved, part))
        if low > low_shortcut and low_shortcut:
            ops.append(_op("concat", low, low, small))
        if low < low_shortcut and low_shortcut < channels:
            ops.append(_op("concat", channels - low, channels - low, size))
    if channels - low:
        ops.append(_op("sum", channels - low, channels - low, size))
    if low:
        ops.append(_op("sum", low, low, _half(size)))
    return tuple(ops)


def network_plans(
    arch: Architecture, input_shape: tuple[int, int, int], *, times: Times | None = None
) -> dict[str, LayerPlan]:
    """The plan of every convolution of an architecture, by name; `input_shape` is (channels, H, W) in px."""
    table = arch.table(in_channels=input_shape[0])
    sizes, lows = table.sizes(*input_shape[1:]), _lows(table, arch)
    return {
        conv.name: layer_ops(
            conv,
            lows[conv.reads],
            lows[conv.name],
            sizes[conv.name],
            pools=arch.downsample == "pooled" and conv_pools(conv),
            times=times,
        )
        for conv in table.convs
    }


def network_ops(
    arch: Architecture,
    input_shape: tuple[int, int, int],
    num_classes: int = 1000,
    *,
    times: Times | None = None,
) -> tuple[Op, ...]:
    """Every operation of the deployed network at batch 1, in the order of execution."""
    table = arch.table(in_channels=input_shape[0], num_classes=num_classes)
    sizes, lows = table.sizes(*input_shape[1:]), _lows(table, arch)
    pools = arch.downsample == "pooled"
    ops: list[Op] = []
    for node in table.nodes:
        reads = node.reads[1] if isinstance(node, Add) else node.reads
        writes = node.reads[0] if isinstance(node, Add) else node.name
        ops += node_ops(table, node, lows[reads], lows[writes], sizes, pools=pools, times=times)
    return tuple(ops)


def node_ops(
    table: LayerTable,
    node: Node,
    low_in: int,
    low_out: int,
    sizes: Mapping[str, Size],
    *,
    pools: bool,
    times: Times | None = None,
) -> tuple[Op, ...]:
    """The operations of one node of a layer table.

    Args:
        low_in: low channels of what it reads; of the shortcut, for a residual sum.
        low_out: low channels of a convolution's output, or of a residual sum's body; else unused.
        sizes: nominal (H, W) in px of every node's output map.
        pools: whether the architecture pools where it has stride 2 and no low channels.
    """
    match node:
        case Conv():
            pools = pools and conv_pools(node)
            return layer_ops(node, low_in, low_out, sizes[node.name], pools=pools, times=times).ops
        case MaxPool():
            channels = _channels(table, node.reads)
            return (_op("maxpool", channels, channels, sizes[node.name]),)
        case Add():
            return sum_ops(_channels(table, node.reads[0]), low_out, low_in, sizes[node.name])
        case Head():
            return tuple(_head_ops(node, low_in, sizes[node.reads]))


def conv_pools(conv: Conv) -> bool:
    """Whether a convolution without low channels pools first in an architecture that pools; no stem does."""
    return conv.stride == 2 and conv.slot is not None


def _plans(conv: Conv, low_in: int, low_out: int, size: Size, pools: bool) -> Iterator[tuple[Form, list[Op]]]:
    c_in, c_out, kernel = conv.in_channels, conv.out_channels, conv.kernel
    high_in, high_out, small = c_in - low_in, c_out - low_out, _half(size)

    def to(inputs: int, outputs: int, at: Size) -> Op:
        return _op("conv", inputs, outputs, at, kernel=kernel)

    def pool(channels: int, at: Size) -> list[Op]:
        return [_op("pool", channels, channels, at)] if channels else []

    def concat(first: int, second: int, at: Size) -> list[Op]:
        return [_op("concat", first + second, first + second, at)] if first and second else []

    def cut(at: Size) -> Op:
        return _op("cut", c_out, c_out, at)

    if not low_in and not low_out:
        whole = _op(
            "conv",
            c_in,
            c_out,
            size,
            kernel=kernel,
            stride=1 if pools else conv.stride,
            groups=conv.groups,
        )
        yield "plain", [*(pool(c_in, size) if pools else []), whole]
        return
    if conv.stride == 2:
        half = [*pool(high_in, size), *concat(high_in, low_in, size)]
        high = [to(c_in, high_out, size)] if high_out else []
        low = [*pool(c_in, small), to(c_in, low_out, small)] if low_out else []
        yield "half", [*half, *high, *low]
        if kernel == 1 and high_out and low_out:
            yield "half-to-all", [*half, to(c_in, c_out, size), cut(size), *pool(low_out, small)]
        return
    if not high_in:
        split = [cut(small)] if high_out and low_out else []
        rise = [_op("rise", high_out, high_out, size)] if high_out else []
        yield "from-low", [to(c_in, c_out, small), *split, *rise]
        return
    rise = [_op("rise", high_out, high_out, size)] if high_out and low_in else []
    high = [to(high_in, high_out, size)] if high_out else []
    cross = [to(low_in, high_out, small)] if high_out and low_in else []
    merged = [*pool(high_in, small), *concat(high_in, low_in, small), to(c_in, low_out, small)]
    yield "concat", [*high, *cross, *rise, *(merged if low_out else [])]
    if low_in and high_out and low_out:
        parts = [*high, *pool(high_in, small), to(high_in, low_out, small), to(low_in, c_out, small)]
        yield "low-to-all", [*parts, cut(small), *rise, _op("sum", low_out, low_out, small)]
    if kernel != 1:
        return
    if low_out:
        from_low = [to(low_in, c_out, small)] if low_in else []
        cuts = [cut(size), *([cut(small)] if low_in else [])] if high_out else []
        added = [_op("sum", low_out, low_out, small)] if low_in else []
        yield (
            "high-to-all",
            [to(high_in, c_out, size), *from_low, *cuts, *rise, *pool(low_out, small), *added],
        )
    if low_in:
        lift = [_op("rise", low_in, low_in, size), *concat(high_in, low_in, size)]
        after = [*([cut(size)] if high_out else []), *pool(low_out, small)] if low_out else []
        yield "lifted", [*lift, to(c_in, c_out, size), *after]
        if high_out and low_out:
            low = [*pool(c_in, small), to(c_in, low_out, small)]
            yield "lifted-high", [*lift, to(c_in, high_out, size), *low]


def _op(
    kind: OpKind,
    inputs: int,
    outputs: int,
    size: Size,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
) -> Op:
    return Op(
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        height=size[0],
        width=size[1],
        kernel=kernel,
        stride=stride,
        groups=groups,
    )


def _head_ops(head: Head, low: int, size: Size) -> list[Op]:
    branches = ((head.in_channels - low, size), (low, _half(size)))
    means = [_op("mean", channels, channels, at) for channels, at in branches if channels]
    return [*means, _op("linear", head.in_channels, head.out_channels, (1, 1))]


def _channels(table: LayerTable, name: str) -> int:
    """Channels of a node's output map."""
    nodes = {node.name: node for node in table.nodes}
    while True:
        node = nodes[name]
        if isinstance(node, Conv):
            return node.out_channels
        name = node.reads[0] if isinstance(node, Add) else node.reads


def _lows(table: LayerTable, arch: Architecture) -> dict[str, int]:
    """Low channels of every node's output map."""
    return {name: 0 if slot is None else arch.low_channels[slot] for name, slot in table.source_slots.items()}


def _half(size: Size) -> Size:
    return (size[0] + 1) // 2, (size[1] + 1) // 2
