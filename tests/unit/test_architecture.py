"""Architecture: integers, JSON, digest, and the errors that a user meets."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octnas.architecture import Architecture, low_channels
from octnas.backbones import Stem
from octnas.errors import ArchitectureError, UnknownNameError


@given(numerator=st.integers(0, 1000), channels=st.integers(1, 2048))
def test_low_channels_is_the_floor_in_exact_rationals(numerator: int, channels: int) -> None:
    assert low_channels(numerator / 1000, channels) == numerator * channels // 1000
    assert low_channels(Fraction(numerator, 1000), channels) == numerator * channels // 1000


def test_low_channels_where_floats_fall_short() -> None:
    assert int(0.29 * 100) == 28
    assert low_channels(0.29, 100) == 29
    assert low_channels("0.1", 64) == 6


@pytest.mark.parametrize("alpha", [-0.1, 1.01, "half", float("nan"), float("inf")])
def test_alpha_outside_zero_to_one_is_refused(alpha: float | str) -> None:
    with pytest.raises(ArchitectureError, match="alpha"):
        low_channels(alpha, 64)


def test_uniform_resnet50_keeps_the_last_stage_plain_at_224() -> None:
    lows = Architecture.uniform("resnet50", alpha=0.5).low_channels
    assert lows[:6] == (32, 32, 128, 32, 32, 128)
    assert len(lows) == 48
    assert lows[-9:] == (0,) * 9
    assert all(lows[:-9])


def test_a_larger_input_lets_the_last_stage_be_split() -> None:
    lows = Architecture.uniform("resnet50", alpha=0.5, input_size=256).low_channels
    assert lows[-3:] == (256, 256, 1024)
    assert Architecture.uniform("resnet50", alpha=0.5, input_size=320).low_channels == lows


def test_small_stem_at_32_px_splits_the_same_layers_as_imagenet_at_224() -> None:
    imagenet = Architecture.uniform("resnet26", alpha=0.25)
    small = Architecture.uniform("resnet26", alpha=0.25, stem="small")
    assert [low > 0 for low in imagenet.low_channels] == [low > 0 for low in small.low_channels]


def test_rescaled_keeps_the_shares() -> None:
    target = Architecture.uniform("resnet18", alpha=0.25, downsample="pooled")
    proxy = target.rescaled(width=16, stem="small")
    assert proxy.alphas == target.alphas
    assert proxy.downsample == "pooled"
    assert proxy.low_channels[0] == 4
    assert proxy.rescaled(width=64, stem="imagenet") == target


def test_rescaled_refuses_channels_that_are_not_whole() -> None:
    target = Architecture.uniform("resnet18", alpha="0.3")
    with pytest.raises(ArchitectureError, match=r"layer1\.0\.conv1 has 19 low channels"):
        target.rescaled(width=16, stem="small")


@pytest.mark.parametrize(
    ("backbone", "alpha", "width"),
    [
        ("resnext50_32x4d", 0.25, 8),
        ("densenet121", 0.25, 16),
        ("mobilenet_v1", 0.5, 16),
        ("mobilenet_v2", 0.5, 32),
        ("se_resnet50", 0.5, 16),
        ("wide_resnet50_2", 0.125, 8),
        ("c2d_resnet50", 0.25, 16),
        ("i3d_resnet10", 0.5, 8),
        ("r3d_18", 0.25, 8),
    ],
)
def test_rescaled_keeps_the_shares_of_every_family(backbone: str, alpha: float, width: int) -> None:
    target = Architecture.uniform(backbone, alpha=alpha)
    proxy = target.rescaled(width=width, stem="small")
    assert proxy.alphas == target.alphas
    assert proxy.rescaled(width=64, stem="imagenet") == target
    for slot, low in zip(proxy.table().slots, proxy.low_channels, strict=True):
        assert low % slot.multiple == 0


def test_grouped_layers_name_the_alphas_that_they_allow() -> None:
    with pytest.raises(ArchitectureError) as caught:
        Architecture.uniform("resnext50_32x4d", alpha=0.125)
    assert str(caught.value) == (
        "low channels must be a multiple of the 32 groups at layer1.0.conv1 of resnext50_32x4d, "
        "but got 16 of 128: allowed alphas there are 0, 0.25, 0.5, 0.75, 1"
    )
    table = Architecture.uniform("resnext50_32x4d", alpha=0).table()
    alphas = [0.3 if slot.name == "layer3.1.conv2" else 0 for slot in table.slots]
    with pytest.raises(ArchitectureError, match=r"layer3\.1\.conv2 .*: .* the multiples of 0\.0625$"):
        Architecture.from_alphas("resnext50_32x4d", alphas=alphas)
    # the block's output is dense: any number of its channels may be low
    alphas = [0.3 if slot.name == "layer3.1.conv3" else 0 for slot in table.slots]
    assert max(Architecture.from_alphas("resnext50_32x4d", alphas=alphas).low_channels) == 307


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75, 1])
@pytest.mark.parametrize("width", [8, 64])
def test_the_alphas_that_a_grouped_layer_names_are_allowed_at_every_width(alpha: float, width: int) -> None:
    arch = Architecture.uniform("resnext50_32x4d", alpha=alpha, width=width)
    assert set(arch.alphas) == {0, alpha}


@pytest.mark.parametrize(
    ("backbone", "stem", "shape"),
    [
        ("resnet50", "imagenet", (3, 224, 224)),
        ("densenet121", "small", (3, 32, 32)),
        ("i3d_resnet50", "imagenet", (3, 8, 224, 224)),
        ("r3d_18", "imagenet", (3, 16, 112, 112)),
    ],
)
def test_the_usual_input_decides_which_stages_are_split(
    backbone: str, stem: Stem, shape: tuple[int, ...]
) -> None:
    usual = Architecture.uniform(backbone, alpha=0.5, stem=stem)
    assert usual.input_shape() == shape
    assert usual.dims == len(shape) - 1
    assert usual == Architecture.uniform(backbone, alpha=0.5, stem=stem, input_size=shape[-1])
    # the last stage alone is too small for an octave there
    last = usual.table().slots[-1].stage
    assert {
        slot.stage for slot, low in zip(usual.table().slots, usual.low_channels, strict=True) if low
    } == set(range(1, last))


def test_alphas_with_equal_integers_are_the_same_architecture() -> None:
    one = Architecture.uniform("resnet18", alpha=0.5)
    other = Architecture.uniform("resnet18", alpha=0.501)
    assert one == other
    assert hash(one) == hash(other)
    assert one.digest == other.digest


@pytest.mark.parametrize(
    "change",
    [{"downsample": "pooled"}, {"width": 16}, {"stem": "small"}, {"alpha": 0.25}],
)
def test_every_field_changes_the_digest(change: dict[str, object]) -> None:
    base = Architecture.uniform("resnet18", alpha=0.5)
    changed = Architecture.uniform("resnet18", **{"alpha": 0.5, **change})  # type: ignore[arg-type]
    assert changed.digest != base.digest


@given(st.lists(st.integers(0, 64), min_size=16, max_size=16))
def test_json_goes_both_ways(lows: list[int]) -> None:
    architecture = Architecture(backbone="resnet18", low_channels=tuple(lows), downsample="pooled")
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert json.loads(architecture.to_json())["schema_version"] == 1


def test_the_digest_of_a_known_architecture_never_changes() -> None:
    assert Architecture.uniform("resnet50", alpha=0.5).digest == "aeb0fe789863"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "must be JSON"),
        ("[]", "JSON object"),
        (
            '{"schema_version":2,"backbone":"resnet18","low_channels":[]}',
            "`schema_version` must be 1, but got 2",
        ),
        ('{"schema_version":1,"backbone":"resnet18"}', "'low_channels'"),
        ('{"schema_version":1,"backbone":"resnet18","low_channels":[],"widht":3}', "did you mean 'width'"),
        ('{"schema_version":1,"backbone":"resnet81","low_channels":[]}', "did you mean 'resnet18'"),
        ('{"schema_version":1,"backbone":"resnet18","low_channels":[0]}', "16 searched convolutions"),
        ('{"schema_version":1,"backbone":"resnet18","low_channels":3}', "a list of whole numbers"),
        (
            '{"schema_version":1,"backbone":"resnet18","low_channels":[65,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}',
            "`0 <= low <= 64` must hold at layer1.0.conv1",
        ),
        (
            '{"schema_version":1,"backbone":"resnet18","low_channels":[0.5,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}',
            "but got 0.5",
        ),
    ],
)
def test_damaged_json_is_one_clear_error(text: str, says: str) -> None:
    with pytest.raises((ArchitectureError, UnknownNameError)) as caught:
        Architecture.from_json(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_point_to_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'pooled'"):
        Architecture.uniform("resnet18", alpha=0, downsample="pool")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="did you mean 'resnet34'"):
        Architecture.uniform("resnet-34", alpha=0)
