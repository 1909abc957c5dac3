"""ARCH and --input on the command line, for images and for clips."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from octnas.architecture import Architecture
from octnas.cli import app
from octnas.cli_arch import find_arch, parse_shape
from octnas.costs import cost
from octnas.errors import ArchitectureError


@pytest.mark.parametrize(
    ("text", "shape"),
    [("3x224x224", (3, 224, 224)), ("1X28x30", (1, 28, 30)), ("3x8x224x160", (3, 8, 224, 160))],
)
def test_three_numbers_are_an_image_and_four_a_clip(text: str, shape: tuple[int, ...]) -> None:
    assert parse_shape(text) == shape


@pytest.mark.parametrize("text", ["224", "3x224", "3x8x8x224x224", "3x0x224x224", "3xax224", "3x-8x224", ""])
def test_other_shapes_are_one_clear_line(text: str) -> None:
    with pytest.raises(ArchitectureError, match="CxHxW or CxTxHxW") as caught:
        parse_shape(text)
    assert repr(text) in str(caught.value)


def test_the_smaller_side_of_a_clip_decides_which_layers_may_be_split() -> None:
    found, shape, classes = find_arch(
        "c2d_resnet18", alpha="0.5", downsample=None, input_="3x4x300x112", classes=None
    )
    assert found == Architecture.uniform("c2d_resnet18", alpha=0.5, input_size=112)
    assert (shape, classes) == ((3, 4, 300, 112), 1000)


@pytest.mark.parametrize(
    ("backbone", "shape"),
    [("c2d_resnet50", (3, 8, 224, 224)), ("resnet18", (3, 224, 224)), ("r3d_18", (3, 16, 112, 112))],
)
def test_a_backbone_costs_what_its_usual_input_says(backbone: str, shape: tuple[int, ...]) -> None:
    done = CliRunner().invoke(app, ["cost", backbone, "--alpha", "0.25", "--json"])
    report = json.loads(done.stdout)
    assert report["input"] == "x".join(map(str, shape))
    assert report["macs"] == cost(Architecture.uniform(backbone, alpha=0.25), shape).macs


def test_a_clip_shape_is_counted_for_either_kind_of_backbone() -> None:
    for backbone in ("resnet18", "c2d_resnet18"):
        done = CliRunner().invoke(app, ["cost", backbone, "--input", "3x4x112x112", "--json"])
        arch = Architecture.uniform(backbone, alpha=0)
        assert json.loads(done.stdout)["macs"] == cost(arch, (3, 4, 112, 112)).macs
