"""The closed form of every backbone: against a count by paths, torchvision's networks, and vectorised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from cost_case import naive_count, random_architecture
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.resnet import Bottleneck, ResNet

from octnas.architecture import Architecture
from octnas.backbones import dims_of, layer_table, names
from octnas.costs import CostTable, cost

IMAGES = ((3, 64, 64), (1, 75, 90), (2, 33, 7))
CLIPS = ((3, 8, 64, 64), (1, 5, 75, 42), (2, 3, 33, 7), (3, 1, 6, 9))


def shapes(backbone: str) -> tuple[tuple[int, ...], ...]:
    return CLIPS if dims_of(backbone) == 3 else (*IMAGES, *CLIPS[1:3])


@pytest.mark.parametrize("backbone", names())
def test_layer_by_layer_as_the_paths_say(backbone: str) -> None:
    rng = np.random.default_rng(0)
    for shape in shapes(backbone):
        arch = random_architecture(backbone, rng)
        whole = cost(arch, shape, num_classes=7)
        macs, elements = naive_count(
            arch.table(in_channels=shape[0], num_classes=7), arch.low_channels, shape
        )
        assert {layer.name: layer.macs for layer in whole.layers} == macs
        assert whole.activation_elements == elements


@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("backbone", names())
def test_vectorised_equals_layer_by_layer(backbone: str, stem: str) -> None:
    rng = np.random.default_rng(1)
    archs = [random_architecture(backbone, rng, stem=stem) for _ in range(4)]
    lows = np.array([arch.low_channels for arch in archs])
    for shape in shapes(backbone):
        frames = shape[1] if len(shape) == 4 else None
        table = CostTable.of(archs[0].table(in_channels=shape[0], num_classes=10), *shape[-2:], frames)
        costs = [cost(arch, shape, num_classes=10) for arch in archs]
        assert table.macs(lows).tolist() == [c.macs for c in costs]
        assert table.activations(lows).tolist() == [c.activation_elements for c in costs]


def _torchvision(backbone: str) -> torch.nn.Module:
    if backbone in torchvision.models.list_models():
        return torchvision.models.get_model(backbone, weights=None, num_classes=1000)
    if backbone == "resnext101_32x4d":
        return ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4)
    if backbone == "resnet200":
        return ResNet(Bottleneck, [3, 24, 36, 3])
    return torchvision.models.mobilenet_v2(width_mult=float(backbone.rpartition("x")[2].replace("_", ".")))


@pytest.mark.parametrize("size", [1.0, 0.47])
@pytest.mark.parametrize(
    "backbone",
    [
        "resnet18",
        "resnet200",
        "resnext50_32x4d",
        "resnext101_32x4d",
        "wide_resnet50_2",
        "wide_resnet101_2",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v2_x0_5",
        "mobilenet_v2_x1_4",
        "r3d_18",
        "mc3_18",
        "r2plus1d_18",
    ],
)
def test_plain_networks_cost_what_torchvisions_do(backbone: str, size: float) -> None:
    arch = Architecture.uniform(backbone, alpha=0)
    shape = tuple(n if n == 3 else int(n * size) for n in arch.input_shape())
    with torch.device("meta"):
        network, x = _torchvision(backbone).eval(), torch.empty(1, *shape)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    found = cost(arch, shape)
    assert 2 * found.macs == counter.get_total_flops()
    assert found.params == sum(parameter.numel() for parameter in network.parameters())


def test_a_2d_backbone_takes_clips_frame_by_frame() -> None:
    for backbone in ("resnet18", "se_resnet50", "densenet121", "mobilenet_v1"):
        arch = random_architecture(backbone, np.random.default_rng(2))
        image, clip = cost(arch, (3, 64, 50)), cost(arch, (3, 5, 64, 50))
        *body, head = image.layers
        assert [layer.macs for layer in clip.layers] == [*(5 * layer.macs for layer in body), head.macs]
        assert clip.activation_elements == 5 * image.activation_elements
        assert clip.params == image.params


def test_squeeze_and_excitation_costs_its_two_layers() -> None:
    plain, excited = (cost(Architecture.uniform(name, alpha=0.25)) for name in ("resnet50", "se_resnet50"))
    blocks = [(256, 3), (512, 4), (1024, 6), (2048, 3)]
    assert excited.macs - plain.macs == sum(n * 2 * c * (c // 16) for c, n in blocks)
    assert excited.params - plain.params == sum(n * (2 * c * (c // 16) + c // 16 + c) for c, n in blocks)
    layer = next(layer for layer in excited.layers if layer.name == "layer1.0.se")
    assert (layer.low, layer.channels, layer.stage, layer.activation_elements) == (64, 256, 1, 0)


def test_a_dense_block_is_joint_and_everything_else_is_pairs() -> None:
    table = CostTable.of(layer_table("densenet121"), 224, 224)
    # 1x1s that read two searched segments or more: in the first block, which begins with the stem, from its
    # third layer on, in the others from the second; and the three transitions.
    assert len(table.joint) == (4 + 1) + (11 + 1) + (23 + 1) + 15
    assert max(len(each.sources) for each in table.joint) == 25
    for name in names():
        if name != "densenet121":
            assert CostTable.of(layer_table(name), 64, 64, 8).joint == ()
