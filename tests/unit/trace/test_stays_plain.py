"""What is not converted is kept and listed, and what acts in training alone goes by the network's mode."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from octnas.trace import convert, plain, stays_plain
from tests.unit.trace.networks import Mixed


def test_what_stays_plain_is_listed_with_its_line() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 8, 3, padding=1)
            self.b = nn.Conv2d(8, 8, 3, padding=1)
            self.even = nn.Conv2d(8, 8, 2, stride=2)
            self.norm = nn.GroupNorm(2, 8)
            self.c = nn.Conv2d(8, 8, (1, 3), padding=(0, 1))
            self.aux = nn.Linear(8, 2)
            self.head = nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.b(self.a(x)))
            x = self.c(self.even(x))
            if self.training:
                self.aux(x.mean((2, 3)))
            return self.head(x.mean((2, 3)))

    found = {each["name"]: each for each in stays_plain(convert(Odd(), 0.5, input_shape=(3, 16, 16)))}
    assert list(found) == ["norm", "even", "c", "aux", "mean"]
    assert found["norm"]["why"] == "GroupNorm is no layer that octaves pass through"
    assert found["even"]["why"] == "its kernel is even: 2x2"
    assert found["c"]["why"] == "its kernel is not square: 1x3"
    assert found["aux"]["why"] == "it does not run in evaluation mode"
    assert found["mean"]["why"] == "it is called so in training alone"
    line = Odd.forward.__code__.co_firstlineno
    assert found["norm"]["where"].endswith(f"test_stays_plain.py:{line + 1}")
    assert found["even"]["where"].endswith(f"test_stays_plain.py:{line + 2}")
    assert found["mean"]["where"].endswith(f"test_stays_plain.py:{line + 4}")
    # of a concatenation and a convolution other channels would be low
    (of_mixed,) = stays_plain(convert(Mixed(), 0.5, input_shape=(3, 32, 32)))
    assert (of_mixed["name"], of_mixed["what"]) == ("excited.add", "add")
    assert of_mixed["why"] == "a sum of maps whose low channels would be different ones"


def test_a_marked_module_is_kept_whole_at_full_resolution() -> None:
    class Chooses(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flip(-1) if x.mean() > 0 else 2 * x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.odd = plain(Chooses())
            self.c, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.c(self.odd(self.b(self.a(x)))).mean((2, 3)))

    model = Net().eval()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(convert(model)(x), model(x))
    half = convert(model, 0.5, input_shape=(3, 16, 16))
    assert [(each["name"], each["why"]) for each in stays_plain(half)] == [
        ("odd", "octnas.plain keeps it as it is")
    ]
    # by hand: what the module reads is the map of both octaves at full resolution
    b = model.b.weight, model.b.bias
    stem = model.a(x)
    low = F.conv2d(F.avg_pool2d(stem, 2), b[0][4:], b[1][4:], padding=1)
    high = F.conv2d(stem, b[0][:4], b[1][:4], padding=1)
    whole = model.odd(torch.cat((high, F.interpolate(low, scale_factor=2)), 1))
    c = model.c.weight, model.c.bias
    last = torch.cat(
        (
            F.conv2d(whole, c[0][:4], c[1][:4], padding=1).mean((2, 3)),
            F.conv2d(F.avg_pool2d(whole, 2), c[0][4:], c[1][4:], padding=1).mean((2, 3)),
        ),
        1,
    )
    torch.testing.assert_close(half(x), model.head(last), rtol=1e-4, atol=1e-5)


def test_a_marked_convolution_stays_one() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), plain(nn.Conv2d(8, 8, 1)), nn.Conv2d(8, 8, 1)
    )
    ours = convert(model, 0.5, input_shape=(3, 16, 16))
    assert [slot.name for slot in ours.table.slots] == ["1", "3"]
    assert type(ours.get_submodule("2")) is nn.Conv2d
    assert [each["name"] for each in stays_plain(ours)] == ["2"]


def test_both_octaves_of_an_image_share_its_fate_in_stochastic_depth() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
            self.drop = torchvision.ops.StochasticDepth(0.5, "row")

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(self.b(self.a(x)))

    ours = convert(Deep(), 0.5, input_shape=(3, 16, 16)).train()
    torch.manual_seed(0)
    out = ours(torch.randn(64, 3, 16, 16)).abs().amax((2, 3))
    dropped = (out == 0).all(1)
    assert 0 < dropped.sum() < 64
    assert torch.equal(dropped, (out == 0).any(1))  # no image has one octave without the other


def test_dropout_as_a_function_goes_by_the_networks_mode() -> None:
    class Drops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(self.b(self.a(x)), 0.5, self.training)

    ours = convert(Drops(), 0.5, input_shape=(3, 16, 16))
    x = torch.randn(4, 3, 16, 16)
    assert (ours.train()(x) == 0).float().mean() > 0.3
    assert (ours.eval()(x) == 0).float().mean() < 0.01
