"""Every family against a network computed channel by channel, and what all of them promise."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from family_case import FAMILIES, mixed, randomized
from naive_network import naive_logits
from torch import Tensor

from octnas.architecture import Architecture
from octnas.backbones import dims_of, layer_table
from octnas.errors import ArchitectureError
from octnas.nn import OctaveNetwork, build


def inputs(net: OctaveNetwork, size: tuple[int, int], batch: int = 2, frames: int = 3) -> Tensor:
    time = (frames,) if net.dims == 3 else ()
    channels = net.table.in_channels
    return torch.randn(batch, channels, *time, *size, generator=torch.Generator().manual_seed(3)).double()


def assert_naive(arch: Architecture, size: tuple[int, int], *, gradients: bool = True) -> None:
    torch.manual_seed(0)
    net = build(arch, num_classes=4, in_channels=2).double().eval()
    randomized(net)
    x = inputs(net, size)
    parameters = dict(net.named_parameters())
    for value in parameters.values():
        value.requires_grad_(gradients)
    ours = net(x)
    theirs = naive_logits(arch, {**parameters, **dict(net.named_buffers())}, x, net.table)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)
    if not gradients:
        return
    weights = torch.randn_like(ours)
    grads = [torch.autograd.grad((out * weights).sum(), list(parameters.values())) for out in (ours, theirs)]
    for name, our, their in zip(parameters, *grads, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("backbone", FAMILIES)
@pytest.mark.parametrize(
    ("stem", "size", "downsample"), [("small", (11, 16), "pooled"), ("imagenet", (37, 36), "strided")]
)
def test_logits_and_gradients_are_those_of_the_channels(
    backbone: str, stem: str, size: tuple[int, int], downsample: str
) -> None:
    assert_naive(mixed(backbone, seed=len(backbone), stem=stem, downsample=downsample), size)


def test_the_factored_3d_network_too() -> None:
    """Its channels divide at width 64 alone."""
    assert_naive(mixed("r2plus1d_18", seed=1, width=64), (3, 4), gradients=False)


@pytest.mark.parametrize("backbone", [*FAMILIES, "r2plus1d_18"])
def test_state_dict_does_not_know_alpha(backbone: str) -> None:
    width = 64 if backbone == "r2plus1d_18" else 8
    slots = layer_table(backbone, width=width, stem="small").slots
    plain = Architecture(backbone=backbone, low_channels=(0,) * len(slots), width=width, stem="small")
    with torch.device("meta"):
        shapes = [
            {name: value.shape for name, value in build(arch).state_dict().items()}
            for arch in (plain, mixed(backbone, 3, width=width))
        ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("backbone", FAMILIES)
def test_trains_at_an_odd_size_and_every_parameter_is_told(backbone: str) -> None:
    torch.manual_seed(0)
    net = build(mixed(backbone, seed=2), num_classes=5, in_channels=1)
    x = inputs(net, (21, 17)).float()
    F.cross_entropy(net(x), torch.tensor([0, 3])).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("backbone", ["resnext50_32x4d", "densenet121"])
def test_statistics_land_on_their_channels(backbone: str) -> None:
    """On constant maps every alpha is one network, running statistics included."""
    nets = []
    for arch in (mixed(backbone, 4), mixed(backbone, 5)):
        nets.append(build(arch, num_classes=4, in_channels=1).double())
    with torch.no_grad():
        for value in nets[0].parameters():
            if value.ndim == 4 and value.shape[-1] == 3:
                # Only the centre of a 3x3 kernel, so that the border of a constant map is constant too.
                value[..., [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0
    nets[1].load_state_dict(nets[0].state_dict())
    x = torch.randn(8, 1, 1, 1, dtype=torch.double).expand(8, 1, 16, 16)
    with torch.no_grad():
        for net in nets:
            net(x)
    ours, theirs = (net.state_dict() for net in nets)
    for name, value in ours.items():
        if name.endswith("running_mean"):
            assert value.abs().max() > 1e-3
            torch.testing.assert_close(value, theirs[name], rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("backbone", ["resnet26", "densenet121", "mobilenet_v2"])
def test_a_2d_network_takes_the_mean_of_a_clips_frames(backbone: str) -> None:
    net = build(mixed(backbone, seed=1), num_classes=4).eval()
    randomized(net)
    clip = torch.randn(2, 3, 5, 18, 21)
    features: list[Tensor] = []
    head = net.get_submodule(net.table.nodes[-1].name)
    handle = head.register_forward_pre_hook(lambda _m, args: features.append(args[0]))
    with torch.no_grad():
        logits = net(clip)
        frames = [net(clip[:, :, t]) for t in range(5)]
    handle.remove()
    torch.testing.assert_close(features[0], torch.stack(features[1:]).mean(0), rtol=1e-4, atol=1e-5)
    # The classifier is linear, so the mean of the logits is the same.
    torch.testing.assert_close(logits, torch.stack(frames).mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ["resnet10", "i3d_resnet10", "c2d_resnet18"])
def test_channels_last_gives_the_same_logits_and_gradients(backbone: str) -> None:
    torch.manual_seed(0)
    net = build(mixed(backbone, seed=6), num_classes=4).eval()
    randomized(net)
    x = torch.randn(2, 3, 4, 16, 16)
    last = torch.channels_last if net.dims == 2 else torch.channels_last_3d
    other = copy.deepcopy(net).to(memory_format=last)  # type: ignore[call-overload]
    results = []
    for network, clips in ((net, x), (other, x.contiguous(memory_format=torch.channels_last_3d))):
        loss = network(clips).square().sum()
        results.append((loss.detach(), torch.autograd.grad(loss, list(network.parameters()))))
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", ["c2d_resnet18", "r3d_18"])
def test_a_3d_network_refuses_still_images(backbone: str) -> None:
    net = build(mixed(backbone, seed=0), num_classes=4)
    with pytest.raises(ArchitectureError, match=r"reads clips \(B, C, T, H, W\).*4 dimensions.*2D") as error:
        net(torch.zeros(1, 3, 16, 16))
    assert "\n" not in str(error.value)


def test_every_3d_network_is_one_of_clips() -> None:
    assert {dims_of(name) for name in FAMILIES} == {2, 3}
    for name in FAMILIES:
        net = build(mixed(name, seed=0), num_classes=4)
        assert net.dims == dims_of(name)
