"""Predicted latency: sums by hand, tables against sums, interpolation, and JSON both ways."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import product

import numpy as np
import pytest
from profile_case import octave_lows, synthetic_profile
from stand_ins import TINY_SPACE

from octnas.architecture import Architecture
from octnas.backbones import layer_table
from octnas.costs.latency import Correction, DeviceProfile, LatencyTable, table_ops
from octnas.costs.plans import Op, built_in_ms, layer_ops, network_ops
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
    for stem, side in (("small", 32), ("imagenet", 224)):
        arch = Architecture.uniform("resnet18", alpha="1/2", width=8, stem=stem)  # type: ignore[arg-type]
        assert profile.latency_ms(arch) == profile.latency_ms(arch, (3, side, side), 1000)


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
    side = space.target.input_size
    for backbone in space.backbones:
        members = space.members(backbone)
        lows = octave_lows(members)
        ops = table_ops(members.table, side, side, lows, pools)
        times = {op: built_in_ms(op) * rng.uniform(0.3, 3) for op in ops}
        correction = Correction(constant_ms=0.7, per_op_ms=0.003, factors={"conv": 1.2, "sum": 0.1})
        profile = synthetic_profile(times, correction)
        table = LatencyTable.of(members.table, side, side, profile, lows, pools)
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
            used = network_ops(
                arch, (space.target.channels, side, side), space.target.classes, times=profile.op_ms
            )
            assert profile.covers(used)
            exact = profile.latency_ms(arch, (space.target.channels, side, side), space.target.classes)
            assert abs(table.ns(chosen) - round(exact * 1e6)) < 1000


def test_the_tables_terms_are_what_one_slot_adds() -> None:
    table = layer_table("resnet18", width=8, stem="small")
    lows = [(0, 2, 4)] * len(table.slots)
    profile = synthetic_profile({conv(8, 8, 8): 1.0}, Correction(per_op_ms=0.01, factors={}))
    found = LatencyTable.of(table, 32, 32, profile, lows, pools=False)

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


def test_json_is_read_back_as_an_equal_profile() -> None:
    times = {conv(64, 64, 28, 3): 0.25, Op(kind="rise", inputs=8, outputs=8, height=4, width=5): 1e-3}
    profile = synthetic_profile(
        times, Correction(constant_ms=0.5, per_op_ms=1e-3, factors={"conv": 1.1, "rise": 0.5})
    )
    again = DeviceProfile.from_json(profile.to_json())
    assert again == profile
    assert again.digest == profile.digest
    assert dataclasses.replace(profile, batch=2).digest != profile.digest
    assert json.loads(profile.to_json())["schema_version"] == 1
