"""Users' networks in spaces: in YAML and added to a space, their widths and inputs, and their costs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.errors import SpaceError, UnknownNameError
from octnas.space import SearchSpace, load_space, parse_space

TEXT = """\
name: mine
description: networks of a user, and one of ours
granularity: {granularity}
alphas: [0, 0.5]
backbones: [{backbones}]
target: {{input_size: {size}, frames: {frames}, channels: 3, classes: 5, width: {target}, stem: small}}
proxy: {{data: fashion, width: {width}, stem: small, input_size: 32, frames: {frames}, epochs: 2}}
"""


def mine(
    *backbones: str,
    granularity: str = "stage",
    size: int = 32,
    target: int = 32,
    width: int = 8,
    frames: str = "null",
) -> SearchSpace:
    text = TEXT.format(
        granularity=granularity,
        backbones=", ".join(backbones),
        size=size,
        target=target,
        width=width,
        frames=frames,
    )
    return parse_space(text, source="mine.yaml")


def test_target_and_proxy_are_of_the_factorys_own_width_and_stem() -> None:
    space = mine("users_networks:residual", "users_networks:named", "resnet18")
    forms = {
        name: (space.members(name).target.width, space.members(name).target.stem) for name in space.backbones
    }
    assert forms == {
        "users_networks:residual": (64, "imagenet"),
        "users_networks:named": (64, "imagenet"),
        "resnet18": (32, "small"),
    }
    proxies = {name: (space.proxy_of(name).width, space.proxy_of(name).stem) for name in space.backbones}
    assert proxies == {
        "users_networks:residual": (16, "imagenet"),  # as ours: a quarter of the target's
        "users_networks:named": (64, "imagenet"),  # its factory takes no width
        "resnet18": (8, "small"),
    }
    rng = np.random.default_rng(0)
    for backbone in space.backbones:
        target = space.feasible(99).sample(rng, backbone)
        proxy = space.proxy_architecture(target)
        assert proxy.alphas == target.alphas
        assert (proxy.width, proxy.stem) == proxies[backbone]
        assert space.decode(backbone, space.encode(target)) == target
    assert parse_space(space.to_yaml()) == space


def test_costs_are_of_the_network_itself() -> None:
    space = mine("users_networks:residual", "users_networks:odd", "users_networks:plain_parts", size=40)
    rng = np.random.default_rng(0)
    for backbone in space.backbones:
        for architecture in {space.feasible(99).sample(rng, backbone) for _ in range(8)}:
            assert space.macs(architecture) == cost(architecture, (3, 40, 40), num_classes=5).macs


def test_slots_in_any_order_are_counted_and_priced() -> None:
    """A shortcut that reads later slots than it shares, a concatenation backwards, one of a map twice."""
    backbone = "users_networks:odd"
    members = mine(backbone, granularity="layer").members(backbone)
    assert members.size == 2**6
    costs = {}
    for choices in itertools.product(range(2), repeat=6):
        architecture = members.architecture(choices, "pooled")
        costs[choices] = cost(architecture, (3, 32, 32), num_classes=5).macs
        assert members.graph.contains(choices)
        edges = members.graph.follow(choices)
        assert edges is not None
        assert members.graph.cost(choices) == costs[choices]
    assert len(set(costs.values())) > 2**5
    assert (members.graph.min_cost, members.graph.max_cost) == (min(costs.values()), max(costs.values()))
    table = members.costs
    lows = np.array([members.architecture(choices, "pooled").low_channels for choices in costs])
    assert table.macs(lows).tolist() == list(costs.values())


def test_channels_that_do_not_follow_the_width_keep_their_shares() -> None:
    space = mine("users_networks:rounded")
    target = space.uniform("users_networks:rounded", 0.5)
    proxy = space.proxy_architecture(target)
    assert [slot.channels for slot in target.table().slots] == [24, 24, 48, 48]
    assert [slot.channels for slot in proxy.table().slots] == [8, 8, 16, 16]  # no quarter of 24
    assert proxy.low_channels == (4, 4, 8, 8)


def test_clips_are_for_volumes_and_for_images_frame_by_frame() -> None:
    with pytest.raises(SpaceError, match=r"users_networks:volume is a 3D backbone"):
        mine("users_networks:volume")
    with pytest.raises(SpaceError, match=r"reads 3 channels, but `target.channels` is 1"):
        parse_space(mine("users_networks:own").to_yaml().replace("channels: 3", "channels: 1"))
    space = mine("users_networks:volume", "users_networks:plain_parts", frames="4")
    for backbone in space.backbones:
        architecture = space.uniform(backbone, 0.5)
        assert space.macs(architecture) == cost(architecture, (3, 4, 32, 32), num_classes=5).macs


AT_FAULT: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "no factory": (["resnet18", "users_networks:nothing"], {}, r"line 5, `backbones\[1\]`: .*'nothing'"),
    "no module": (["no_such_module:make"], {}, r"line 5, `backbones\[0\]`: .*no module"),
    "an unknown name": (["resnet19"], {}, r"did you mean 'resnet18'.*package\.module:factory"),
    "an input": (["users_networks:fixed"], {"size": 64}, r"fixed, `target\.input_size`: .*64x64"),
    "no whole number": (["users_networks:residual"], {"width": 7}, r"or a wider `proxy\.width`"),
    "no whole width": (["users_networks:residual"], {"target": 48}, r"64 x 8 / 48: choose another"),
    "other layers": (
        ["users_networks:residual"],
        {"size": 8},
        r"cannot be octave at the target's 8 px but can at the proxy's 32 px: change `proxy\.input_size`",
    ),
}


@pytest.mark.parametrize("case", AT_FAULT)
def test_a_space_at_fault_is_one_line(case: str) -> None:
    backbones, settings, message = AT_FAULT[case]
    with pytest.raises(SpaceError, match=message) as raised:
        mine(*backbones, **settings)
    assert "\n" not in str(raised.value)


# -------------------------------------------------------------------- added to a space
def test_users_networks_are_added_and_ours_chosen() -> None:
    space = load_space("imagenet-2d")
    both = space.restricted(backbones=["users_networks:residual", "resnet34", "resnet18"])
    assert both.backbones == ("resnet18", "resnet34", "users_networks:residual")
    assert (both.proxy.input_size, both.proxy.stem) == (32, "small")  # it is octave in the same layers
    assert (space.proxy.noise_points, both.proxy.noise_points) == (0.65, None)
    alone = space.restricted(backbones=["users_networks:residual"], data="cifar10")
    assert (alone.backbones, alone.proxy.data) == (("users_networks:residual",), "cifar10")
    assert parse_space(both.to_yaml()) == both
    assert both.restricted(backbones=both.backbones) == both
    assert space.restricted(backbones=["resnet18"]).proxy == space.proxy
    with pytest.raises(UnknownNameError, match=r"known are resnet18, .*package\.module:factory"):
        space.restricted(backbones=["resnet101", "users_networks:residual"])
    with pytest.raises(SpaceError, match="which takes clips"):
        space.restricted(backbones=["users_networks:volume"])
    with pytest.raises(SpaceError, match=r"`target.input_size`: .*224x224"):
        space.restricted(backbones=["users_networks:fixed"])


def test_the_proxys_input_grows_until_the_same_layers_are_octave() -> None:
    """A ResNet-18 with its stem has maps of 1 px and more at 32 px: nothing would be octave."""
    space = load_space("imagenet-2d")
    users = "torchvision.models:resnet18"
    both = space.restricted(backbones=["resnet18", users])
    size = both.proxy.input_size
    assert (both.proxy.stem, both.proxy_of(users).width, both.proxy_of("resnet18").width) == (
        "imagenet",
        64,
        8,
    )
    octave = both.members("resnet18").octave
    tables = [both.proxy_architecture(both.uniform(name, 0.5)).table() for name in both.backbones]
    for table in tables:
        assert table.octave_slots(size) == octave
        assert table.octave_slots(size - 4) != octave
    assert any(octave)
    assert both.uniform(users, 0.25).low_channels == both.uniform("resnet18", 0.25).low_channels
    assert both.macs(both.uniform(users, 0.25)) == both.macs(both.uniform("resnet18", 0.25))


def test_an_architecture_names_the_network_it_is_of() -> None:
    arch = Architecture.uniform("users_networks:residual", alpha=0.5)
    assert Architecture.from_json(arch.to_json()) == arch
    assert arch.dims == 2
    assert arch.input_shape() == (3, 224, 224)
