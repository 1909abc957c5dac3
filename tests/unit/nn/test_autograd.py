"""Octave layers as single steps: their gradients, and what they keep for the backward pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from octnas.nn import OctConv2d
from octnas.nn.autograd import Halving, Keeping

CASES = [(2, 3, 2), (0, 3, 2), (2, 3, 0), (2, 0, 3), (0, 0, 3)]
"""Low input channels, high and low output channels; three high input channels."""


def layer(step: type[Keeping | Halving], low_in: int, low_out: int) -> tuple[Tensor, Tensor | None]:
    rng = torch.Generator().manual_seed(low_in)
    side = 4 if step is Keeping else 8
    high = torch.randn(2, 3, side, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    low = None
    if low_in:
        low = torch.randn(2, low_in, side // 2, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    return high, low


@pytest.mark.parametrize("step", [Keeping, Halving])
@pytest.mark.parametrize(("low_in", "high_out", "low_out"), CASES)
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_are_those_of_the_function(
    step: type[Keeping | Halving], low_in: int, high_out: int, low_out: int, size: int, channels_last: bool
) -> None:
    high, low = layer(step, low_in, low_out)
    kernel = torch.randn(high_out + low_out, 3 + low_in, size, size, dtype=torch.float64, requires_grad=True)
    padding = (size // 2, size // 2)

    def run(high: Tensor, kernel: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        if channels_last:
            high = high.contiguous(memory_format=torch.channels_last)
        out = step.apply(high, rest[0] if rest else None, kernel, low_out, ((1, 1), padding, (1, 1)))
        return tuple(branch for branch in out if branch is not None)

    inputs = (high, kernel) if low is None else (high, kernel, low)
    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("step", [Keeping, Halving])
@pytest.mark.parametrize(("low_in", "high_out", "low_out"), [(1, 2, 1), (0, 2, 1), (1, 0, 2)])
@pytest.mark.parametrize("stride_time", [1, 2])
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_over_time_are_those_of_the_function(
    step: type[Keeping | Halving],
    low_in: int,
    high_out: int,
    low_out: int,
    stride_time: int,
    channels_last: bool,
) -> None:
    rng = torch.Generator().manual_seed(low_in)
    side = 2 if step is Keeping else 4
    shapes = [(1, 2, 3, side, 4), (high_out + low_out, 2 + low_in, 3, 3, 3)]
    shapes += [(1, low_in, 3, side // 2, 2)] if low_in else []
    inputs = [torch.randn(shape, generator=rng, dtype=torch.float64, requires_grad=True) for shape in shapes]
    geometry = (stride_time, 1, 1), (1, 1, 1), (1, 1, 1)

    def run(high: Tensor, kernel: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        if channels_last:
            high = high.contiguous(memory_format=torch.channels_last_3d)
        out = step.apply(high, rest[0] if rest else None, kernel, low_out, geometry)
        return tuple(branch for branch in out if branch is not None)

    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_output_that_is_not_used_takes_no_part(stride: int) -> None:
    torch.manual_seed(0)
    conv = OctConv2d(6, 8, 3, low_in=2, low_out=4, stride=stride, padding=1)
    x = (torch.randn(2, 4, 8, 8), torch.randn(2, 2, 4, 4))
    for used, rows in ((0, slice(4)), (1, slice(4, None))):
        (gradient,) = torch.autograd.grad(conv(x)[used].square().sum(), [conv.weight])
        unused = gradient.clone()
        unused[rows] = 0
        assert gradient[rows].abs().min() > 0
        assert not unused.any()


@pytest.mark.parametrize("stride", [1, 2])
def test_nothing_is_kept_but_the_input_and_the_kernel(stride: int) -> None:
    conv = OctConv2d(6, 8, 3, low_in=2, low_out=4, stride=stride, padding=1)
    high, low = torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(2, 2, 4, 4, requires_grad=True)
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        conv((high, low))
    places = {x.data_ptr() for x in (high, low, conv.weight)}
    assert {x.data_ptr() for x in kept} == places


def test_autocast_convolves_in_its_format_and_gives_the_kernel_its_own() -> None:
    torch.manual_seed(0)
    conv = OctConv2d(16, 16, 3, low_in=8, low_out=8, padding=1)
    x = (torch.randn(2, 8, 8, 8), torch.randn(2, 8, 4, 4))
    want = conv(x)
    (exact,) = torch.autograd.grad(sum(branch.square().sum() for branch in want), [conv.weight])
    with torch.autocast("cpu", torch.bfloat16):
        got = conv(x)
    (gradient,) = torch.autograd.grad(sum(branch.float().square().sum() for branch in got), [conv.weight])
    assert {branch.dtype for branch in got} == {torch.bfloat16}
    assert gradient.dtype == torch.float32
    assert (gradient - exact).norm() < 0.02 * exact.norm()
