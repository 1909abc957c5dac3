"""Predicted latency of users' networks: the same operations by table, by sum, and as deployed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch.nn.functional as F
from profile_case import synthetic_profile
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.backbones import Add, LayerTable, Plain, layer_table
from octnas.costs.latency import Correction, LatencyTable, table_ops
from octnas.costs.ops import Op, built_in_ms, map_op
from octnas.costs.plans import is_inside, network_ops, node_ops, volumes
from octnas.costs.still import still
from octnas.costs.touched import lows_of, touched
from octnas.trace import convert

SHAPES = {
    "users_networks:residual": (3, 40, 36),
    "users_networks:odd": (3, 33, 32),
    "users_networks:plain_parts": (3, 32, 32),
    "users_networks:volume": (1, 4, 24, 24),
    "torchvision.models:squeezenet1_1": (3, 64, 64),
    "torchvision.models:shufflenet_v2_x0_5": (3, 64, 64),
    "torchvision.models:mobilenet_v3_small": (3, 64, 64),
}


def few_lows(table: LayerTable) -> list[tuple[int, ...]]:
    """Half the channels of each slot, and for one in five all of them."""
    lows = []
    for slot in table.slots:
        most = slot.channels // slot.multiple
        found = (most // 2, *([most] if slot.index % 5 == 0 else []))
        lows.append(tuple(slot.multiple * n for n in found))
    return lows


def differing_times(ops: Iterable[Op], seed: int = 5) -> dict[Op, float]:
    rng = np.random.default_rng(seed)
    return {op: built_in_ms(op) * rng.uniform(0.3, 3) for op in sorted(ops)}


@pytest.mark.parametrize("name", SHAPES)
def test_the_table_equals_the_sum(name: str) -> None:
    shape = SHAPES[name]
    table = layer_table(name, in_channels=shape[0])
    lows = few_lows(table)
    correction = Correction(constant_ms=0.7, per_op_ms=0.003, factors={"conv": 1.2, "gate": 0.1, "norm": 3})
    for pools in (False, True):
        profile = synthetic_profile(differing_times(table_ops(table, shape, lows, pools)), correction)
        found = LatencyTable.of(table, shape, profile, lows, pools)
        rng = np.random.default_rng(1)
        for _ in range(5):
            low = tuple(int(rng.choice((0, *allowed))) for allowed in lows)
            way = "pooled" if pools else "strided"
            arch = Architecture(backbone=name, low_channels=low, downsample=way)  # type: ignore[arg-type]
            assert abs(found.ns(low) - round(profile.latency_ms(arch, shape) * 1e6)) < 1000


def test_a_map_that_is_concatenated_twice_counts_twice() -> None:
    table = layer_table("users_networks:odd")
    twice = next(node for node in table.nodes if table.source_slots(node.name) == (1, 1))
    assert touched(table, twice).sources == (1, 1)
    low = [0] * len(table.slots)
    low[1] = 6
    assert table.lows(low)[twice.name] == 12


class _Small(nn.Module):
    """One of each kind of node."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.far = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.act, self.drop = nn.GELU(), nn.Dropout(0.5)
        self.squeeze = nn.Linear(8, 8)
        self.shuffle = nn.ChannelShuffle(2)
        self.even = nn.Conv2d(8, 6, 2)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.drop(self.far(x))
        x = self.act(x)
        x = x * self.squeeze(x.mean((2, 3)))[:, :, None, None]
        x = self.even(self.shuffle(x))
        return self.head(F.relu(x).mean((2, 3)))


def small_table() -> LayerTable:
    return convert(_Small(), input_shape=(3, 16, 16)).table


def test_dropout_is_not_there_and_the_sum_behind_it_is_in_the_convolution() -> None:
    table = small_table()
    assert {"drop"} == {node.name for node in table.nodes} - {node.name for node in still(table).nodes}
    (add,) = (node for node in table.nodes if isinstance(node, Add))
    assert not is_inside(table, add)
    (add,) = (node for node in still(table).nodes if isinstance(node, Add))
    assert is_inside(still(table), add)
    assert add.reads[0] == "far"
    kept = still(table, keep=["drop"])
    assert kept == table


def test_the_operations_of_a_small_network_by_hand() -> None:
    net = convert(_Small(), alpha=0.5, input_shape=(3, 16, 16))
    table = still(net.table)
    low, high = (1, 8, 8), (1, 16, 16)
    maps, lows = volumes(table, (3, 16, 16)), table.lows(net.architecture.low_channels)
    found = {
        node.name: node_ops(
            table, node, *lows_of(table, node, lows), maps, pools=False, times=lambda op: float(op.macs)
        )
        for node in table.nodes
    }
    both = [(4, high), (4, low)]
    assert found["act"] == tuple(map_op("norm", n, n, at) for n, at in both)
    assert found["mean"] == tuple(map_op("mean", n, n, at) for n, at in both)
    assert found["mul"] == tuple(map_op("gate", n, n, at) for n, at in both)
    assert found["squeeze"] == (map_op("linear", 8, 8, (1, 1, 1)),)
    # raised to full resolution, shuffled, and convolved by 2x2
    assert found["shuffle"] == (
        map_op("rise", 4, 4, high),
        map_op("concat", 8, 8, high),
        map_op("norm", 8, 8, high),
    )
    assert found["even"] == (map_op("conv", 2 * 2 * 8, 6, (1, 15, 15)),)
    dilations = {(op.kind, op.dilation) for op in found["far"] if op.kernel == 3}
    assert dilations == {("conv", 2)}
    assert [node.name for node in table.nodes if isinstance(node, Plain) and node.lifts] == ["shuffle"]


def test_nothing_is_taken_to_be_free_that_multiplies() -> None:
    for name, shape in SHAPES.items():
        arch = Architecture.uniform(name, alpha=0)
        table = arch.table(in_channels=shape[0])
        maps = volumes(table, shape)
        by_hand = sum(table.plain_macs(shape).values())
        for conv in table.convs:
            taps = conv.in_channels // conv.groups * conv.kernel**2 * conv.kernel_time
            by_hand += taps * conv.out_channels * int(np.prod(maps[conv.name]))
        assert sum(op.macs for op in network_ops(arch, shape)) == by_hand
