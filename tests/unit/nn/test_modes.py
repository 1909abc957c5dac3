"""The ways of running a network that users of torch expect: each gives the same numbers."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from family_case import mixed, randomized
from torch import Tensor

from octnas.architecture import Architecture
from octnas.backbones import layer_table
from octnas.nn import OctaveNetwork, OctBatchNorm2d, OctConv2d, OctConv3d, build
from octnas.nn.layers import Excitation


@pytest.fixture(scope="module")
def net() -> OctaveNetwork:
    """A tiny network with every kind of boundary: plain, octave, all low, and unequal sums."""
    torch.manual_seed(0)
    slots = layer_table("resnet18", width=8, stem="small").slots
    lows = tuple(int((0, 0.5, 1, 0.25, 0.75)[i % 5] * slot.channels) for i, slot in enumerate(slots))
    arch = Architecture(backbone="resnet18", low_channels=lows, width=8, stem="small", downsample="pooled")
    network = build(arch, num_classes=10)
    with torch.no_grad():
        for name, value in network.named_buffers():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(4, 3, 30, 33, generator=torch.Generator().manual_seed(2))


def distance(ours: Tensor, theirs: Tensor) -> float:
    return float(((ours.float() - theirs).norm() / theirs.norm()).detach())


def test_channels_last_gives_the_same_logits_and_gradients(net: OctaveNetwork, x: Tensor) -> None:
    other = copy.deepcopy(net).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    target = torch.tensor([1, 2, 3, 4])
    gradients = []
    for network, images in ((net, x), (other, x.contiguous(memory_format=torch.channels_last))):
        logits = network(images)
        assert distance(logits, net(x)) < 1e-5
        loss = F.cross_entropy(logits, target)
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_autocast_stays_near_and_keeps_maps_in_bfloat16(net: OctaveNetwork, x: Tensor) -> None:
    dtypes = set()
    hooks = [
        module.register_forward_hook(lambda _m, _x, y: dtypes.update(b.dtype for b in y if b is not None))
        for name, module in net.named_modules()
        if "bn" in name
    ]
    with torch.no_grad():
        want = net(x)
        dtypes.clear()
        with torch.autocast("cpu", torch.bfloat16):
            got = net(x)
    for hook in hooks:
        hook.remove()
    assert dtypes == {torch.bfloat16}
    assert distance(got, want) < 0.05


def test_copies_and_pickles_are_the_same_network(net: OctaveNetwork, x: Tensor) -> None:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    with torch.no_grad():
        want = net(x)
        assert torch.equal(torch.load(file, weights_only=False)(x), want)
        duplicate = copy.deepcopy(net)
        for parameter in duplicate.parameters():
            parameter.zero_()
        assert not duplicate(x).any()
        assert torch.equal(net(x), want)


def test_a_replaced_module_is_honoured(net: OctaveNetwork, x: Tensor) -> None:
    other = copy.deepcopy(net)
    other.fc = torch.nn.Identity()
    assert other(x).shape == (4, 64)


def test_builds_and_runs_without_memory(net: OctaveNetwork) -> None:
    with torch.device("meta"):
        assert build(net.architecture, num_classes=7)(torch.empty(2, 3, 32, 32)).shape == (2, 7)


def test_exported_program_takes_any_batch(net: OctaveNetwork, x: Tensor) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
    with torch.no_grad():
        for n in (1, 3, 4):
            torch.testing.assert_close(program.module()(x[:n]), net(x[:n]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_layer_compiles_as_one_graph(stride: int) -> None:
    layer = torch.nn.Sequential(
        OctConv2d(8, 8, 3, alpha_in=0.5, alpha_out=0.25, stride=stride, padding=1), OctBatchNorm2d(8, 2)
    )
    reference = copy.deepcopy(layer)
    images = (torch.randn(2, 4, 9, 8), torch.randn(2, 4, 5, 4))
    got = torch.compile(layer, fullgraph=True, backend="aot_eager")(images)
    for ours, theirs in zip(got, reference(images), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert torch.equal(layer[1].running_mean, reference[1].running_mean)
    assert layer[1].running_mean.all()


@pytest.mark.parametrize(
    "layer",
    [
        OctConv2d(8, 8, 3, alpha_in=0.5, alpha_out=0.5, padding=1, groups=2),
        OctConv2d(8, 8, 1, alpha_in=0.5, alpha_out=0.5, order_in=(0, 2, 4, 6, 1, 3, 5, 7)),
        OctConv3d(8, 8, 3, alpha_in=0.5, alpha_out=0.5, stride=(2, 1, 1), padding=1),
        OctBatchNorm2d(8, 4, groups=2),
        Excitation(8, 2, low=4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_layers_compile_as_one_graph(layer: torch.nn.Module) -> None:
    time = (3,) if isinstance(layer, OctConv3d) else ()
    x = (torch.randn(2, 4, *time, 9, 8), torch.randn(2, 4, *time, 5, 4))
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend="aot_eager")
    for ours, theirs in zip(compiled(x), layer(x), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "backbone",
    [
        "mobilenet_v2",
        "i3d_resnet10",
        pytest.param("resnext50_32x4d", marks=pytest.mark.slow),
        pytest.param("se_resnet50", marks=pytest.mark.slow),
        pytest.param("densenet121", marks=pytest.mark.slow),
        pytest.param("c2d_resnet18", marks=pytest.mark.slow),
        pytest.param("r3d_18", marks=pytest.mark.slow),
    ],
)
def test_every_family_is_exported_with_any_batch(backbone: str) -> None:
    net = build(mixed(backbone, seed=2), num_classes=4).eval()
    randomized(net)
    clips = torch.randn(3, 3, *((4,) if net.dims == 3 else ()), 15, 14)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (clips,), dynamic_shapes=({0: batch},))
    with torch.no_grad():
        for n in (1, 3):
            torch.testing.assert_close(program.module()(clips[:n]), net(clips[:n]), rtol=1e-4, atol=1e-5)
        assert torch.equal(copy.deepcopy(net)(clips), net(clips))


def test_a_2d_network_on_clips_is_exported_with_any_batch(net: OctaveNetwork) -> None:
    clips = torch.randn(3, 3, 4, 16, 14)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (clips,), dynamic_shapes=({0: batch},))
    with torch.no_grad():
        for n in (1, 3):
            torch.testing.assert_close(program.module()(clips[:n]), net(clips[:n]), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_onnx_runtime_gives_the_same_logits(net: OctaveNetwork, x: Tensor) -> None:
    runtime = pytest.importorskip("onnxruntime")
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.onnx.export(net, (x,), dynamic_shapes=({0: batch},), verbose=False)
    assert program is not None
    file = io.BytesIO()
    program.save(file)
    session = runtime.InferenceSession(file.getvalue())
    got = session.run(None, {session.get_inputs()[0].name: x[:3].numpy()})[0]
    np.testing.assert_allclose(got, net(x[:3]).detach().numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiles_as_one_graph_and_trains_alike(net: OctaveNetwork, x: Tensor) -> None:
    """`aot_eager` runs all of the compiler but its code generator."""
    target = torch.tensor([1, 2, 3, 4])
    results = []
    for compiled in (False, True):
        network = copy.deepcopy(net).train()
        call = torch.compile(network, fullgraph=True, backend="aot_eager") if compiled else network
        loss = F.cross_entropy(call(x), target)
        loss.backward()
        results.append((loss.detach(), [p.grad for p in network.parameters()], dict(network.named_buffers())))
    eager, graph = results
    torch.testing.assert_close(graph[0], eager[0])
    for ours, theirs in zip(graph[1], eager[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    for name, value in eager[2].items():
        torch.testing.assert_close(graph[2][name], value)
