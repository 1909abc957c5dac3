"""Search spaces as values: membership, dimensions, proxies, and every YAML that ships."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from octnas.architecture import Architecture
from octnas.backbones import default_input, dims_of, names
from octnas.costs import cost
from octnas.errors import SpaceError, UnknownNameError
from octnas.nn import build
from octnas.space import SearchSpace, catalog, load_space, parse_space

if TYPE_CHECKING:
    from tests.unit.space.conftest import Tiny

NAMES = sorted(catalog())
IMAGES, CLIPS = names(2), names(3)  # without those that tests make
README = Path(__file__).parents[3] / "search_spaces" / "README.md"


@pytest.fixture(scope="module", params=NAMES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return load_space(request.param)


def test_the_catalog_holds_the_spaces_for_images_and_for_clips() -> None:
    images = {"imagenet-2d", "imagenet-2d-all", "small-2d", "mobile-2d", "pretrained-2d"}
    assert set(NAMES) == images | {"video", "clips-small"}
    assert {name for name in NAMES if load_space(name).target.frames is None} == images


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
        assert cost(arch, target.input_shape, target.classes).gflops == gflops
        proxy = space.proxy_architecture(arch)
        for network, side in ((arch, target.input_size), (proxy, space.proxy.input_size)):
            shape = (*target.input_shape[:-2], side, side)
            with torch.device("meta"):
                built = build(network, num_classes=target.classes, in_channels=target.channels)
                logits = built(torch.empty(2, *shape))
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
        strided = space.contains(space.uniform(backbone, 0, "strided"))
        assert strided is ("strided" in space.downsample)


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
        f"{space.size():,}" if space.size() < 10**21 else f"{space.size():.3e}",
        f"{smallest} ({space.smallest().backbone})",
        f"{space.median_gflops:.3f}",
        f"{largest} ({space.largest().backbone})",
    ]


def test_the_readme_names_every_backbone() -> None:
    text = README.read_text(encoding="utf-8")
    images, clips = text[text.index("Backbones of images, 2D:") :].split("Backbones of clips, 3D:")
    assert re.findall(r"\w+\d\w*", images.split(":")[1]) == list(IMAGES)
    assert re.findall(r"\w+\d\w*", clips.split(". In")[0]) == list(CLIPS)


def test_every_backbone_is_a_space_at_the_width_of_some_proxy() -> None:
    text = load_space("imagenet-2d-all").to_yaml()
    for name in (*IMAGES, *CLIPS):
        found = re.sub(r"backbones:\n(- \w+\n)+", f"backbones: [{name}]\n", text)
        if dims_of(name) == 3:
            side = default_input(name)[-1]
            found = found.replace("frames: null", "frames: 8").replace(
                "input_size: 224", f"input_size: {side}"
            )
        if name.startswith("mobilenet"):
            found = found.replace("width: 8\n", "width: 32\n")
        # Factored convolutions have odd numbers of channels between them.
        if name == "r2plus1d_18":
            with pytest.raises(SpaceError, match=r"r2plus1d_18, `proxy.width`: channels x width / 64 must"):
                parse_space(found)
            continue
        space = parse_space(found)
        for arch in (space.smallest(), space.largest(), space.uniform(name, 0.25)):
            assert space.contains(arch)
            assert space.proxy_architecture(arch).alphas == arch.alphas
            assert space.macs(arch) == cost(arch, space.target.input_shape, 1000).macs


def test_small_2d_is_its_own_proxy() -> None:
    space = load_space("small-2d")
    arch = space.largest()
    assert space.proxy_architecture(arch) == arch
    assert all(0.02 <= space.gflops(space.uniform(name, 0)) <= 0.06 for name in space.backbones)


def test_clips_small_is_its_own_proxy_and_its_budget_admits_3d_networks_plain() -> None:
    space = load_space("clips-small")
    arch = space.largest()
    assert space.proxy_architecture(arch) == arch
    assert space.proxy.frames == space.target.frames == 4
    budget = space.definition.budget_gflops
    assert budget is not None
    feasible = space.feasible(budget)
    assert feasible.backbones == space.backbones
    assert 0.9 < feasible.share() < 1
    plain = {name: space.uniform(name, 0) for name in space.backbones}
    assert {dims_of(name) for name, each in plain.items() if feasible.within(each)} == {2, 3}
    assert all(feasible.within(each) for name, each in plain.items() if dims_of(name) == 3)
    cheapest = {
        dims: min(space.gflops(each) for n, each in plain.items() if dims_of(n) == dims) for dims in (2, 3)
    }
    assert cheapest[2] < cheapest[3] < budget


def test_a_2d_backbone_on_clips_costs_each_frame_and_its_head_once() -> None:
    clips = load_space("clips-small")
    arch = clips.uniform("resnet10", 0.5)
    still = cost(arch, (1, 20, 20), 8).macs
    head = 8 * 8 * 8  # from 64 channels, at width 8, to 8 classes
    assert clips.macs(arch) == 4 * (still - head) + head


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
