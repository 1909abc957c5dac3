"""The cost of users' networks: equal to both counters, by layer, and with what stays plain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import users_networks
from typer.testing import CliRunner

from octnas.architecture import Architecture
from octnas.backbones import layer_table
from octnas.cli import app
from octnas.costs import cost
from octnas.costs.counted import count
from octnas.costs.report import cost_report
from octnas.errors import ArchitectureError, ConversionError
from octnas.nn import build

SHAPES = {
    "users_networks:residual": (3, 40, 36),
    "users_networks:odd": (3, 33, 32),
    "users_networks:plain_parts": (3, 32, 32),
    "users_networks:fixed": (3, 32, 32),
    "users_networks:volume": (1, 4, 24, 24),
    "torchvision.models:squeezenet1_1": (3, 64, 64),
}


@pytest.mark.parametrize("alpha", [0, 0.25, 0.5])
@pytest.mark.parametrize("backbone", SHAPES)
def test_the_closed_form_equals_what_two_tools_count(backbone: str, alpha: float) -> None:
    shape = SHAPES[backbone]
    arch = Architecture.uniform(backbone, alpha=alpha)
    found, counted = cost(arch, shape), count(arch, shape, arch.table().num_classes)
    assert found.macs == counted.pytorch_macs == counted.thop_macs
    assert found.params == counted.params
    assert found.macs == sum(layer.macs for layer in found.layers)
    if alpha:
        assert found.macs < cost(Architecture.uniform(backbone, alpha=0), shape).macs


def test_the_frames_of_a_clip_cost_as_many_times_as_much() -> None:
    arch = Architecture.uniform("users_networks:plain_parts", alpha=0.5)
    counted = count(arch, (3, 4, 32, 32), 5)
    assert cost(arch, (3, 4, 32, 32)).macs == 4 * cost(arch, (3, 32, 32)).macs == counted.pytorch_macs


def test_parameters_are_those_of_the_users_module() -> None:
    arch = Architecture.uniform("users_networks:fixed", alpha=0.5)
    own = build(arch, num_classes=5).parameters()
    assert cost(arch, (3, 32, 32)).params == sum(parameter.numel() for parameter in own) == 20745


def test_a_shape_that_the_network_cannot_have_is_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"reads 3 channels .*but the input has 1: give the factory"):
        cost(Architecture.uniform("users_networks:own", alpha=0), (1, 32, 32))
    with pytest.raises(ConversionError, match="64x64"):
        cost(Architecture.uniform("users_networks:fixed", alpha=0), (3, 64, 64))


def test_what_stays_plain_is_listed_with_its_line_and_its_reason() -> None:
    report = cost_report(Architecture.uniform("users_networks:plain_parts", alpha=0.5), by_layer=True)
    assert [(each["name"], each["what"]) for each in report["plain"]] == [
        ("shuffle", "ChannelShuffle"),
        ("even", "Conv2d"),
    ]
    shuffle, even = report["plain"]
    file, _, line = even["where"].rpartition(":")
    users = Path(users_networks.__file__)
    assert Path(file).name == users.name
    assert "self.even(" in users.read_text().splitlines()[int(line) - 1]
    assert even["why"] == "its kernel is even: 2x2"
    assert (shuffle["gflops"], even["gflops"]) == (0, 223 * 223 * 8 * 8 * 4 / 1e9)
    layers = {layer["name"]: (layer["macs"], layer["plain_macs"], layer["low"]) for layer in report["layers"]}
    assert list(layers) == ["stem", "conv", "even", "head"]
    assert layers["even"] == (223 * 223 * 8 * 8 * 4, 223 * 223 * 8 * 8 * 4, 0)
    assert report["classes"] == 5
    assert "plain" not in cost_report(Architecture.uniform("resnet18", alpha=0.5), by_layer=True)


def test_the_command_takes_a_factory_and_prints_what_stays_plain() -> None:
    arguments = ["cost", "users_networks:plain_parts", "--alpha", ".5", "--by-layer"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    text = " ".join(shown.stdout.split())
    assert "What stays plain, at full resolution" in text
    assert "its kernel is even: 2x2" in text
    assert "Conv2d at tests/users_networks.py:" in text or "Conv2d at users_networks.py:" in text
    assert max(map(len, shown.stdout.splitlines())) <= 80
    report = json.loads(CliRunner().invoke(app, [*arguments, "--json", "--verify"]).stdout)
    assert report["verify"]["equal"]
    assert (report["backbone"], report["input"]) == ("users_networks:plain_parts", "3x224x224")
    table = layer_table("users_networks:plain_parts")
    assert report["low_channels"] == [slot.channels // 2 for slot in table.slots]
    nothing = CliRunner().invoke(app, ["cost", "users_networks:residual", "--by-layer"])
    assert "Nothing stays plain that could be octave." in nothing.stdout


def test_functions_that_thop_does_not_see_are_said() -> None:
    report = cost_report(Architecture.uniform("users_networks:functional", alpha=0.5), verify=True)
    unseen = 224 * 224 * 8 * 8 * 9 / 1e9
    assert report["verify"]["equal"]
    assert report["verify"]["thop_unseen_gflops"] == unseen
    assert report["verify"]["thop_gflops"] == pytest.approx(report["gflops"] - unseen, rel=1e-12)
