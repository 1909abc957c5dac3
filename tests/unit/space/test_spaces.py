"""Search spaces as values: membership, dimensions, proxies, and every YAML that ships."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.errors import SpaceError, UnknownNameError
from octnas.nn import build
from octnas.space import SearchSpace, catalog, load_space, parse_space

if TYPE_CHECKING:
    from tests.unit.space.conftest import Tiny

NAMES = sorted(catalog())
README = Path(__file__).parents[3] / "search_spaces" / "README.md"


@pytest.fixture(scope="module", params=NAMES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return load_space(request.param)


def test_the_catalog_holds_the_two_spaces() -> None:
    assert {"imagenet-2d", "small-2d"} <= set(NAMES)


def test_a_space_bears_the_name_of_its_file(space: SearchSpace) -> None:
    assert catalog()[space.name].stem == space.name


def test_round_trip_through_yaml(space: SearchSpace, tmp_path: Path) -> None:
    again = parse_space(space.to_yaml())
    assert again == space
    assert again.to_yaml() == space.to_yaml()
    (tmp_path / "mine.yaml").write_text(space.to_yaml(), encoding="utf-8")
    assert load_space(tmp_path / "mine.yaml") == space


def test_extremes_are_members_and_build(space: SearchSpace) -> None:
    target = space.target
    for arch, gflops in ((space.smallest(), space.min_gflops), (space.largest(), space.max_gflops)):
        assert space.contains(arch)
        shape = (target.channels, target.input_size, target.input_size)
        assert cost(arch, shape, target.classes).gflops == gflops
        proxy = space.proxy_architecture(arch)
        for network, side in ((arch, target.input_size), (proxy, space.proxy.input_size)):
            with torch.device("meta"):
                images = torch.empty(2, 3, side, side)
                logits = build(network, num_classes=target.classes)(images)
            assert logits.shape == (2, target.classes)


def test_the_proxy_has_whole_low_channels_in_the_same_layers(space: SearchSpace) -> None:
    rng, feasible = np.random.default_rng(0), space.feasible(space.max_gflops)
    for _ in range(20):
        arch = feasible.sample(rng)
        proxy = space.proxy_architecture(arch)
        assert (proxy.width, proxy.stem) == (space.proxy.width, space.proxy.stem)
        assert proxy.alphas == arch.alphas
        assert proxy.rescaled(width=space.target.width, stem=space.target.stem) == arch


def test_plain_and_uniform_are_members_of_the_shipped_spaces(space: SearchSpace) -> None:
    for backbone in space.backbones:
        for alpha in space.alphas:
            assert space.contains(space.uniform(backbone, alpha))
        assert space.uniform(backbone, 0).downsample == "pooled"
        assert not space.contains(space.uniform(backbone, 0, "strided"))


def test_the_readme_states_every_space_as_it_is(space: SearchSpace) -> None:
    smallest, largest = f"{space.min_gflops:.3f}", f"{space.max_gflops:.3f}"
    row = next(
        line
        for line in README.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| `{space.name}`")
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1].split(", ") == list(space.backbones)
    assert cells[2:] == [
        space.granularity,
        f"{space.size():,}",
        f"{smallest} ({space.smallest().backbone})",
        f"{space.median_gflops:.3f}",
        f"{largest} ({space.largest().backbone})",
    ]


def test_small_2d_is_its_own_proxy() -> None:
    space = load_space("small-2d")
    arch = space.largest()
    assert space.proxy_architecture(arch) == arch
    assert all(0.02 <= space.gflops(space.uniform(name, 0)) <= 0.06 for name in space.backbones)


def test_imagenet_2d_counts_windows_of_three_alphas() -> None:
    # n layers in a stage: two windows of three neighbouring alphas, less the pair that both hold.
    layers = {"resnet18": (4, 4, 4), "resnet26": (6, 6, 6), "resnet34": (6, 8, 12), "resnet50": (9, 12, 18)}
    expected = 0
    for stages in layers.values():
        product = 1
        for n in stages:
            product *= 2 * 3**n - 2**n
        expected += product
    assert load_space("imagenet-2d").size() == expected


def test_membership_is_exact(tiny: Tiny) -> None:
    space, rng = tiny.space, np.random.default_rng(0)
    assert all(space.contains(arch) for arch in tiny.costs)
    slots = space.uniform(space.backbones[0], 0).table().slots
    for _ in range(500):
        lows = tuple(int(rng.choice([0, slot.channels // 4, slot.channels // 2])) for slot in slots)
        arch = Architecture(
            backbone=space.backbones[0], low_channels=lows, downsample="strided", width=8, stem="small"
        )
        assert space.contains(arch) == (arch in tiny.costs)


def test_other_widths_stems_and_backbones_are_no_members() -> None:
    space = load_space("small-2d")
    assert not space.contains(Architecture.uniform("resnet18", alpha=0.5, downsample="pooled"))
    other = Architecture.uniform("resnet34", alpha=0.5, downsample="pooled", width=16, stem="small")
    assert not space.contains(other)
    with pytest.raises(UnknownNameError, match="resnet34"):
        space.encode(other)


def test_dimensions_reach_every_member_and_nothing_else(tiny: Tiny) -> None:
    space, rng = tiny.space, np.random.default_rng(0)
    for arch in tiny.costs:
        values = space.encode(arch)
        assert [d.name for d in space.dimensions(arch.backbone)] == list(values)
        assert all(0 <= values[d.name] < d.choices for d in space.dimensions(arch.backbone))
        assert space.decode(arch.backbone, values) == arch
    for backbone in space.backbones:
        for _ in range(200):
            values = {d.name: int(rng.integers(d.choices)) for d in space.dimensions(backbone)}
            assert space.decode(backbone, values) in tiny.costs


def test_dimensions_of_the_default_space() -> None:
    dimensions = load_space("imagenet-2d").dimensions("resnet18")
    assert len(dimensions) == 3 + 12
    assert dimensions[0].name == "resnet18.stage1"
    assert dimensions[1].name == "resnet18.layer1.0.conv1.step"
    assert [d.choices for d in dimensions[:2]] == [4, 3]
    assert all(d.name.startswith("resnet18.") for d in dimensions)


def test_uniform_architectures_encode_as_steps_of_zero() -> None:
    space = load_space("imagenet-2d")
    values = space.encode(space.uniform("resnet26", 0.75))
    assert {value for name, value in values.items() if name.endswith(".step")} == {1}
    assert {value for name, value in values.items() if not name.endswith(".step")} == {3}


def test_decode_refuses_what_is_no_dimension() -> None:
    space = load_space("small-2d")
    values = space.encode(space.smallest())
    with pytest.raises(SpaceError, match=r"resnet18\.stage1 must be 0 to 3 of resnet18, but got 4"):
        space.decode("resnet18", {**values, "resnet18.stage1": 4})
    with pytest.raises(SpaceError, match="but got None"):
        space.decode("resnet18", {k: v for k, v in values.items() if k != "resnet18.stage2"})
    with pytest.raises(SpaceError, match="no dimension"):
        space.decode("resnet18", {**values, "resnet26.stage1": 1})


def test_restricted_to_backbones_and_data() -> None:
    space = load_space("imagenet-2d")
    small = space.restricted(backbones=["resnet26", "resnet18"], data="cifar10")
    assert small.backbones == ("resnet18", "resnet26")
    assert (small.proxy.data, small.proxy.width) == ("cifar10", space.proxy.width)
    assert small.size() == sum(space.members(name).size for name in ("resnet18", "resnet26"))
    assert parse_space(small.to_yaml()) == small
    assert space.backbones[-1] == "resnet50"
    with pytest.raises(UnknownNameError, match="known are resnet18"):
        space.restricted(backbones=["resnet101"])


def test_a_space_of_one_alpha_has_no_dimensions() -> None:
    text = load_space("small-2d").to_yaml().replace("- 0.25\n- 0.5\n- 0.75\n", "")
    space = parse_space(text)
    assert space.size() == 2
    assert space.dimensions("resnet18") == ()
    assert space.decode("resnet18", {}) == space.uniform("resnet18", 0)
    assert space.feasible(1).sample(np.random.default_rng(0), "resnet26") == space.uniform("resnet26", 0)
