"""The ResNet tables against torchvision's own networks."""

from __future__ import annotations

import pytest
import torch
import torchvision

from octnas.backbones import Conv, layer_table, names


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_convolutions_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        reference = torchvision.models.get_model(name, weights=None)
    expected = {
        path: (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0], m.groups)
        for path, m in reference.named_modules()
        if isinstance(m, torch.nn.Conv2d)
    }
    table = {
        c.name: (c.in_channels, c.out_channels, c.kernel, c.stride, c.padding, c.groups)
        for c in layer_table(name).convs
    }
    assert table == expected


@pytest.mark.parametrize("name", names())
def test_slots_skip_stem_and_shortcuts(name: str) -> None:
    table = layer_table(name)
    assert [slot.index for slot in table.slots] == list(range(len(table.slots)))
    assert not any("downsample" in slot.name or slot.name == "conv1" for slot in table.slots)
    for node in table.nodes:
        if isinstance(node, Conv) and node.shortcut:
            body = max(
                c.slot
                for c in table.convs
                if (c.stage, c.block) == (node.stage, node.block) and c.slot is not None
            )
            assert node.slot == body


@pytest.mark.parametrize(
    ("stem", "side", "maps"),
    [("imagenet", 224, [56, 28, 14, 7]), ("small", 32, [32, 16, 8, 4]), ("imagenet", 225, [57, 29, 15, 8])],
)
def test_map_sizes(stem: str, side: int, maps: list[int]) -> None:
    sizes = layer_table("resnet18", stem=stem).sizes(side, side)  # type: ignore[arg-type]
    assert [sizes[f"layer{stage}.1.add"][0] for stage in (1, 2, 3, 4)] == maps


@pytest.mark.parametrize(("side", "split"), [(224, 12), (225, 16), (112, 8), (16, 0)])
def test_low_maps_under_four_px_stay_plain(side: int, split: int) -> None:
    assert sum(layer_table("resnet18").octave_slots(side)) == split


def test_width_scales_every_stage() -> None:
    table = layer_table("resnet50", width=16, in_channels=1, num_classes=10)
    assert table.convs[0].in_channels == 1
    assert [slot.channels for slot in table.slots if slot.block == 0] == [
        16, 16, 64, 32, 32, 128, 64, 64, 256, 128, 128, 512,
    ]  # fmt: skip
