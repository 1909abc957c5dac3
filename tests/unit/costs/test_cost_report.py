"""`octnas cost` on networks of hundreds of layers, on clips, and on shapes that a backbone cannot take."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from octnas.architecture import Architecture
from octnas.costs import cost
from octnas.costs.report import cost_report, cost_table
from octnas.errors import ArchitectureError


def lines_of(report: dict[str, object], width: int = 80) -> list[str]:
    file = io.StringIO()
    Console(width=width, file=file).print(cost_table(report))
    text = file.getvalue()
    assert "…" not in text
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.mark.parametrize("backbone", ["densenet121", "i3d_resnet50", "se_resnet152", "mobilenet_v2"])
def test_every_layer_has_one_line_and_every_stage_a_sum(backbone: str) -> None:
    arch = Architecture.uniform(backbone, alpha=0.25)
    found = cost(arch)
    lines = lines_of(cost_report(arch, by_layer=True))
    for layer in found.layers:
        start = f"{layer.name} {layer.low}/{layer.channels} {layer.macs / 1e6:.2f} "
        assert sum(line.startswith(start) for line in lines) == 1
    stages = {layer.stage for layer in found.layers}
    for stage in stages:
        members = [layer for layer in found.layers if layer.stage == stage]
        macs, plain = sum(layer.macs for layer in members), sum(layer.plain_macs for layer in members)
        sums = f"{macs / 1e6:.2f} {plain / 1e6:.2f} {macs / plain:.2f}"
        if len(members) > 1:
            assert f"stage {stage}, {len(members)} layers {sums}" in lines
    total = next(line for line in lines if line.startswith(f"all {len(found.layers)} layers "))
    assert total.split()[3] == f"{found.macs / 1e6:.2f}"


def test_the_title_says_that_a_2d_backbone_takes_a_clip_frame_by_frame() -> None:
    arch = Architecture.uniform("resnet18", alpha=0)
    lines = lines_of(cost_report(arch, input_shape=(3, 8, 64, 64)))
    assert lines[0] == "8 frames, one by one: resnet18 is 2D"
    assert "GFLOPs: 10^9 multiply-adds, one clip of 8 frames" in lines
    for other in (cost_report(arch), cost_report(Architecture.uniform("c2d_resnet18", alpha=0))):
        assert not any("one by one" in line for line in lines_of(other))


def test_a_report_names_its_input_and_dimensions() -> None:
    report = cost_report(Architecture.uniform("r3d_18", alpha=0))
    assert (report["input"], report["dims"]) == ("3x16x112x112", 3)
    report = cost_report(Architecture.uniform("resnet18", alpha=0, stem="small"))
    assert (report["input"], report["dims"]) == ("3x32x32", 2)


@pytest.mark.parametrize(
    ("backbone", "shape", "says"),
    [
        ("r3d_18", (3, 224, 224), "`input_shape` must be (channels, frames, height, width)"),
        ("r3d_18", (3, 224, 224), "the 3D backbone r3d_18, but got (3, 224, 224): give 3x16x112x112"),
        ("c2d_resnet18", (3, 0, 224, 224), "got (3, 0, 224, 224)"),
        ("resnet18", (3, 8, 1, 224, 224), "(channels, height, width) or (channels, frames, height, width)"),
        ("resnet18", (3, 224), "got (3, 224)"),
        ("resnet18", (3, 224.0, 224), "got (3, 224.0, 224)"),
    ],
)
def test_shapes_that_a_backbone_cannot_take(backbone: str, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        cost_report(Architecture.uniform(backbone, alpha=0), input_shape=shape)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
