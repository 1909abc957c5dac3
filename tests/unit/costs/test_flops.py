"""The closed form against the published figures, a loop written here, and itself vectorised."""

from __future__ import annotations

import math

import numpy as np
import pytest

from octnas.architecture import Architecture
from octnas.backbones import Add, Conv, Head, LayerTable, layer_table
from octnas.costs import CostTable, conv_macs, cost
from octnas.errors import ArchitectureError

ALPHAS = (0, 0.125, 0.25, 0.5, 0.75)
PUBLISHED = {
    "resnet50": (4.089, 3.565, 3.104, 2.367, 1.880),
    "resnet26": (2.342, 2.087, 1.858, 1.480, 1.208),
    "resnet18": (1.814, 1.608, 1.427, 1.137, 0.945),
    "resnet34": (3.664, 3.173, 2.746, 2.077, 1.657),
}


def random_architecture(backbone: str, rng: np.random.Generator, **keywords: object) -> Architecture:
    table = layer_table(backbone, **keywords)  # type: ignore[arg-type]
    lows = tuple(int(rng.integers(slot.channels + 1)) for slot in table.slots)
    return Architecture(backbone=backbone, low_channels=lows, **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize("backbone", PUBLISHED)
def test_gflops_of_the_paper_to_three_decimals(backbone: str) -> None:
    found = [round(cost(Architecture.uniform(backbone, alpha=alpha)).gflops, 3) for alpha in ALPHAS]
    assert found == list(PUBLISHED[backbone])


@pytest.mark.parametrize(
    ("backbone", "params"),
    [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032), ("resnet152", 60_192_808)],
)
@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_parameters_are_torchvisions_at_any_alpha(backbone: str, params: int, alpha: float) -> None:
    assert cost(Architecture.uniform(backbone, alpha=alpha)).params == params


@pytest.mark.parametrize(
    ("alpha", "share"), [(0.125, 0.82), (0.25, 0.67), (0.5, 0.44), (0.75, 0.30), (1, 0.25)]
)
def test_one_convolution_saves_what_the_paper_says(alpha: float, share: float) -> None:
    low = int(64 * alpha)
    plain = conv_macs(in_channels=64, out_channels=64, kernel=3, out_size=(56, 56))
    octave = conv_macs(in_channels=64, out_channels=64, kernel=3, low_in=low, low_out=low, out_size=(56, 56))
    assert plain == 9 * 64 * 64 * 56 * 56
    assert octave / plain == pytest.approx(share, abs=0.006)
    assert octave / plain == pytest.approx(1 - 0.75 * (1 - (1 - alpha) ** 2), rel=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("out_size", [(8, 8), (7, 5), (1, 1), (13, 6)])
def test_conv_macs_equals_the_four_paths(stride: int, groups: int, out_size: tuple[int, int]) -> None:
    kernel, cin, cout = 3, 16, 24
    high = out_size[0] * out_size[1]
    low = math.ceil(out_size[0] / 2) * math.ceil(out_size[1] / 2)
    for low_in in range(0, cin + 1, 4):
        for low_out in range(0, cout + 1, 4):
            paths = (
                (cin - low_in, cout - low_out, high),
                (cin - low_in, low_out, low),
                (low_in, low_out, low),
                (low_in, cout - low_out, high if stride == 2 else low),
            )
            expected = sum(kernel**2 * i * o * size // groups for i, o, size in paths)
            assert expected == conv_macs(
                in_channels=cin,
                out_channels=cout,
                kernel=kernel,
                low_in=low_in,
                low_out=low_out,
                out_size=out_size,
                stride=stride,
                groups=groups,
            )


def test_depthwise_has_no_cross_paths() -> None:
    macs = conv_macs(in_channels=8, out_channels=8, kernel=3, low_in=6, low_out=6, out_size=(5, 4), groups=8)
    assert macs == 9 * (2 * 20 + 6 * 6)
    doubled = conv_macs(
        in_channels=8, out_channels=16, kernel=3, low_in=6, low_out=12, out_size=(5, 4), groups=8
    )
    assert doubled == 2 * macs
    with pytest.raises(ArchitectureError, match="alpha_in == alpha_out"):
        conv_macs(in_channels=8, out_channels=8, kernel=3, low_in=6, low_out=5, out_size=(5, 4), groups=8)


def test_low_channels_must_fit_groups_and_stride() -> None:
    with pytest.raises(ArchitectureError, match="multiples of groups=4"):
        conv_macs(in_channels=16, out_channels=16, kernel=3, low_in=6, out_size=(4, 4), groups=4)
    with pytest.raises(ArchitectureError, match="stride=3"):
        conv_macs(in_channels=16, out_channels=16, kernel=3, low_in=4, out_size=(4, 4), stride=3)


def test_layers_sum_to_the_total_and_carry_their_channels() -> None:
    arch = Architecture.uniform("resnet26", alpha=0.5)
    whole, plain = cost(arch), cost(Architecture.uniform("resnet26", alpha=0))
    assert whole.macs == sum(layer.macs for layer in whole.layers)
    assert plain.macs == sum(layer.plain_macs for layer in whole.layers)
    assert whole.gflops == whole.macs / 1e9
    layer = next(layer for layer in whole.layers if layer.name == "layer1.0.conv2")
    assert (layer.low, layer.channels, layer.activation_elements) == (32, 64, 32 * 56 * 56 + 32 * 28 * 28)
    shortcut = next(layer for layer in whole.layers if layer.name == "layer2.0.downsample.0")
    assert (shortcut.low, shortcut.channels) == (256, 512)
    assert whole.layers[-1].name == "fc"
    assert whole.layers[-1].macs == 2048 * 1000


def test_activation_memory_falls_by_three_quarters_of_alpha() -> None:
    plain, octave = (cost(Architecture.uniform("resnet18", alpha=a)) for a in (0, 0.5))
    spared = [
        (a.activation_elements, b.activation_elements, b.low)
        for a, b in zip(plain.layers, octave.layers, strict=True)
    ]
    assert all(now == (before * 5 // 8 if low else before) for before, now, low in spared)
    assert octave.activation_elements < plain.activation_elements == sum(row[0] for row in spared)


@pytest.mark.parametrize("size", [(224, 224), (75, 90), (33, 32), (7, 1)])
@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_vectorised_equals_layer_by_layer(backbone: str, stem: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    archs = [random_architecture(backbone, rng, width=24, stem=stem) for _ in range(8)]
    table = CostTable.of(archs[0].table(num_classes=10), *size)
    lows = np.array([arch.low_channels for arch in archs])
    costs = [cost(arch, (3, *size), num_classes=10) for arch in archs]
    assert table.macs(lows).tolist() == [c.macs for c in costs]
    assert table.activations(lows).tolist() == [c.activation_elements for c in costs]


def test_the_largest_network_stays_exact_in_int64() -> None:
    arch = Architecture.uniform("resnet152", alpha=0.5, width=512, input_size=2048)
    table = CostTable.of(arch.table(), 2048, 2048)
    assert table.macs(np.array([arch.low_channels])).tolist() == [cost(arch, (3, 2048, 2048)).macs]


def test_vectorised_grouped_and_depthwise_layers() -> None:
    def conv(name: str, reads: str, slot: int, groups: int, stride: int = 1, shared: bool = False) -> Conv:
        return Conv(
            name=name, norm=f"{name}.bn", reads=reads, in_channels=16, out_channels=16, kernel=3, stage=1,
            block=0, slot=slot, groups=groups, stride=stride, shortcut=shared,
        )  # fmt: skip

    stem = Conv(
        name="conv1",
        norm="bn1",
        reads="input",
        in_channels=3,
        out_channels=16,
        kernel=3,
        stage=0,
        block=0,
        slot=None,
    )
    nodes = (
        stem,
        conv("a", "conv1", 0, 1),
        conv("b", "a", 1, 4),
        conv("c", "b", 2, 2, stride=2),
        conv("d", "c", 2, 16, shared=True),
        Add(name="sum", reads=("d", "c"), stage=1, block=0),
        Head(name="fc", reads="sum", in_channels=16, out_channels=5),
    )
    table = LayerTable(backbone="toy", width=16, stem="small", in_channels=3, num_classes=5, nodes=nodes)
    for lows in ([0, 0, 0], [4, 8, 6], [16, 12, 2], [8, 4, 16]):
        first, second, third = lows

        def macs(low_in: int, low_out: int, side: int, groups: int, stride: int = 1) -> int:
            return conv_macs(
                in_channels=16, out_channels=16, kernel=3, low_in=low_in, low_out=low_out,
                out_size=(side, side), groups=groups, stride=stride,
            )  # fmt: skip

        expected = (
            27 * 16 * 81 + macs(0, first, 9, 1) + macs(first, second, 9, 4) + macs(second, third, 5, 2, 2)
        )
        expected += macs(third, third, 5, 16) + 16 * 5
        assert CostTable.of(table, 9, 9).macs(np.array([lows])).tolist() == [expected]


def test_bad_shapes_are_refused() -> None:
    arch = Architecture.uniform("resnet18", alpha=0.5)
    with pytest.raises(ArchitectureError, match="input_shape"):
        cost(arch, (3, 0, 224))
    with pytest.raises(ArchitectureError, match=r"shape \(N, 16\)"):
        CostTable.of(arch.table(), 224, 224).macs(np.zeros((2, 15), dtype=np.int64))


def test_default_input_follows_the_stem() -> None:
    arch = Architecture.uniform("resnet18", alpha=0.5, width=16, stem="small")
    assert cost(arch) == cost(arch, (3, 32, 32))
