"""With no low channels every backbone that torchvision has is torchvision's network."""

from __future__ import annotations

import pytest
import torch
from family_case import TORCHVISION, mixed, torchvisions
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.backbones import layer_table
from octnas.nn import build

DEEP = {"resnet101", "resnet152", "wide_resnet101_2"}
"""More of the same blocks, of which one pass is enough."""


def some_weights(net: nn.Module) -> dict[str, Tensor]:
    """A state dict of random numbers for a network on the meta device; deep ones are slow to initialise."""
    rng = torch.Generator().manual_seed(1)
    state = {}
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
        elif name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            state[name] = torch.empty(value.shape).uniform_(0.5, 1.5, generator=rng)
        else:
            scale = 0.1 if value.ndim == 1 else (2 / value[0].numel()) ** 0.5
            state[name] = torch.empty(value.shape).normal_(0, scale, generator=rng)
    return state


@pytest.mark.parametrize("backbone", TORCHVISION)
def test_alpha_0_is_torchvisions_network(backbone: str) -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        theirs, ours = torchvisions(backbone), build(Architecture.uniform(backbone, alpha=0), num_classes=10)
    state = some_weights(theirs)
    for net in (theirs, ours):
        net.load_state_dict({k: v.clone() for k, v in state.items()}, strict=True, assign=True)
    side = 64 if backbone == "densenet121" else 33
    x = torch.randn(2, 3, side, side) if ours.dims == 2 else torch.randn(2, 3, 4, 24, 20)
    with torch.no_grad():
        for training in (False,) if backbone in DEEP else (False, True):
            ours.train(training)
            theirs.train(training)
            want = theirs(x)
            assert want.std() > 1e-4
            assert (ours(x) - want).norm() <= 1e-5 * want.norm()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", TORCHVISION)
def test_state_dict_has_torchvisions_names_and_shapes_at_any_alpha(backbone: str) -> None:
    with torch.device("meta"):
        want = {name: value.shape for name, value in torchvisions(backbone).state_dict().items()}
        arch = mixed(backbone, seed=1, width=64, stem="imagenet")
        assert {name: value.shape for name, value in build(arch, 10).state_dict().items()} == want


def test_weights_load_strictly_into_octaves() -> None:
    for backbone in ("resnext50_32x4d", "mobilenet_v2", "densenet121"):
        ours = build(mixed(backbone, seed=2, width=64, stem="imagenet"), num_classes=10).eval()
        ours.load_state_dict(torchvisions(backbone).state_dict(), strict=True)
        with torch.no_grad():
            assert torch.isfinite(ours(torch.randn(1, 3, 64, 64))).all()


@pytest.mark.parametrize("backbone", ["resnet18", "densenet121", "mobilenet_v2", "r3d_18"])
def test_fresh_weights_are_spread_as_torchvisions(backbone: str) -> None:
    torch.manual_seed(0)
    theirs = dict(torchvisions(backbone).named_parameters())
    slots = layer_table(backbone).slots
    ours = build(Architecture(backbone=backbone, low_channels=(0,) * len(slots)), num_classes=10)
    for name, value in ours.named_parameters():
        want = theirs[name]
        if value.ndim == 1:
            if "fc" not in name:
                assert torch.equal(value, want), name
        elif value.numel() > 20_000:
            assert float(value.detach().std()) == pytest.approx(float(want.detach().std()), rel=0.05), name
