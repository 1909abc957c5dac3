"""Networks of torchvision and timm that octnas has no table of: converted, counted, trained a few steps."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import octnas
from octnas.trace import convert, stays_plain
from tests.unit.nn.family_case import randomized
from tests.unit.trace.networks import relative

NETWORKS = {
    "regnet_y_400mf": (3, 64, 64),
    "efficientnet_b0": (3, 64, 64),
    "shufflenet_v2_x0_5": (3, 64, 64),
    "googlenet": (3, 64, 64),
    "mobilenet_v3_small": (3, 64, 64),
    "s3d": (3, 16, 224, 224),
}
SLOW = {"shufflenet_v2_x0_5", "googlenet", "s3d"}
TIMM = [
    "mobilenetv3_small_050",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("regnety_002", "hrnet_w18_small", "ghostnet_050")
    ),
]


def _published(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "s3d":
        return torchvision.models.video.s3d(num_classes=10)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return getattr(torchvision.models, name)(num_classes=10, **options)


def _check(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Equal at alpha 0, counted as PyTorch counts at three alphas, on the weights of the network."""
    x = torch.randn(2 if len(shape) == 3 else 1, *shape)
    model.eval()
    with torch.no_grad():
        assert relative(convert(model)(x), model(x)) <= 1e-5
    before = octnas.cost(convert(model).architecture, shape).macs
    for alpha in (0.25, 0.5, 0.75):
        ours = convert(model, alpha)
        assert list(ours.state_dict()) == list(model.state_dict())
        ours.load_state_dict(model.state_dict())
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            ours.to("meta")(torch.empty(1, *shape, device="meta"))
        cost = octnas.cost(ours.architecture, shape)
        assert cost.macs == int(counter.get_total_flops()) // 2 < before
        assert cost.params == sum(parameter.numel() for parameter in model.parameters())
        before = cost.macs


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NETWORKS]
)
def test_torchvisions_networks(name: str) -> None:
    _check(randomized(_published(name)), NETWORKS[name])


@pytest.mark.parametrize("name", TIMM)
def test_timms_networks(name: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    _check(randomized(timm.create_model(name, pretrained=False, num_classes=10)), (3, 64, 64))


def _check_learns(ours: nn.Module, x: torch.Tensor, *, steps: int, rate: float) -> None:
    """A few steps on one batch lower its loss by a fifth or more."""
    labels, losses = torch.arange(len(x)) % 4, []
    optimiser = torch.optim.AdamW(ours.train().parameters(), rate)
    for _ in range(steps):
        loss = F.cross_entropy(ours(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert min(losses[-3:]) < 0.8 * losses[0]


@pytest.mark.parametrize("name", ["regnet_y_400mf", "shufflenet_v2_x0_5"])
def test_a_few_steps_of_training_lower_the_loss(name: str) -> None:
    ours = convert(_published(name), 0.5, input_shape=(3, 224, 224))
    _check_learns(ours, torch.randn(8, 3, 64, 64), steps=10, rate=0.003)


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_of_a_network_of_clips() -> None:
    _check_learns(convert(_published("s3d"), 0.5), torch.randn(2, 3, 16, 224, 224), steps=5, rate=0.001)


def test_a_few_steps_lower_the_loss_of_a_network_of_timm() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=10)
    _check_learns(convert(model, 0.5), torch.randn(8, 3, 64, 64), steps=10, rate=0.003)


def test_a_batch_norm_with_its_activation_inside_trains_its_statistics() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=10, drop_rate=0.0)
    ours = convert(model).train()
    x = torch.randn(4, 3, 64, 64)
    torch.testing.assert_close(ours(x), model.train()(x), rtol=1e-4, atol=1e-5)
    for name, value in model.named_buffers():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_what_stays_plain_of_a_shufflenet_are_its_shuffles() -> None:
    plain = stays_plain(convert(_published("shufflenet_v2_x0_5"), 0.5))
    assert {each["what"] for each in plain} == {"view"}
    assert len(plain) == 16  # one a block
    assert all("torchvision/models/shufflenetv2.py:" in each["where"] for each in plain)


def test_auxiliary_heads_are_listed_and_kept_in_the_state_dict() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torchvision.models.googlenet(num_classes=10, init_weights=False)
    ours = convert(model, 0.5)
    assert [each["name"] for each in stays_plain(ours)] == ["aux1", "aux2"]
    ours.load_state_dict(model.state_dict())
    assert ours.train()(torch.randn(2, 3, 64, 64)).shape == (2, 10)
