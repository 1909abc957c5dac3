"""One small ONNX graph for each plain operation, in which it runs as it would inside a network.

At the border of a graph ONNX Runtime reorders maps to and from its blocked layout, which a whole network
does not need. So a map comes from a thin convolution of three channels and goes into another one, and only
the kernels between the two are the operation's. Names of nodes say whose they are: those of the thin
convolutions begin with `AROUND`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octnas.costs.plans import Op, OpKind
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
    """(B, C, H, W), or (B, C) of a linear layer."""
    border_channels: int
    """Maps with so many channels leave the blocked layout only because the graph ends; 0: there are none."""


class _Draft:
    """Nodes and weights of a graph in the making; each method returns the name of the map it makes."""

    def __init__(self, op: Op, batch: int) -> None:
        self.op = op
        self.batch = batch
        self.image: tuple[int, ...] = (batch, _IMAGE_CHANNELS, op.height, op.width)
        self.border_channels = 0
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._outputs: list[str] = []
        self._rng = np.random.default_rng(0)

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
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        name: str = "op",
    ) -> str:
        weights = [self.weight(outputs, inputs // groups, kernel, kernel), self.weight(outputs)]
        return self.node(
            "Conv",
            [source, *weights],
            name=name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )

    def map(self, channels: int) -> str:
        """A map as a network would have it, written just before."""
        made = self.conv(INPUT, _IMAGE_CHANNELS, channels, name=AROUND)
        return self.node("Relu", [made], name=AROUND)

    def end(self, source: str, channels: int) -> None:
        """Read a map by a convolution."""
        whole = self.op.outputs
        own = {whole, whole // 2, -(-whole // 2)}
        thin = next(n for n in (16, 32, 64, 128) if n not in own)
        self.output(self.conv(source, channels, thin, name=AROUND), border=thin)

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
    """The graph of an operation for batches of `batch` images."""
    draft = _Draft(op, batch)
    _BUILDERS[op.kind](draft, op)
    return draft.finish()


def sum_base_graph(op: Op, batch: int) -> Graph:
    """The graph of a "sum" without the sum: what is missing is what the sum takes."""
    draft = _Draft(op, batch)
    _sum(draft, op, adds=False)
    return draft.finish()


def _conv(draft: _Draft, op: Op) -> None:
    draft.image = (draft.batch, _IMAGE_CHANNELS, op.height * op.stride, op.width * op.stride)
    if op.inputs <= _IMAGE_CHANNELS:
        draft.image = (draft.batch, op.inputs, *draft.image[2:])
        source = INPUT
    else:
        source = draft.map(op.inputs)
    made = draft.conv(source, op.inputs, op.outputs, kernel=op.kernel, stride=op.stride, groups=op.groups)
    draft.output(draft.node("Relu", [made]), border=op.outputs)


def _pool(draft: _Draft, op: Op) -> None:
    draft.image = (draft.batch, _IMAGE_CHANNELS, 2 * op.height, 2 * op.width)
    pooled = draft.node(
        "AveragePool",
        [draft.map(op.inputs)],
        kernel_shape=[2, 2],
        strides=[2, 2],
        ceil_mode=1,
        count_include_pad=0,
    )
    draft.end(pooled, op.outputs)


def _maxpool(draft: _Draft, op: Op) -> None:
    draft.image = (draft.batch, _IMAGE_CHANNELS, 2 * op.height, 2 * op.width)
    pooled = draft.node(
        "MaxPool", [draft.map(op.inputs)], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    draft.end(pooled, op.outputs)


def _rise(draft: _Draft, op: Op) -> None:
    """The upsampling; the sum that follows is part of the convolution that makes the high map."""
    draft.image = (draft.batch, _IMAGE_CHANNELS, -(-op.height // 2), -(-op.width // 2))
    scales = draft.constant(np.array([1, 1, 2, 2], np.float32))
    risen = draft.node(
        "Resize",
        [draft.map(op.inputs), "", scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    if op.height % 2 or op.width % 2:
        starts, ends, axes = ([0, 0], [op.height, op.width], [2, 3])
        crop = [draft.constant(np.array(values, np.int64)) for values in (starts, ends, axes)]
        risen = draft.node("Slice", [risen, *crop])
    draft.end(risen, op.outputs)


def _concat(draft: _Draft, op: Op) -> None:
    first = max(1, op.outputs // 32 * 16) if op.outputs >= 32 else op.outputs // 2
    parts = [draft.map(first), draft.map(op.outputs - first)]
    draft.end(draft.node("Concat", parts, axis=1), op.outputs)


def _cut(draft: _Draft, op: Op) -> None:
    sizes = -(-op.outputs // 2), op.outputs // 2
    for half, channels in zip(draft.halves(draft.map(op.outputs)), sizes, strict=True):
        draft.end(half, channels)


def _sum(draft: _Draft, op: Op, *, adds: bool = True) -> None:
    other = draft.map(op.outputs)
    made = draft.conv(draft.map(16), 16, op.outputs)
    if adds:
        made = draft.node("Add", [made, other])
    else:
        draft.output(other, border=op.outputs)
    draft.output(draft.node("Relu", [made]), border=op.outputs)


def _mean(draft: _Draft, op: Op) -> None:
    axes = draft.constant(np.array([2, 3], np.int64))
    draft.output(draft.node("ReduceMean", [draft.map(op.inputs), axes], keepdims=0))


def _linear(draft: _Draft, op: Op) -> None:
    draft.image = (draft.batch, op.inputs)
    weights = [draft.weight(op.outputs, op.inputs), draft.weight(op.outputs)]
    draft.output(draft.node("Gemm", [INPUT, *weights], transB=1))


_BUILDERS: dict[OpKind, Callable[[_Draft, Op], None]] = {
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
