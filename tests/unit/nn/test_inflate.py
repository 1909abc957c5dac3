"""2D weights in 3D networks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from family_case import mixed, randomized
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.backbones import layer_table
from octnas.errors import ArchitectureError
from octnas.nn import OctaveNetwork, OctConv3d, build, inflate


def plain(backbone: str, width: int = 8) -> Architecture:
    slots = layer_table(backbone, width=width, stem="small").slots
    return Architecture(backbone=backbone, low_channels=(0,) * len(slots), width=width, stem="small")


def pair(flat: str, deep: str) -> tuple[OctaveNetwork, OctaveNetwork]:
    torch.manual_seed(0)
    source = build(plain(flat), num_classes=4).eval()
    randomized(source)
    return source, build(plain(deep), num_classes=4).eval()


def still(frames: int = 6) -> tuple[Tensor, Tensor]:
    image = torch.randn(2, 3, 20, 18)
    return image, image.unsqueeze(2).expand(-1, -1, frames, -1, -1)


def test_c2d_of_equal_frames_is_the_2d_network() -> None:
    source, network = pair("resnet18", "c2d_resnet18")
    assert inflate(source.state_dict(), network) == ()
    image, clip = still()
    with torch.no_grad():
        torch.testing.assert_close(network(clip), source(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("flat", "deep"), [("resnet18", "i3d_resnet18"), ("resnet10", "i3d_resnet10"), ("resnet18", "r3d_18")]
)
def test_away_from_the_ends_of_a_clip_of_equal_frames_so_is_every_inflated_one(flat: str, deep: str) -> None:
    """Where a kernel hangs over an end of the clip, frames are repeated here: a still clip has no ends."""
    source, network = pair(flat, deep)
    assert inflate(source.state_dict(), network) == ()
    for module in network.modules():
        if isinstance(module, OctConv3d):
            before = module.padding[0]
            module.padding = (0, *module.padding[1:])
            module.register_forward_pre_hook(
                lambda _m, args, n=before: (
                    (F.pad(args[0][0], (0, 0, 0, 0, n, n), mode="replicate"), None),
                    args[1],
                )
            )
    image, clip = still()
    with torch.no_grad():
        torch.testing.assert_close(network(clip), source(image), rtol=1e-3, atol=1e-4)


def test_octaves_are_inflated_too() -> None:
    """The weights do not know alpha, so neither does inflation."""
    source = build(mixed("resnet18", seed=2), num_classes=4).eval()
    randomized(source)
    lows = source.architecture.low_channels
    deep = Architecture(
        backbone="c2d_resnet18", low_channels=lows, width=8, stem="small", downsample="pooled"
    )
    network = build(deep, num_classes=4).eval()
    inflate(source.state_dict(), network)
    image, clip = still()
    with torch.no_grad():
        torch.testing.assert_close(network(clip), source(image), rtol=1e-4, atol=1e-5)


def test_a_kernel_is_repeated_over_time_and_divided() -> None:
    source, network = pair("resnet10", "i3d_resnet10")
    inflate(source.state_dict(), network)
    kernel = network.get_parameter("conv1.weight")
    assert kernel.shape[2] == 5
    for t in range(5):
        torch.testing.assert_close(kernel[:, :, t], source.get_parameter("conv1.weight") / 5)


def test_another_stem_and_another_classifier_are_left_out_and_named() -> None:
    source = build(plain("resnet10"), num_classes=7, in_channels=1)
    network = build(plain("i3d_resnet10"), num_classes=4)
    before = network.get_parameter("fc.bias").detach().clone()
    assert inflate(source.state_dict(), network) == ("conv1.weight", "fc.weight", "fc.bias")
    assert torch.equal(network.get_parameter("fc.bias"), before)
    assert torch.equal(network.get_parameter("bn1.weight"), source.get_parameter("bn1.weight"))


@pytest.mark.parametrize(
    ("source", "network", "message"),
    [
        (plain("resnet10", 16), plain("i3d_resnet10"), r"same widths, but .*\(16.* is \(8.*choose the width"),
        (plain("resnet18"), plain("i3d_resnet10"), "same depth, but the state dict has 20 .* has 12"),
        (plain("resnet10"), plain("resnet10"), "into 3D networks, but resnet10 is 2D"),
        (plain("c2d_resnet10"), plain("i3d_resnet10"), "of 2D networks, but the state dict has 3D kernels"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    source: Architecture, network: Architecture, message: str
) -> None:
    target = build(network, num_classes=4)
    before = [value.clone() for value in target.state_dict().values()]
    with pytest.raises(ArchitectureError, match=message) as error:
        inflate(build(source, num_classes=4).state_dict(), target)
    assert "\n" not in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before, target.state_dict().values(), strict=True))


def test_torchvisions_names_are_matched_in_their_order() -> None:
    import torchvision

    theirs: nn.Module = torchvision.models.resnet18(num_classes=4)
    target = build(Architecture.uniform("r3d_18", alpha=0.5), num_classes=4)
    assert inflate(theirs.state_dict(), target) == ()
    want = theirs.get_parameter("layer2.0.downsample.0.weight")
    got = target.get_parameter("layer2.0.downsample.0.weight")
    torch.testing.assert_close(got[:, :, 0], want)
    torch.testing.assert_close(
        target.get_parameter("layer3.1.conv2.0.weight").sum(2), theirs.get_parameter("layer3.1.conv2.weight")
    )
