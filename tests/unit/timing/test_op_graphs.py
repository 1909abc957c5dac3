"""The small graphs in which operations are timed: each holds its operation and nothing heavy besides."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from octnas.costs.ops import OP_KINDS, Op
from octnas.timing.op_graphs import AROUND, INPUT, Graph, op_graph, sum_base_graph
from octnas.timing.op_times import op_times


def op(kind: str, channels: int = 16, side: int = 6, **more: int) -> Op:
    window = {"pool": {"kernel": 2, "stride": 2}, "maxpool": {"kernel": 3, "stride": 2}}.get(kind, {})
    given = {"inputs": channels, "outputs": channels, "height": side, "width": side, **window, **more}
    return Op(kind=kind, **given)  # type: ignore[arg-type]


NODES = {"conv": ["Conv", "Relu"], "pool": ["AveragePool"], "rise": ["Resize"], "concat": ["Concat"],
         "sum": ["Conv", "Add", "Relu"], "add": ["Add", "Relu"], "cut": ["Split"], "maxpool": ["MaxPool"],
         "norm": ["BatchNormalization", "Relu"], "excite": ["ReduceMean", "Sigmoid", "Mul"],
         "gate": ["Mul"], "mean": ["ReduceMean"], "linear": ["Gemm"]}  # fmt: skip


def outputs(graph: Graph) -> list[np.ndarray]:  # type: ignore[type-arg]
    session = onnxruntime.InferenceSession(graph.model, providers=["CPUExecutionProvider"])
    return session.run(None, {INPUT: np.ones(graph.input_shape, np.float32)})  # type: ignore[no-any-return]


def own_nodes(graph: Graph) -> list[onnx.NodeProto]:
    model = onnx.load_from_string(graph.model)
    return [node for node in model.graph.node if not node.name.startswith(AROUND)]


@pytest.mark.parametrize("kind", OP_KINDS)
def test_a_graph_holds_its_operation(kind: str) -> None:
    graph = op_graph(op(kind), batch=2)
    assert [node.op_type for node in own_nodes(graph)] == NODES[kind]
    assert graph.input_shape[0] == 2
    assert all(np.isfinite(each).all() and each.shape[0] == 2 for each in outputs(graph))


@pytest.mark.parametrize("kind", OP_KINDS)
def test_the_frames_of_a_clip_are_images_in_2d(kind: str) -> None:
    graph = op_graph(op(kind, frames=3), batch=2)
    assert [node.op_type for node in own_nodes(graph)] == NODES[kind]
    assert graph.input_shape[0] == 6
    assert all(each.shape[0] == 6 for each in outputs(graph))


@pytest.mark.parametrize("kind", [kind for kind in OP_KINDS if kind != "linear"])
def test_a_3d_operation_keeps_the_frames_of_its_map(kind: str) -> None:
    graph = op_graph(op(kind, dims=3, frames=3), batch=2)
    nodes = [node.op_type for node in own_nodes(graph) if node.op_type != "Reshape"]
    assert nodes == NODES[kind]
    assert graph.input_shape[:1] + graph.input_shape[2:3] == (2, 3)
    assert graph.border_channels == 0
    for each in outputs(graph):
        assert each.shape[0] == 2
        assert each.shape[2:] == (() if kind == "mean" else (3, 6, 6))


@pytest.mark.parametrize(("kernel", "frames", "read"), [(1, 2, 4), (3, 3, 6)])
def test_a_maximum_over_time(kernel: int, frames: int, read: int) -> None:
    shape = op("maxpool", dims=3, kernel=kernel, stride=1, frames=frames, kernel_time=2, stride_time=2)
    graph = op_graph(shape, batch=1)
    assert graph.input_shape == (1, 3, read, 6, 6)
    (result,) = outputs(graph)
    assert result.shape[2:] == (frames, 6, 6)


def test_a_grouped_concatenation_joins_group_by_group() -> None:
    for dims in (2, 3):
        graph = op_graph(op("concat", 24, groups=4, dims=dims, frames=2), batch=1)
        kinds = [node.op_type for node in own_nodes(graph)]
        assert kinds == ["Reshape", "Reshape", "Concat", "Reshape"]
        (result,) = outputs(graph)
        assert result.shape[-2:] == (6, 6)


@pytest.mark.parametrize(
    "shape",
    [
        op("conv", 24, 7, outputs=40, kernel=3),
        op("conv", 3, 8, outputs=16, kernel=7, stride=2),
        op("conv", 16, 5, outputs=32, stride=2),
        op("conv", 16, 5, kernel=3, groups=4),
        op("conv", 16, 5, kernel=3, groups=16),
        op("conv", 8, 5, kernel=3, dims=3, frames=4, kernel_time=3),
        op("conv", 3, 8, outputs=16, kernel=7, stride=2, dims=3, frames=4, kernel_time=5),
        op("conv", 8, 5, dims=3, frames=3, kernel_time=3, stride_time=2),
        op("conv", 8, 5, kernel=3, frames=4),
        op("conv", 8, 6, kernel=3, dilation=2),
        op("conv", 8, 6, kernel=3, stride=2, dilation=3),
        op("conv", 8, 5, kernel=3, dims=3, frames=4, kernel_time=3, dilation=2, dilation_time=2),
    ],
    ids=str,
)
def test_a_convolution_has_the_operations_multiply_adds(shape: Op) -> None:
    graph = op_graph(shape, batch=1)
    model = onnx.load_from_string(graph.model)
    sizes = {each.name: list(each.dims) for each in model.graph.initializer}
    (conv,) = (node for node in own_nodes(graph) if node.op_type == "Conv")
    (result,) = outputs(graph)
    images, frames = (1, (shape.frames,)) if shape.dims == 3 else (shape.frames, ())
    assert result.shape == (images, shape.outputs, *frames, shape.height, shape.width)
    assert np.prod(sizes[conv.input[1]]) * shape.frames * shape.height * shape.width == shape.macs


@pytest.mark.parametrize("kind", ["pool", "maxpool"])
@pytest.mark.parametrize(
    ("kernel", "stride", "kernel_time", "stride_time"),
    [(2, 2, 1, 1), (3, 1, 1, 1), (5, 2, 1, 1), (2, 2, 2, 2), (3, 2, 3, 1), (1, 1, 3, 2), (7, 1, 2, 1)],
)
def test_a_pooling_gives_the_operations_map(
    kind: str, kernel: int, stride: int, kernel_time: int, stride_time: int
) -> None:
    windows = {"kernel": kernel, "stride": stride, "kernel_time": kernel_time, "stride_time": stride_time}
    shape = op(kind, dims=3, frames=4, **windows)
    (result,) = outputs(op_graph(shape, batch=1))
    assert result.shape[2:] == (4, 6, 6)
    times = op_times([shape], runtime="eager", passes=1)
    assert times[shape] > 0


@pytest.mark.parametrize(
    ("kind", "side"), [("pool", 5), ("maxpool", 5), ("rise", 8), ("rise", 7), ("concat", 5)]
)
def test_what_is_read_after_it_has_the_operations_map(kind: str, side: int) -> None:
    (result,) = outputs(op_graph(op(kind, 48, side), batch=1))
    assert result.shape[2:] == (side, side)


def test_both_parts_of_a_cut_are_read() -> None:
    graph = op_graph(op("cut", 33), batch=1)
    first, second = outputs(graph)
    assert first.shape[1] == second.shape[1] == graph.border_channels
    assert graph.border_channels not in (33, 17, 16)


def test_a_sum_is_what_its_graph_has_beyond_the_base() -> None:
    shape = op("sum")
    with_sum, without = own_nodes(op_graph(shape, 1)), own_nodes(sum_base_graph(shape, 1))
    assert [node.op_type for node in with_sum if node.op_type != "Add"] == [node.op_type for node in without]


@pytest.mark.parametrize("runtime", ["onnxruntime", "eager"])
def test_every_kind_is_timed_once_in_every_pass(runtime: str) -> None:
    ops = [op(kind) for kind in OP_KINDS]
    clips = [op(kind, dims=3, frames=2) for kind in OP_KINDS if kind != "linear"]
    ops += [op("conv", kernel=3, dilation=2), op("conv", dims=3, kernel_time=3, dilation_time=2)]
    ops += [*clips, op("conv", dims=3, frames=2, kernel_time=3), op("concat", groups=4), op("mean", frames=2)]
    counts: list[int] = []
    times = op_times([*ops, *ops], runtime=runtime, passes=2, advance=counts.append)  # type: ignore[arg-type]
    assert set(times) == set(ops)
    assert all(value >= 0 for value in times.values())
    assert times[op("linear")] > 0
    assert counts == [len(ops)] * 2


def test_more_arithmetic_takes_longer() -> None:
    # a factor of a hundred in multiply-adds is seen through any noise
    small, large = op("conv", 16, 8, kernel=1), op("conv", 64, 28, kernel=3)
    for runtime in ("onnxruntime", "eager"):
        times = op_times([small, large], runtime=runtime, passes=1)  # type: ignore[arg-type]
        assert times[large] > times[small]
