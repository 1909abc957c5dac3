"""Predicted latency: sums by hand, tables against sums, interpolation, and JSON both ways."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from itertools import product

import numpy as np
import pytest
from profile_case import octave_lows, synthetic_profile
from stand_ins import TINY_SPACE

from octnas.architecture import Architecture
from octnas.backbones import LayerTable, layer_table
from octnas.costs.forms import layer_ops
from octnas.costs.latency import Correction, DeviceProfile, LatencyTable, table_ops
from octnas.costs.ops import Op, built_in_ms
from octnas.costs.plans import network_ops
from octnas.space import SearchSpace, load_space, parse_space

SMALL = parse_space(TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 4}\n")


def conv(inputs: int, outputs: int, side: int, kernel: int = 1, stride: int = 1) -> Op:
    return Op(
        kind="conv", inputs=inputs, outputs=outputs, height=side, width=side, kernel=kernel, stride=stride
    )


def test_a_plain_network_is_the_corrected_sum_of_its_layers() -> None:
    arch = Architecture.uniform("resnet18", alpha=0, width=8, stem="small")
    ops = network_ops(arch, (3, 32, 32), 10)
    times = {op: 0.5 + i for i, op in enumerate(sorted(set(ops)))}
    correction = Correction(constant_ms=3.0, per_op_ms=0.25, factors={"conv": 2.0, "sum": 0.5})
    profile = synthetic_profile(times, correction)
    by_hand = 3.0
    for op in ops:
        by_hand += {"conv": 2.0, "sum": 0.5}.get(op.kind, 1.0) * times[op] + 0.25
    # 17 convolutions and 3 of shortcuts, a sum for each of 8 blocks, average and classifier
    assert [sum(op.kind == kind for op in ops) for kind in ("conv", "sum", "mean", "linear")] == [20, 8, 1, 1]
    assert profile.latency_ms(arch, (3, 32, 32), 10) == pytest.approx(by_hand, rel=1e-12)


def test_the_default_input_is_the_stems() -> None:
    profile = synthetic_profile({conv(8, 8, 8): 1.0}, Correction(factors={}))
    for name, stem, shape in (
        ("resnet18", "small", (3, 32, 32)),
        ("resnet18", "imagenet", (3, 224, 224)),
        ("r3d_18", "imagenet", (3, 16, 112, 112)),
    ):
        arch = Architecture.uniform(name, alpha="1/2", width=8, stem=stem)  # type: ignore[arg-type]
        assert profile.latency_ms(arch) == profile.latency_ms(arch, shape, 1000)
        assert profile.latency_ms(arch) != profile.latency_ms(arch, (*shape[:-1], 56), 1000)


def test_a_layer_takes_the_form_that_is_fastest_on_the_device() -> None:
    node = layer_table("resnet50").convs[3]
    assert (node.name, node.kernel, node.in_channels, node.out_channels) == ("layer1.0.conv3", 1, 64, 256)
    # from 32 low of 64 channels to 256 high ones: 256 channels rise, or 32 rise and more is multiplied
    for rise, form in ((1e-3, "concat"), (1e3, "lifted")):
        profile = synthetic_profile({conv(64, 64, 28): 0.1}, Correction(factors={}), rise=rise, concat=1e-3)
        assert layer_ops(node, 32, 0, (56, 56), times=profile.op_ms).form == form


@pytest.mark.parametrize("space", [load_space("imagenet-2d"), SMALL], ids=lambda space: space.name)
@pytest.mark.parametrize("pools", [True, False])
def test_the_table_equals_the_sum_for_random_architectures(space: SearchSpace, pools: bool) -> None:
    rng = np.random.default_rng(5)
    shape = space.target.input_shape
    for backbone in space.backbones:
        members = space.members(backbone)
        lows = octave_lows(members)
        ops = table_ops(members.table, shape, lows, pools)
        times = {op: built_in_ms(op) * rng.uniform(0.3, 3) for op in ops}
        correction = Correction(constant_ms=0.7, per_op_ms=0.003, factors={"conv": 1.2, "sum": 0.1})
        profile = synthetic_profile(times, correction)
        table = LatencyTable.of(members.table, shape, profile, lows, pools)
        assert set(table.unary) == set(range(len(members.table.slots)))
        assert all(first < second for first, second in table.pairs)
        for _ in range(12):
            chosen = tuple(int(rng.choice(allowed)) for allowed in lows)
            arch = Architecture(
                backbone=backbone,
                low_channels=chosen,
                downsample="pooled" if pools else "strided",
                width=space.target.width,
                stem=space.target.stem,
            )
            used = network_ops(arch, shape, space.target.classes, times=profile.op_ms)
            assert profile.covers(used)
            exact = profile.latency_ms(arch, shape, space.target.classes)
            assert abs(table.ns(chosen) - round(exact * 1e6)) < 1000


FAMILIES = ["resnext50_32x4d", "se_resnet50", "mobilenet_v2", "i3d_resnet18", "r3d_18"]


def few_lows(table: LayerTable) -> list[tuple[int, ...]]:
    """Some numbers of low channels for each slot, all of them for one in five."""
    lows = []
    for slot in table.slots:
        most = slot.channels // slot.multiple
        found = (most // 4, most // 2, *([most] if slot.index % 5 == 0 else []))
        lows.append(tuple(slot.multiple * n for n in found))
    return lows


def differing_times(ops: Iterable[Op], seed: int = 5) -> dict[Op, float]:
    rng = np.random.default_rng(seed)
    return {op: built_in_ms(op) * rng.uniform(0.3, 3) for op in sorted(ops)}


@pytest.mark.parametrize("clip", [False, True], ids=["image", "clip"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_table_equals_the_sum_for_every_kind_of_layer(name: str, clip: bool) -> None:
    table = layer_table(name, width=8, stem="small", num_classes=5)
    if table.dims == 3 and not clip:
        pytest.skip("a 3D backbone reads no images")
    shape, lows = (3, *([5] if clip else []), 32, 30), few_lows(table)
    correction = Correction(constant_ms=0.7, per_op_ms=0.003, factors={"conv": 1.2, "add": 0.1})
    for pools in (False, True):
        profile = synthetic_profile(differing_times(table_ops(table, shape, lows, pools)), correction)
        found = LatencyTable.of(table, shape, profile, lows, pools)
        assert not found.sums
        rng = np.random.default_rng(1)
        for _ in range(6):
            low = tuple(int(rng.choice((0, *allowed))) for allowed in lows)
            way = "pooled" if pools else "strided"
            arch = Architecture(backbone=name, low_channels=low, width=8, stem="small", downsample=way)  # type: ignore[arg-type]
            assert profile.covers(network_ops(arch, shape, 5, times=profile.op_ms))
            assert abs(found.ns(low) - round(profile.latency_ms(arch, shape, 5) * 1e6)) < 1000


def test_a_concatenation_costs_by_all_that_is_low_in_it() -> None:
    table = layer_table("densenet121", width=16, stem="small", num_classes=5)
    shape, lows = (3, 32, 32), [(0, slot.channels // 4, slot.channels // 2) for slot in table.slots]
    ops = table_ops(table, shape, lows, pools=True)
    assert len(ops) < 9000
    profile = synthetic_profile(
        differing_times(ops), Correction(constant_ms=0.2, per_op_ms=0.003, factors={})
    )
    found = LatencyTable.of(table, shape, profile, lows, pools=True)
    # the second layer of the first block reads the first one's map beside what is never split: no sum yet
    assert [len(slots) for slots, own in found.sums if own is None][:5] == [2, 3, 4, 5, 6]
    assert all(list(slots) == sorted(slots) for slots, _ in found.sums)
    slots, own = next(key for key in found.sums if key[1] is not None)
    assert own is not None
    assert set(found.sums[slots, own]) == set(
        product({a + b for a in lows[slots[0]] for b in lows[slots[1]]}, lows[own])
    )
    plain = Architecture.uniform("densenet121", alpha=0, width=16, stem="small", downsample="pooled")
    assert abs(found.plain_ns - round(profile.latency_ms(plain, shape, 5) * 1e6)) < 1000
    rng = np.random.default_rng(3)
    for _ in range(4):
        low = tuple(int(rng.choice(allowed)) for allowed in lows)
        arch = dataclasses.replace(plain, low_channels=low)
        assert abs(found.ns(low) - round(profile.latency_ms(arch, shape, 5) * 1e6)) < 1000


def test_of_a_concatenation_the_least_and_the_most_low_channels_are_timed() -> None:
    table = layer_table("densenet121", width=16, stem="small")
    lows = [(0, slot.channels // 2) for slot in table.slots]
    ops = table_ops(table, (3, 32, 32), lows, pools=False)
    half = Architecture.uniform("densenet121", alpha="1/2", width=16, stem="small", input_size=256)
    none = Architecture.uniform("densenet121", alpha=0, width=16, stem="small")
    for arch in (half, none):
        assert set(network_ops(arch, (3, 32, 32))) <= ops


def test_the_tables_terms_are_what_one_slot_adds() -> None:
    table = layer_table("resnet18", width=8, stem="small")
    lows = [(0, 2, 4)] * len(table.slots)
    profile = synthetic_profile({conv(8, 8, 8): 1.0}, Correction(per_op_ms=0.01, factors={}))
    found = LatencyTable.of(table, (3, 32, 32), profile, lows, pools=False)

    def ms(low: tuple[int, ...]) -> float:
        arch = Architecture(backbone="resnet18", low_channels=low, width=8, stem="small")
        return profile.latency_ms(arch, (3, 32, 32))

    plain = (0,) * len(table.slots)
    assert found.constant_ns == pytest.approx(ms(plain) * 1e6, abs=50)
    for slot, low in product((0, 3, len(plain) - 1), (0, 2, 4)):
        one = tuple(low if i == slot else 0 for i in range(len(plain)))
        added = found.unary[slot][low] + sum(
            values[one[i], one[j]] for (i, j), values in found.pairs.items() if slot in (i, j)
        )
        assert added == pytest.approx((ms(one) - ms(plain)) * 1e6, abs=100)


def test_a_shape_between_measured_ones_lies_between_them() -> None:
    # twice the rule of thumb at 64 channels, three times at 256
    times = {conv(n, n, 28, 3): factor * built_in_ms(conv(n, n, 28, 3)) for n, factor in ((64, 2), (256, 3))}
    profile = synthetic_profile(times, Correction(factors={}))
    middle = conv(128, 128, 28, 3)
    assert profile.measured_ms(middle) == pytest.approx(2.5 * built_in_ms(middle), rel=1e-6)
    near = conv(72, 72, 28, 3)
    assert 2 < profile.measured_ms(near) / built_in_ms(near) < 2.1
    assert profile.measured_ms(conv(64, 64, 28, 3)) == times[conv(64, 64, 28, 3)]


def test_interpolation_prefers_the_same_kernel_and_falls_back_on_what_there_is() -> None:
    times = {conv(64, 64, 28, 3): 100.0, conv(64, 64, 28): built_in_ms(conv(64, 64, 28))}
    profile = synthetic_profile(times, Correction(factors={}))
    pointwise = conv(96, 96, 28)
    assert profile.measured_ms(pointwise) == pytest.approx(built_in_ms(pointwise), rel=1e-9)
    pool = Op(kind="pool", inputs=64, outputs=64, height=28, width=28)
    assert 0 < profile.measured_ms(pool) < math.inf
    assert not profile.covers([pool])


def test_depthwise_convolutions_are_near_one_another() -> None:
    def depthwise(channels: int) -> Op:
        return Op(
            kind="conv", inputs=channels, outputs=channels, height=14, width=14, kernel=3, groups=channels
        )

    slow = {depthwise(n): 3 * built_in_ms(depthwise(n)) for n in (64, 256)}
    profile = synthetic_profile({**slow, conv(128, 128, 14, 3): 1e3}, Correction(factors={}))
    assert profile.measured_ms(depthwise(128)) == pytest.approx(3 * built_in_ms(depthwise(128)), rel=1e-6)


def test_json_is_read_back_as_an_equal_profile() -> None:
    rise = Op(kind="rise", inputs=8, outputs=8, height=4, width=5, dims=3, frames=6)
    times = {conv(64, 64, 28, 3): 0.25, rise: 1e-3}
    profile = synthetic_profile(
        times, Correction(constant_ms=0.5, per_op_ms=1e-3, factors={"conv": 1.1, "rise": 0.5})
    )
    again = DeviceProfile.from_json(profile.to_json())
    assert again == profile
    assert again.digest == profile.digest
    assert dataclasses.replace(profile, batch=2).digest != profile.digest
    assert json.loads(profile.to_json())["schema_version"] == 2
