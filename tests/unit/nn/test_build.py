"""Networks against torchvision's, with the same weights and statistics."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from octnas.architecture import Architecture
from octnas.backbones import layer_table
from octnas.nn import OctBatchNorm2d, OctConv2d, build


def randomized(net: nn.Module) -> nn.Module:
    """Batch-norm parameters and statistics that are not 0 and 1."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1, generator=rng)
            elif name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
                value.uniform_(0.5, 1.5, generator=rng)
    return net


def random_architecture(backbone: str, seed: int, downsample: str = "pooled") -> Architecture:
    rng = random.Random(seed)
    slots = layer_table(backbone, width=8, stem="small").slots
    lows = tuple(int(rng.choice([0, 0.25, 0.375, 0.5, 0.75, 1]) * slot.channels) for slot in slots)
    return Architecture(
        backbone=backbone,
        low_channels=lows,
        width=8,
        stem="small",
        downsample=downsample,  # type: ignore[arg-type]
    )


def test_torchvisions_weights_load_strictly_into_octaves() -> None:
    theirs = torchvision.models.resnet18(num_classes=10)
    slots = layer_table("resnet18").slots
    mixed = Architecture.from_alphas(
        "resnet18", alphas=[(0, 0.25, 0.75, 1)[i % 4] for i in range(len(slots))]
    )
    for arch in (Architecture.uniform("resnet18", alpha=0.5), mixed):
        ours = build(arch, num_classes=10)
        result = ours.load_state_dict(theirs.state_dict(), strict=True)
        assert not result.missing_keys
        assert not result.unexpected_keys
        with torch.no_grad():
            assert torch.isfinite(ours(torch.randn(1, 3, 64, 64))).all()


def test_constant_maps_do_not_feel_alpha() -> None:
    """Pooling and upsampling are the identity on a constant map, so there every alpha is one network."""
    plain = Architecture.uniform("resnet26", alpha=0, width=8, stem="small", downsample="pooled")
    octave = random_architecture("resnet26", 5)
    nets = [build(arch, 10) for arch in (plain, octave)]
    randomized(nets[0])
    nets[1].load_state_dict(nets[0].state_dict())
    for net in nets:
        net.eval()
        for module in net.modules():
            # Only the centre of a 3x3 kernel, so that the border of a constant map is constant too.
            if isinstance(module, OctConv2d) and module.kernel_size == (3, 3):
                keep = torch.zeros(3, 3)
                keep[1, 1] = 1
                module.weight.data *= keep
    x = torch.randn(2, 3, 1, 1).expand(2, 3, 21, 18)
    with torch.no_grad():
        want = nets[0](x)
        assert want.std() > 1e-3
        torch.testing.assert_close(nets[1](x), want, rtol=1e-3, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parametrize("backbone", ["resnet18", "resnet26"])
@pytest.mark.parametrize("size", [(45, 50), (50, 33), (32, 32), (9, 7)])
@pytest.mark.parametrize("downsample", ["strided", "pooled"])
def test_any_alphas_and_any_size_train(backbone: str, size: tuple[int, int], downsample: str) -> None:
    for seed in range(3):
        net = build(random_architecture(backbone, seed, downsample), num_classes=5, in_channels=1)
        loss = F.cross_entropy(net(torch.randn(2, 1, *size)), torch.tensor([0, 3]))
        loss.backward()
        used = [p.grad for p in net.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in used)


def test_maps_have_the_sizes_of_the_table() -> None:
    net = build(random_architecture("resnet26", 1), num_classes=5).eval()
    seen: dict[str, tuple[torch.Tensor | None, torch.Tensor | None]] = {}
    for conv in net.table.convs:
        net.get_submodule(conv.norm).register_forward_hook(
            lambda _m, _x, y, name=conv.name: seen.__setitem__(name, y)
        )
    with torch.no_grad():
        net(torch.randn(1, 3, 45, 50))
    sizes = net.table.sizes(45, 50)
    for conv in net.table.convs:
        high, low = seen[conv.name]
        height, width = sizes[conv.name]
        n_low = 0 if conv.slot is None else net.architecture.low_channels[conv.slot]
        assert (0 if low is None else low.shape[1]) == n_low
        assert (0 if high is None else high.shape[1]) == conv.out_channels - n_low
        assert high is None or high.shape[2:] == (height, width)
        assert low is None or low.shape[2:] == (-(-height // 2), -(-width // 2))


def test_pooled_downsampling_is_average_pooling_before_a_plain_convolution() -> None:
    """A torchvision network whose strided convolutions pool instead, stem excepted."""
    torch.manual_seed(0)
    theirs = randomized(torchvision.models.resnet18(num_classes=10)).eval()
    ours = build(Architecture.uniform("resnet18", alpha=0, downsample="pooled"), num_classes=10).eval()
    ours.load_state_dict(theirs.state_dict())
    for name, module in theirs.named_modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2) and name != "conv1":
            module.stride = (1, 1)
            module.register_forward_pre_hook(lambda _m, args: (F.avg_pool2d(args[0], 2),))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        want = theirs(x)
        assert (ours(x) - want).norm() <= 1e-5 * want.norm()


def test_initialisation_is_torchvisions() -> None:
    torch.manual_seed(0)
    net = build(Architecture.uniform("resnet18", alpha=0.5), num_classes=10)
    for module in net.modules():
        if isinstance(module, OctConv2d) and module.weight.numel() > 10_000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert float(module.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        if isinstance(module, OctBatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert not module.bias.any()


def test_a_map_is_let_go_after_its_last_reader() -> None:
    """A ResNet needs two live maps whatever its depth: the block's input and what is being computed."""
    net = build(random_architecture("resnet50", 0), num_classes=5)
    assert net._walk.registers == 2


@pytest.mark.parametrize(("backbone", "last"), [("resnet18", "bn2"), ("resnet50", "bn3")])
def test_zero_init_residual_is_torchvisions(backbone: str, last: str) -> None:
    theirs = getattr(torchvision.models, backbone)(num_classes=10, zero_init_residual=True)
    arch = Architecture.uniform(backbone, alpha=0.5)
    for zero in (True, False):
        ours = build(arch, num_classes=10, zero_init_residual=zero)
        for name, value in theirs.named_parameters():
            if value.ndim == 1 and name.endswith("weight"):
                mine = ours.get_parameter(name)
                assert torch.equal(mine, value if zero else torch.ones_like(value)), name
                assert not zero or bool((mine == 0).all()) == name.endswith(f"{last}.weight")


def test_a_body_that_begins_at_zero_leaves_the_shortcut_alone() -> None:
    torch.manual_seed(0)
    arch = random_architecture("resnet18", 3)
    net = build(arch, num_classes=4, in_channels=1, zero_init_residual=True).eval()
    other = build(arch, num_classes=4, in_channels=1, zero_init_residual=True).eval()
    shared = {
        name: value
        for name, value in net.state_dict().items()
        if not name.startswith("layer") or "downsample" in name
    }
    other.load_state_dict(shared, strict=False)
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        # The bodies' convolutions differ, and nothing of them is seen.
        assert not torch.equal(
            net.get_parameter("layer1.0.conv1.weight"), other.get_parameter("layer1.0.conv1.weight")
        )
        assert torch.equal(net(x), other(x))
