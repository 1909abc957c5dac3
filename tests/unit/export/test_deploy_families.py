"""Deployed networks of every family: grouped, depthwise, concatenated, excited, over time, and on clips."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import pytest
import torch
from export_case import check_files, distance, lived_in
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from octnas.architecture import Architecture
from octnas.backbones import default_input, dims_of, layer_table, names
from octnas.costs import cost
from octnas.costs.forms import Form
from octnas.costs.ops import Op
from octnas.costs.plans import network_ops, network_plans
from octnas.export import deploy
from octnas.export.convs import DeployedConv
from octnas.nn import OctaveNetwork, build

FAMILIES = [
    "resnext50_32x4d",  # grouped
    "se_resnet50",  # excited
    "densenet121",  # concatenated, normalised before, averages between
    "mobilenet_v1",  # depthwise
    "mobilenet_v2",  # depthwise, relu6, sums without activation
    "c2d_resnet18",  # 3D, a maximum over time
    "i3d_resnet10",  # 3D, kernels over time
    "r3d_18",  # 3D, strides over time
]
"""One for each kind of node."""


def random_architecture(
    name: str, seed: int, *, stem: str = "small", downsample: str = "pooled"
) -> Architecture:
    """Some low channels for every layer, none and all among them."""
    rng, width = random.Random(seed), 64 if name == "r2plus1d_18" else 8
    width = 16 if "_x" in name else width  # their channels are not whole at 8
    lows = []
    for slot in layer_table(name, width=width, stem=stem).slots:  # type: ignore[arg-type]
        most = slot.channels // slot.multiple
        lows.append(slot.multiple * rng.choice([0, 0, most // 4, most // 2, 3 * most // 4, most]))
    return Architecture(
        backbone=name,
        low_channels=tuple(lows),
        width=width,
        stem=stem,  # type: ignore[arg-type]
        downsample=downsample,  # type: ignore[arg-type]
    )


def network(architecture: Architecture, seed: int = 0) -> OctaveNetwork:
    return lived_in(build(architecture, num_classes=7, in_channels=2), seed)


def shapes(name: str, *sizes: tuple[int, int]) -> list[tuple[int, ...]]:
    """Inputs of these sizes; clips of 3 frames for a 3D backbone and, besides, for a 2D one."""
    clips = [(2, 2, 3, *size) for size in sizes]
    return clips if dims_of(name) == 3 else [*((2, 2, *size) for size in sizes), clips[-1]]


@pytest.mark.parametrize("downsample", ["strided", "pooled"])
@pytest.mark.parametrize("name", FAMILIES)
def test_equals_the_network_at_every_size(name: str, downsample: str) -> None:
    net = network(random_architecture(name, 5, downsample=downsample))
    fast = deploy(net)
    for shape in shapes(name, (24, 32), (33, 29)):
        images = torch.randn(*shape)
        with torch.inference_mode():
            assert distance(fast(images), net(images)) <= 1e-5


@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v2", "i3d_resnet18"])
def test_equals_the_network_behind_the_imagenet_stem(name: str) -> None:
    net = network(random_architecture(name, 2, stem="imagenet"))
    (shape, *_) = shapes(name, (59, 64))
    images = torch.randn(*shape)
    with torch.inference_mode():
        assert distance(deploy(net)(images), net(images)) <= 1e-5


@pytest.mark.parametrize("name", FAMILIES)
def test_the_operations_of_a_plan_are_those_of_the_network(name: str) -> None:
    arch = random_architecture(name, 1)
    for shape in shapes(name, (32, 32))[-2:]:
        fast = deploy(
            build(arch, num_classes=7, in_channels=2),
            input_size=(32, 32),
            frames=shape[2] if len(shape) == 5 else None,
        )
        with FlopCounterMode(display=False) as counter:
            fast(torch.zeros(1, *shape[1:]))
        ops = network_ops(arch, shape[1:], 7)
        assert counter.get_total_flops() == 2 * sum(op.macs for op in ops)
        assert fast.forms == {key: plan.form for key, plan in network_plans(arch, shape[1:]).items()}


@pytest.mark.parametrize("name", names())
def test_the_first_plans_multiply_as_often_as_the_closed_form_says(name: str) -> None:
    arch = random_architecture(name, 7)
    shape = default_input(name, "small", channels=2)
    for each in (shape, (2, 3, 31, 30)):
        ops = network_ops(arch, each, 7, times=lambda op: float(op.macs))
        assert sum(op.macs for op in ops) == cost(arch, each, 7).macs


CONVS_FIRST = {
    # by which grouped layers take the one form or the other, wherever both exist
    "concat": lambda op: float(op.kind == "conv"),
    "half": lambda op: float(op.kind == "conv"),
    "paths": lambda op: float(op.kind == "concat"),
}


@pytest.mark.parametrize("wanted", CONVS_FIRST)
def test_the_forms_of_grouped_layers_give_the_same_numbers(wanted: Form) -> None:
    times = CONVS_FIRST[wanted]
    found: set[Form] = set()
    for seed in range(2):
        net = network(random_architecture("resnext50_32x4d", seed), seed)
        grouped = {conv.name for conv in net.table.convs if conv.groups > 1}
        fast = deploy(net, times=times)
        found |= {form for name, form in fast.forms.items() if name in grouped}
        images = torch.randn(2, 2, 31, 27)
        with torch.inference_mode():
            assert distance(fast(images), net(images)) <= 1e-5
    assert wanted in found


def test_a_form_for_kernels_over_time_is_right_in_every_one() -> None:
    """A 3x1x1 convolution commutes with pooling and upsampling over space."""
    forms: set[Form] = set()
    wanted: dict[str, float] = {"cut": 0.0, "rise": 0.0, "conv": 1.0}
    net = network(random_architecture("i3d_resnet50", 3))
    inflated = {conv.name for conv in net.table.convs if (conv.kernel, conv.kernel_time) == (1, 3)}
    for weight in (1.0, 1e-3, -1.0):

        def times(op: Op, weight: float = weight) -> float:
            return wanted.get(op.kind, weight) + op.macs * 1e-12

        fast = deploy(net, times=times)
        forms |= {form for name, form in fast.forms.items() if name in inflated}
        images = torch.randn(1, 2, 4, 27, 32)
        with torch.inference_mode():
            assert distance(fast(images), net(images)) <= 1e-5
    assert forms & {"lifted", "lifted-high", "high-to-all"}


@pytest.mark.parametrize("name", ["resnext50_32x4d", "mobilenet_v2", "i3d_resnet10"])
def test_packed_and_ordinary_convolutions_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = deploy(network(random_architecture(name, 4)))
    convs = [module for module in fast.modules() if isinstance(module, DeployedConv)]
    images = torch.randn(*shapes(name, (32, 32))[0])
    with torch.inference_mode():
        packed = fast(images)
        assert all(conv._packed is not None for conv in convs)
        twin = copy.deepcopy(fast)
        monkeypatch.setattr("octnas.export.convs.can_pack", lambda: False)
        assert distance(packed, twin(images)) <= 1e-5
    assert all(each._packed is None for each in twin.modules() if isinstance(each, DeployedConv))


def test_relu6_ends_at_six() -> None:
    net = network(random_architecture("mobilenet_v2", 4))
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight *= 20  # most activations are cut off
    images = torch.randn(2, 2, 32, 32)
    with torch.inference_mode():
        assert distance(deploy(net)(images), net(images)) <= 1e-4


def test_half_precision_keeps_its_format() -> None:
    net = network(random_architecture("densenet121", 4)).to(torch.bfloat16)
    fast = deploy(net)
    assert {each.dtype for each in (*fast.parameters(), *fast.buffers())} == {torch.bfloat16}


def check_files_of(name: str, folder: Path, *, clip: bool, stem: str) -> None:
    """`check_files` of a random architecture, at an input of odd sides."""
    net = network(random_architecture(name, 6, stem=stem))
    check_files(net, (2, *([3] if clip else []), 39, 44), folder)


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2",
        "r3d_18",
        pytest.param("densenet121", marks=pytest.mark.slow),
        pytest.param("se_resnet50", marks=pytest.mark.slow),
    ],
)
def test_the_compiler_sees_one_graph(name: str) -> None:
    net = network(random_architecture(name, 8))
    (shape, *_) = shapes(name, (24, 29))
    images = torch.randn(*shape)
    with torch.inference_mode():
        compiled = torch.compile(deploy(net), fullgraph=True, dynamic=False, backend="eager")
        assert distance(compiled(images), net(images)) <= 1e-5


@pytest.mark.parametrize(
    ("name", "clip"), [("mobilenet_v1", False), ("resnet10", True), ("i3d_resnet10", True)]
)
def test_the_exported_graphs_equal_the_network(name: str, clip: bool, tmp_path: Path) -> None:
    check_files_of(name, tmp_path, clip=clip, stem="small")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [*FAMILIES, "resnet50", "wide_resnet50_2", "c2d_resnet10", "i3d_resnet50", "mc3_18", "r2plus1d_18"],
)
def test_the_exported_graphs_of_every_family_equal_the_network(name: str, tmp_path: Path) -> None:
    check_files_of(name, tmp_path, clip=dims_of(name) == 3, stem="imagenet")
