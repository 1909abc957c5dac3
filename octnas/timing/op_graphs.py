"""One small ONNX graph for each plain operation, in which it runs as it would inside a network.

At the border of a graph ONNX Runtime reorders maps to and from its blocked layout, which a whole network
does not need. So a map comes from a thin convolution of three channels and goes into another one, and only
the kernels between the two are the operation's. Names of nodes say whose they are: those of the thin
convolutions begin with `AROUND`.

The images of a 2D operation on clips are a larger batch. A 3D operation runs on (B, C, T, H, W), for which
ONNX Runtime has no blocked layout; pooling and upsampling take its frames as channels, as exported networks
do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octnas.costs.ops import Op, OpKind
from octnas.export.graphs import OPSET

if TYPE_CHECKING:
    import onnx

__all__ = ["AROUND", "INPUT", "Graph", "op_graph", "sum_base_graph"]

AROUND = "around"
INPUT = "images"
_IR_VERSION = 10
_IMAGE_CHANNELS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A serialised model with the input `INPUT`."""

    model: bytes
    input_shape: tuple[int, ...]
    """(B, C, H, W), (B, C, T, H, W), or (B, C) of a linear layer."""
    border_channels: int
    """Maps with so many channels leave the blocked layout only because the graph ends; 0: there are none."""


class _Draft:
    """Nodes and weights of a graph in the making; each method returns the name of the map it makes."""

    def __init__(self, op: Op, batch: int) -> None:
        self.op = op
        self.batch = batch
        self.border_channels = 0
        self.read()
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._outputs: list[str] = []
        self._rng = np.random.default_rng(0)

    def read(
        self, channels: int = _IMAGE_CHANNELS, *, height: int = 0, width: int = 0, frames: int = 0
    ) -> None:
        """Let the graph read images of this size; 0: that of the operation's map."""
        op = self.op
        size = (frames or op.frames, height or op.height, width or op.width)
        if op.dims == 2:
            self.image: tuple[int, ...] = (self.batch * size[0], channels, *size[1:])
        else:
            self.image = (self.batch, channels, *size)

    def node(self, kind: str, inputs: list[str], *, name: str = "op", **attributes: Any) -> str:
        from onnx import helper

        output = f"{name}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def halves(self, source: str) -> list[str]:
        from onnx import helper

        names = ["op_first", "op_second"]
        self._nodes.append(helper.make_node("Split", [source], names, name="op_split", axis=1, num_outputs=2))
        return names

    def weight(self, *shape: int) -> str:
        return self.constant(self._rng.standard_normal(shape, dtype=np.float32) / max(1, shape[-1]))

    def constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(value, name))
        return name

    def conv(
        self,
        source: str,
        inputs: int,
        outputs: int,
        *,
        kernel: Sequence[int] | None = None,
        stride: Sequence[int] | None = None,
        dilation: Sequence[int] | None = None,
        groups: int = 1,
        name: str = "op",
    ) -> str:
        kernel = kernel or [1] * self.op.dims
        dilation = dilation or [1] * self.op.dims
        weights = [self.weight(outputs, inputs // groups, *kernel), self.weight(outputs)]
        return self.node(
            "Conv",
            [source, *weights],
            name=name,
            kernel_shape=list(kernel),
            strides=list(stride or [1] * self.op.dims),
            dilations=list(dilation),
            pads=[each * (size // 2) for each, size in zip(dilation, kernel, strict=True)] * 2,
            group=groups,
        )

    def reshaped(self, source: str, *shape: int) -> str:
        """0 keeps a size, -1 is what is left."""
        return self.node("Reshape", [source, self.constant(np.array(shape, np.int64))])

    def framewise(self, source: str, channels: int, made: Callable[[str], str]) -> str:
        """What is made of each frame: of a 3D map's they are channels meanwhile."""
        if self.op.dims == 2:
            return made(source)
        _, _, frames, height, width = self.image
        out = made(self.reshaped(source, 0, channels * frames, height, width))
        return self.reshaped(out, 0, channels, frames, self.op.height, self.op.width)

    def map(self, channels: int) -> str:
        """A map as a network would have it, written just before."""
        made = self.conv(INPUT, _IMAGE_CHANNELS, channels, name=AROUND)
        return self.node("Relu", [made], name=AROUND)

    def end(self, source: str, channels: int) -> None:
        """Read a map by a convolution."""
        whole = self.op.outputs
        own = {whole, whole // 2, -(-whole // 2)}
        thin = next(n for n in (16, 32, 64, 128) if n not in own)
        # a 3D map was never in the blocked layout: all that is reordered is the operation's
        border = thin if self.op.dims == 2 else 0
        self.output(self.conv(source, channels, thin, name=AROUND), border=border)

    def output(self, name: str, *, border: int = 0) -> None:
        """Leave the graph, by a map of so many channels or, with 0, by no map."""
        self._outputs.append(name)
        self.border_channels = border

    def finish(self) -> Graph:
        from onnx import TensorProto, helper

        def info(name: str, shape: tuple[int, ...] | None) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        inputs, outputs = [info(INPUT, self.image)], [info(name, None) for name in self._outputs]
        graph = helper.make_graph(self._nodes, "operation", inputs, outputs, initializer=self._weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
        )
        return Graph(
            model=model.SerializeToString(), input_shape=self.image, border_channels=self.border_channels
        )


def op_graph(op: Op, batch: int) -> Graph:
    """The graph of an operation for batches of `batch` images or clips."""
    draft = _Draft(op, batch)
    _BUILDERS[op.kind](draft, op)
    return draft.finish()


def sum_base_graph(op: Op, batch: int) -> Graph:
    """The graph of a "sum" without the sum: what is missing is what the sum takes."""
    draft = _Draft(op, batch)
    _sum(draft, op, adds=False)
    return draft.finish()


def _conv(draft: _Draft, op: Op) -> None:
    own = op.inputs <= _IMAGE_CHANNELS
    draft.read(
        op.inputs if own else _IMAGE_CHANNELS,
        height=op.height * op.stride,
        width=op.width * op.stride,
        frames=op.frames * op.stride_time,
    )
    over_time = [op.kernel_time], [op.stride_time], [op.dilation_time]
    time, step, gap = over_time if op.dims == 3 else ([], [], [])
    made = draft.conv(
        INPUT if own else draft.map(op.inputs),
        op.inputs,
        op.outputs,
        kernel=[*time, op.kernel, op.kernel],
        stride=[*step, op.stride, op.stride],
        dilation=[*gap, op.dilation, op.dilation],
        groups=op.groups,
    )
    draft.output(draft.node("Relu", [made]), border=op.outputs if op.dims == 2 else 0)


def _pool(draft: _Draft, op: Op) -> None:
    _pooled(draft, op, "AveragePool", count_include_pad=0)


def _maxpool(draft: _Draft, op: Op) -> None:
    _pooled(draft, op, "MaxPool")


def _pooled(draft: _Draft, op: Op, kind: str, **attributes: Any) -> None:
    """Windows over space, padded where they overlap, and then windows over time."""
    draft.read(height=op.height * op.stride, width=op.width * op.stride, frames=op.frames * op.stride_time)
    before, after = _overlap(op.kernel, op.stride)

    def over_space(source: str) -> str:
        return draft.node(
            kind,
            [source],
            kernel_shape=[op.kernel, op.kernel],
            strides=[op.stride, op.stride],
            pads=[before, before, after, after],
            **attributes,
        )

    made = draft.map(op.inputs)
    if op.kernel > 1 or op.stride > 1:
        made = draft.framewise(made, op.inputs, over_space)
    if op.kernel_time > 1 or op.stride_time > 1:
        first, last = _overlap(op.kernel_time, op.stride_time)
        made = draft.node(
            kind,
            [made],
            kernel_shape=[op.kernel_time, 1, 1],
            strides=[op.stride_time, 1, 1],
            pads=[first, 0, 0, last, 0, 0],
            **attributes,
        )
    draft.end(made, op.outputs)


def _overlap(kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after with which windows give a stride-th of the side."""
    return ((kernel - 1) // 2, kernel // 2) if kernel > stride else (0, 0)


def _rise(draft: _Draft, op: Op) -> None:
    """The upsampling; the sum that follows is part of the convolution that makes the high map."""
    draft.read(height=-(-op.height // 2), width=-(-op.width // 2))

    def risen(source: str) -> str:
        whole = draft.node(
            "Resize",
            [source, "", draft.constant(np.array([1, 1, 2, 2], np.float32))],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        if op.height % 2 == op.width % 2 == 0:
            return whole
        starts, ends, axes = ([0, 0], [op.height, op.width], [2, 3])
        crop = [draft.constant(np.array(values, np.int64)) for values in (starts, ends, axes)]
        return draft.node("Slice", [whole, *crop])

    draft.end(draft.framewise(draft.map(op.inputs), op.inputs, risen), op.outputs)


def _concat(draft: _Draft, op: Op) -> None:
    if op.groups > 1:
        first = op.outputs // op.groups // 2 * op.groups
    else:
        first = max(1, op.outputs // 32 * 16) if op.outputs >= 32 else op.outputs // 2
    sizes = first, op.outputs - first
    parts = [draft.map(channels) for channels in sizes]
    if op.groups == 1:
        draft.end(draft.node("Concat", parts, axis=1), op.outputs)
        return
    size = draft.image[2:]
    grouped = [draft.reshaped(part, 0, op.groups, -1, *size) for part in parts]
    draft.end(draft.reshaped(draft.node("Concat", grouped, axis=2), 0, op.outputs, *size), op.outputs)


def _cut(draft: _Draft, op: Op) -> None:
    sizes = -(-op.outputs // 2), op.outputs // 2
    for half, channels in zip(draft.halves(draft.map(op.outputs)), sizes, strict=True):
        draft.end(half, channels)


def _sum(draft: _Draft, op: Op, *, adds: bool = True) -> None:
    other = draft.map(op.outputs)
    made = draft.conv(draft.map(16), 16, op.outputs)
    border = op.outputs if op.dims == 2 else 0
    if adds:
        made = draft.node("Add", [made, other])
    else:
        draft.output(other, border=border)
    draft.output(draft.node("Relu", [made]), border=border)


def _add(draft: _Draft, op: Op) -> None:
    added = draft.node("Add", [draft.map(op.outputs), draft.map(op.outputs)])
    draft.end(draft.node("Relu", [added]), op.outputs)


def _norm(draft: _Draft, op: Op) -> None:
    ones = draft.constant(np.ones(op.inputs, np.float32))
    normed = draft.node("BatchNormalization", [draft.map(op.inputs), ones, ones, ones, ones])
    draft.end(draft.node("Relu", [normed]), op.outputs)


def _excite(draft: _Draft, op: Op) -> None:
    """Mean and product; the fully connected layers between them are operations of their own."""
    source = draft.map(op.inputs)
    means = draft.node("ReduceMean", [source, draft.constant(_axes(op))], keepdims=1)
    draft.end(draft.node("Mul", [source, draft.node("Sigmoid", [means])]), op.outputs)


def _gate(draft: _Draft, op: Op) -> None:
    """The product; its factors come from the image, as a runtime would fuse known ones into the map."""
    means = draft.node("ReduceMean", [INPUT, draft.constant(_axes(op))], name=AROUND, keepdims=1)
    factors = draft.conv(means, _IMAGE_CHANNELS, op.inputs, name=AROUND)
    draft.end(draft.node("Mul", [draft.map(op.inputs), factors]), op.outputs)


def _mean(draft: _Draft, op: Op) -> None:
    draft.output(draft.node("ReduceMean", [draft.map(op.inputs), draft.constant(_axes(op))], keepdims=0))


def _axes(op: Op) -> NDArray[np.int64]:
    return np.arange(2, 2 + op.dims, dtype=np.int64)


def _linear(draft: _Draft, op: Op) -> None:
    draft.image = (draft.batch * op.frames, op.inputs)
    weights = [draft.weight(op.outputs, op.inputs), draft.weight(op.outputs)]
    draft.output(draft.node("Gemm", [INPUT, *weights], transB=1))


_BUILDERS: dict[OpKind, Callable[[_Draft, Op], None]] = {
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
