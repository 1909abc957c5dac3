"""What cannot be converted is refused in one line that names the layer and a remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.ao.nn.quantized as quantized
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, weight_norm

import octnas
from octnas.errors import ConversionError
from octnas.trace import convert


class _Net(nn.Module):
    """Two layers and a head; each test has a `forward` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = _layer(3, 8), _layer(8, 8)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x)).mean((2, 3)))


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class _Flow(_Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        if x.mean() > 0:
            x = self.b(x)
        return self.head(x.mean((2, 3)))


class _Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = _Repeats()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class _Repeats(_Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        for _ in range(int(x.sum())):
            x = self.b(x)
        return x


class _Mixing(_Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = x.view(x.shape[0], 32, 16, 16)[:, :8]
        return self.head(self.b(x).mean((2, 3)))


class _Shared(_Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.b(self.a(x))).mean((2, 3)))


class _Tied(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.c = _layer(8, 8)
        self.c[0].weight = self.b[0].weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.c(self.b(self.a(x))).mean((2, 3)))


class _InPlace(_Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = F.relu(x, inplace=True)
        return self.head((self.b(x) + y).mean((2, 3)))


class _InPlaceUnused(_Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x.add_(1.0)
        return self.head(self.b(x).mean((2, 3)))


class _InPlaceBehindView(_Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x.flatten(2).mul_(2.0)
        return self.head(self.b(x).mean((2, 3)))


class _Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _parametrised() -> nn.Module:
    net = _Net()
    parametrize.register_parametrization(net.b[0], "weight", _Doubled())
    return net


def _spectral() -> nn.Module:
    net = _Net()
    parametrizations.spectral_norm(net.b[0])
    return net


def _hooked() -> nn.Module:
    net = _Net()
    with pytest.warns(FutureWarning):
        weight_norm(net.b[0])
    return net


def _quantised() -> nn.Module:
    net = _Net()
    net.b = quantized.Conv2d(8, 8, 3, padding=1)
    return net


def _hook_on_a_block() -> nn.Module:
    net = _Net()
    net.b.register_forward_hook(lambda module, inputs, output: 2 * output)
    return net


class _Flat(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8 * 20 * 20, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x)).flatten(1))


class _TwoInputs(_Net):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return self.head(self.b(self.a(x) * mask).mean((2, 3)))


class _Broken(_Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.c(x))


CASES: list[tuple[Callable[[], object], str]] = [
    (_Flow, r"_Flow \(.*test_refusals\.py:\d+, `if x\.mean\(\) > 0:`\) has control flow"),
    (_Loop, r"inner \(.*test_refusals\.py:\d+, `for _ in range\(int\(x\.sum\(\)\)\):`\) has control flow"),
    (_Mixing, r"view \(.*test_refusals\.py:\d+\) reshapes 1x8x32x32 to 1x32x16x16, which mixes channels"),
    (_Shared, r"the convolution b\.0 is used twice, the second time at .*test_refusals\.py:\d+"),
    (_Tied, r"the convolutions b\.0 and c\.0 share one weight"),
    (_InPlace, r"relu \(.*test_refusals\.py:\d+\) works in place on a value that b\.0"),
    (_InPlaceUnused, r"add_ \(.*test_refusals\.py:\d+\) works in place on a value that b\.0"),
    (_InPlaceBehindView, r"works in place on a value that b\.0"),
    (_parametrised, r"b\.0 is parametrised"),
    (_spectral, r"b\.0 is parametrised"),
    (_hooked, r"b\.0 has forward hooks"),
    (_hook_on_a_block, r"b has forward hooks"),
    (_quantised, r"b is quantised \(Conv2d\)"),
    (_Flat, r"head \(.*test_refusals\.py:\d+\) cannot take what an input of 3x32x32 gives it"),
    (_TwoInputs, r"must take one batch of images or clips, but _TwoInputs's takes x, mask"),
    (_Broken, r"_Broken \(.*test_refusals\.py:\d+, .*AttributeError: .*has no attribute 'c'"),
    (lambda: nn.Linear(3, 4), "Linear has no convolution"),
    (lambda: torch.jit.script(_Net()), "TorchScript"),
    (lambda: 5, r"`model` must be a torch\.nn\.Module, but got int"),
]


@pytest.mark.parametrize(("make", "message"), CASES, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_is_refused_in_one_line(make: Callable[[], object], message: str) -> None:
    shape = None if make in (CASES[-1][0], CASES[-3][0]) else (3, 32, 32)
    with pytest.raises(ConversionError, match=message) as caught:
        convert(make(), 0.5, input_shape=shape)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_input_that_the_network_cannot_take_is_named_with_its_layer() -> None:
    message = r"^a\.0 \(.*test_refusals\.py:\d+\) cannot take what an input of 4x32x32 gives it: "
    with pytest.raises(ConversionError, match=message):
        convert(_Net(), input_shape=(4, 32, 32))
    ours = convert(nn.Sequential(_layer(3, 8), nn.AvgPool2d(9), nn.Conv2d(8, 8, 1)), input_shape=(3, 32, 32))
    with pytest.raises(ConversionError, match=r"^1 cannot take what an input of 3x8x8 gives it"):
        octnas.cost(ours.architecture, (3, 8, 8))


def test_the_network_that_takes_one_size_is_read_at_it() -> None:
    assert convert(_Flat(), input_shape=(3, 20, 20)).table.num_classes == 10


def test_what_is_in_place_on_a_value_of_its_own_is_fine() -> None:
    class Fine(_Net):
        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            y = self.b(x)
            y += x
            return self.head(F.relu_(y).mean((2, 3)))

    model = Fine().eval()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(convert(model)(x), model(x))


def test_a_shuffle_of_channels_alone_is_fine() -> None:
    class Shuffles(_Net):
        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            count, channels, height, width = x.shape
            x = x.view(count, 2, channels // 2, height, width).transpose(1, 2)
            return self.head(self.b(x.reshape(count, channels, height, width)).mean((2, 3)))

    model = Shuffles().eval()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(convert(model)(x), model(x))
    assert convert(model, 0.5)(x).shape == (2, 10)
