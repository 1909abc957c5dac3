"""All tables: against torchvision's networks, and what every one of them promises."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from octnas.backbones import (
    Concat,
    Conv,
    Excite,
    Head,
    LayerTable,
    Norm,
    Pool,
    default_input,
    dims_of,
    layer_table,
    names,
)
from octnas.errors import ArchitectureError

TORCHVISION: dict[str, Any] = {
    "resnext50_32x4d": torchvision.models.resnext50_32x4d,
    "wide_resnet50_2": torchvision.models.wide_resnet50_2,
    "wide_resnet101_2": torchvision.models.wide_resnet101_2,
    "densenet121": torchvision.models.densenet121,
    "mobilenet_v2": torchvision.models.mobilenet_v2,
    "mobilenet_v2_x0_5": lambda: torchvision.models.mobilenet_v2(width_mult=0.5),
    "mobilenet_v2_x0_75": lambda: torchvision.models.mobilenet_v2(width_mult=0.75),
    "mobilenet_v2_x1_4": lambda: torchvision.models.mobilenet_v2(width_mult=1.4),
    "r3d_18": lambda: torchvision.models.video.r3d_18(num_classes=1000),
    "mc3_18": lambda: torchvision.models.video.mc3_18(num_classes=1000),
    "r2plus1d_18": lambda: torchvision.models.video.r2plus1d_18(num_classes=1000),
}
NARROWED = [name for name in names() if name != "r2plus1d_18"]


def narrow(name: str, stem: Any = "small") -> LayerTable:
    return layer_table(name, width=64 if name == "r2plus1d_18" else 8, stem=stem)


@pytest.mark.parametrize("name", TORCHVISION)
def test_layers_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        reference: nn.Module = TORCHVISION[name]()
    table = layer_table(name)
    convs, norms, heads = {}, {}, {}
    for path, m in reference.named_modules():
        if isinstance(m, nn.Conv2d | nn.Conv3d):
            convs[path] = (m.in_channels, m.out_channels, m.kernel_size, m.stride, m.padding, m.groups)
        elif isinstance(m, _BatchNorm):
            norms[path] = m.num_features
        elif isinstance(m, nn.Linear):
            heads[path] = (m.in_features, m.out_features)
    ours = {}
    for c in table.convs:
        time = ((), (), ()) if table.dims == 2 else ((c.kernel_time,), (c.stride_time,), (c.padding_time,))
        kernel, stride, padding = (
            (*t, n, n) for t, n in zip(time, (c.kernel, c.stride, c.padding), strict=True)
        )
        ours[c.name] = (c.in_channels, c.out_channels, kernel, stride, padding, c.groups)
    # In their order too, by which 2D weights are inflated.
    assert list(ours.items()) == list(convs.items())
    own = {c.norm: c.out_channels for c in table.convs if c.norm is not None}
    assert own | {n.name: n.channels for n in table.nodes if isinstance(n, Norm)} == norms
    head = table.nodes[-1]
    assert isinstance(head, Head)
    assert heads == {head.name: (head.in_channels, head.out_channels)}


@pytest.mark.parametrize("name", names())
def test_channels_agree_from_node_to_node(name: str) -> None:
    for stem in ("small", "imagenet"):
        table = narrow(name, stem)
        seen = {"input"}
        for node in table.nodes:
            reads = (node.reads,) if isinstance(node.reads, str) else node.reads
            assert set(reads) <= seen
            assert node.name not in seen
            seen.add(node.name)
            match node:
                case Conv() | Head():
                    assert table.channels(node.reads) == node.in_channels
                case Norm() | Excite():
                    assert table.channels(node.reads) == node.channels
                case Concat():
                    assert table.channels(node.name) == sum(table.channels(n) for n in reads)
                case _:
                    assert len({table.channels(n) for n in reads}) == 1


@pytest.mark.parametrize("name", NARROWED)
def test_a_grouped_convolution_has_its_layout_on_both_sides(name: str) -> None:
    table = narrow(name)
    for conv in table.convs:
        if conv.groups > 1 and not conv.depthwise:
            before = table.segments[conv.reads]
            assert [(part.groups, part.channels) for part in before] == [(conv.groups, conv.in_channels)]
            assert conv.layout == conv.groups
            assert conv.slot is not None
            assert table.slots[conv.slot].multiple == conv.groups


@pytest.mark.parametrize("name", ["resnext50_32x4d", "resnext101_32x4d"])
def test_narrow_groups_have_as_many_channels(name: str) -> None:
    """So that the allowed alphas are those of the published width."""
    wide, thin = layer_table(name), layer_table(name, width=8)
    for a, b in zip(wide.convs, thin.convs, strict=True):
        if a.groups > 1:
            assert a.groups == 32
            assert b.groups == 4
            assert a.in_channels // a.groups == b.in_channels // b.groups


@pytest.mark.parametrize("name", NARROWED)
def test_width_scales_every_channel_number(name: str) -> None:
    wide, thin = layer_table(name, in_channels=3), layer_table(name, width=8, in_channels=3)
    for a, b in zip(wide.convs, thin.convs, strict=True):
        assert a.name == b.name
        assert a.out_channels == 8 * b.out_channels


@pytest.mark.parametrize(
    ("name", "width"), [("r2plus1d_18", 8), ("densenet121", 1), ("mobilenet_v2", 3), ("se_resnet50", 2)]
)
def test_channels_that_would_not_be_whole_are_refused(name: str, width: int) -> None:
    with pytest.raises(
        ArchitectureError, match=rf"must be whole, but a layer of {name} .* width={width}: choose"
    ) as e:
        layer_table(name, width=width)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        (
            "densenet121",
            {"features.transition1.pool": 28, "features.transition3.pool": 7, "features.norm5": 7},
        ),
        ("mobilenet_v1", {"features.1.conv.1.0": 112, "features.13.conv.1.0": 7}),
        ("mobilenet_v2", {"features.1.conv.1": 112, "features.6.add": 28, "features.18.0": 7}),
    ],
)
def test_sides_at_224_px(name: str, sides: dict[str, int]) -> None:
    found = layer_table(name).sizes(224, 224)
    assert {node: found[node][0] for node in sides} == sides


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("mobilenet")])
def test_the_small_stem_keeps_32_px_and_ends_at_4(name: str) -> None:
    table = narrow(name)
    sizes = table.sizes(32, 32)
    first = table.convs[0]
    assert (first.kernel, sizes[first.name]) == (3, (32, 32))
    assert sizes[table.nodes[-2].name] == (4, 4)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2_x1_4"])
def test_small_mobilenets_halve_three_times(name: str) -> None:
    table = narrow(name)
    strides = [conv.stride for conv in table.convs]
    assert strides.count(2) == 3
    assert layer_table(name).convs[0].stride == 2
    assert [conv.stride for conv in layer_table(name).convs].count(2) == 5
    assert table.sizes(32, 32)[table.nodes[-2].name] == (4, 4)


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("c2d_resnet50", [8, 8, 4, 4, 4]),
        ("i3d_resnet18", [8, 8, 4, 4, 4]),
        ("c2d_resnet10", [8, 8, 8, 8, 8]),
        ("r3d_18", [8, 8, 4, 2, 1]),
        ("mc3_18", [8, 8, 8, 8, 8]),
        ("r2plus1d_18", [8, 8, 4, 2, 1]),
    ],
)
def test_frames_of_the_stem_and_the_stages(name: str, frames: list[int]) -> None:
    table = layer_table(name)
    found = table.frames(8)
    stem = [conv.name for conv in table.convs if conv.stage == 0][-1]
    blocks = [f"layer{stage}.0.add" for stage in (1, 2, 3, 4)]
    assert [found[node] for node in (stem, *blocks)] == frames


@pytest.mark.parametrize(
    ("name", "inflated"),
    [
        ("i3d_resnet50", {1: [0, 1, 2], 2: [0, 2], 3: [0, 2, 4], 4: [1]}),
        ("i3d_resnet18", {1: [0], 2: [0], 3: [0], 4: [0]}),
        ("c2d_resnet50", {}),
    ],
)
def test_which_blocks_look_over_time(name: str, inflated: dict[int, list[int]]) -> None:
    table = layer_table(name)
    found: dict[int, list[int]] = {}
    for conv in table.convs:
        if conv.stage and conv.kernel_time > 1:
            assert conv.name.endswith("conv1")
            assert (conv.kernel_time, conv.stride_time) == (3, 1)
            found.setdefault(conv.stage, []).append(conv.block)
    assert found == inflated
    assert table.convs[0].kernel_time == (5 if name.startswith("i3d") else 1)


@pytest.mark.parametrize("name", names())
def test_default_inputs(name: str) -> None:
    shape = default_input(name)
    if name in ("r3d_18", "mc3_18", "r2plus1d_18"):
        assert shape == (3, 16, 112, 112)
    else:
        assert shape == ((3, 224, 224) if dims_of(name) == 2 else (3, 8, 224, 224))
    small = default_input(name, "small", channels=1)
    assert (small[0], small[-2:]) == (1, (32, 32))
    assert len(small) == 1 + dims_of(name)


def test_the_last_stage_is_plain_at_the_default_input() -> None:
    for name in names():
        table = layer_table(name)
        allowed = table.octave_slots(default_input(name)[-1])
        last = max(slot.stage for slot in table.slots)
        assert not any(ok for ok, slot in zip(allowed, table.slots, strict=True) if slot.stage == last)
        assert allowed[0]


def test_a_dense_layer_is_a_block_and_the_transition_is_the_last_one() -> None:
    table = layer_table("densenet121")
    blocks = {(slot.stage, slot.block) for slot in table.slots}
    assert {stage: sum(s == stage for s, _ in blocks) for stage in (1, 2, 3, 4)} == {
        1: 7,
        2: 13,
        3: 25,
        4: 16,
    }
    pool = next(node for node in table.nodes if isinstance(node, Pool) and node.how == "average")
    assert (pool.stage, pool.block, pool.floor) == (1, 6, True)
    # The transition's output is half as large, which decides for its convolution.
    allowed = table.octave_slots(60)
    where = [i for i, slot in enumerate(table.slots) if slot.stage == 1]
    assert [allowed[i] for i in where] == [True] * 12 + [False]


@pytest.mark.parametrize("name", ["densenet121", "resnext50_32x4d", "mobilenet_v2"])
def test_an_order_names_every_channel_once_and_the_low_ones_last(name: str) -> None:
    table = narrow(name)
    rng = random.Random(1)
    lows = [slot.multiple * rng.randint(0, slot.channels // slot.multiple) for slot in table.slots]
    counts = table.lows(lows)
    permuted = 0
    for node in table.nodes[:-1]:
        order = table.channel_order(node.name, lows)
        if order is None:
            continue
        permuted += 1
        channels = table.channels(node.name)
        assert sorted(order) == list(range(channels))
        cut = channels - counts[node.name]
        # Each branch keeps the dense order, and within a segment's group low channels come after high ones.
        assert list(order[:cut]) == sorted(order[:cut])
        assert list(order[cut:]) == sorted(order[cut:])
        low, start = set(order[cut:]), 0
        for part in table.segments[node.name]:
            wide = part.channels // part.groups
            for first in range(start, start + part.channels, wide):
                flags = [c in low for c in range(first, first + wide)]
                assert flags == sorted(flags)
            start += part.channels
    assert (permuted > 0) == (name != "mobilenet_v2")
