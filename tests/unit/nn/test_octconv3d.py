"""OctConv3d: the octave over space, with kernels and strides over time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from naive_network import pooled, upsampled
from torch import Tensor

from octnas.errors import ArchitectureError
from octnas.nn import OctBatchNorm3d, OctConv2d, OctConv3d

Branch = Tensor | None


def four_paths(conv: OctConv3d, high: Branch, low: Branch, size: tuple[int, int]) -> tuple[Branch, Branch]:
    """The paper's table; a stride over time is every path's."""
    halves = conv.stride[1] == 2
    stride = (conv.stride[0], 1, 1)
    hi, ho = conv.in_channels - conv.low_in, conv.out_channels - conv.low_out

    def path(x: Tensor, rows: slice, columns: slice) -> Tensor:
        return F.conv3d(x, conv.weight[rows, columns], None, stride, conv.padding)

    to_high: list[Tensor] = []
    to_low: list[Tensor] = []
    if high is not None:
        source = pooled(high) if halves else high
        if ho:
            to_high.append(path(source, slice(ho), slice(hi)))
        if conv.low_out:
            to_low.append(path(pooled(source), slice(ho, None), slice(hi)))
    if low is not None:
        if ho:
            across = path(low, slice(ho), slice(hi, None))
            to_high.append(across if halves else upsampled(across, size))
        if conv.low_out:
            to_low.append(path(pooled(low) if halves else low, slice(ho, None), slice(hi, None)))
    return (torch.stack(to_high).sum(0) if to_high else None), (
        torch.stack(to_low).sum(0) if to_low else None
    )


def branches(conv: OctConv3d, size: tuple[int, int], last: bool) -> tuple[Branch, Branch]:
    rng = torch.Generator().manual_seed(1)
    found: list[Branch] = []
    for channels, (height, width) in (
        (conv.in_channels - conv.low_in, size),
        (conv.low_in, (-(-size[0] // 2), -(-size[1] // 2))),
    ):
        x = torch.randn(2, channels, 5, height, width, generator=rng, dtype=torch.double)
        x = x.contiguous(memory_format=torch.channels_last_3d) if last else x
        found.append(x.requires_grad_() if channels else None)
    return found[0], found[1]


@pytest.mark.parametrize("lows", [(3, 4), (0, 4), (3, 0), (6, 4), (3, 8), (6, 0), (0, 8)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize(("size", "kernel", "last"), [((8, 4), (3, 3, 3), True), ((7, 6), (3, 1, 1), False)])
def test_outputs_and_gradients_equal_the_four_paths(
    lows: tuple[int, int],
    stride: tuple[int, int, int],
    size: tuple[int, int],
    kernel: tuple[int, int, int],
    last: bool,
) -> None:
    """Even sizes run as single steps of differentiation, odd ones as plain operations."""
    torch.manual_seed(0)
    padding = tuple(k // 2 for k in kernel)
    conv = OctConv3d(6, 8, kernel, low_in=lows[0], low_out=lows[1], stride=stride, padding=padding).double()
    high, low = branches(conv, size, last)
    ours, theirs = conv((high, low), size), four_paths(conv, high, low, size)
    inputs = [x for x in (high, low, conv.weight) if x is not None]
    weights = [None if x is None else torch.randn_like(x) for x in theirs]
    gradients = []
    for out in (ours, theirs):
        for branch, want in zip(out, theirs, strict=True):
            assert (branch is None) == (want is None)
        total = sum((y * w).sum() for y, w in zip(out, weights, strict=True) if y is not None)
        gradients.append(torch.autograd.grad(total, inputs))
    torch.testing.assert_close([y for y in ours if y is not None], [y for y in theirs if y is not None])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_without_a_kernel_over_time_it_is_the_2d_layer_frame_by_frame(groups: int, stride: int) -> None:
    torch.manual_seed(0)
    lows = {"low_in": 4, "low_out": 4, "groups": groups, "bias": True}
    flat = OctConv2d(8, 8, 3, stride=stride, padding=1, **lows)  # type: ignore[arg-type]
    deep = OctConv3d(
        8,
        8,
        (1, 3, 3),
        stride=(1, stride, stride),
        padding=(0, 1, 1),
        **lows,  # type: ignore[arg-type]
    )
    deep.load_state_dict({"weight": flat.weight.unsqueeze(2), "bias": flat.bias})
    high, low = torch.randn(2, 4, 3, 9, 7), torch.randn(2, 4, 3, 5, 4)
    got = deep((high, low))
    for t in range(3):
        want = flat((high[:, :, t], low[:, :, t]))
        for ours, theirs in zip(got, want, strict=True):
            torch.testing.assert_close(ours[:, :, t], theirs, rtol=1e-4, atol=1e-5)


def test_without_low_channels_it_is_the_ordinary_convolution() -> None:
    plain = torch.nn.Conv3d(4, 6, (3, 5, 5), (2, 2, 2), (1, 2, 2))
    conv = OctConv3d(4, 6, (3, 5, 5), stride=2, padding=(1, 2, 2), bias=True)
    conv.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 5, 9, 8)
    high, low = conv(x)
    assert low is None
    assert torch.equal(high, plain(x))


def test_pooled_downsampling_pools_space_and_strides_over_time() -> None:
    conv = OctConv3d(4, 6, 3, stride=2, padding=1, downsample="pooled")
    x = torch.randn(2, 4, 5, 9, 8)
    want = F.conv3d(pooled(x), conv.weight, None, (2, 1, 1), 1)
    torch.testing.assert_close(conv(x)[0], want)


def test_normalisation_in_3d_has_the_state_of_the_ordinary_one() -> None:
    norm, plain = OctBatchNorm3d(6, 2), torch.nn.BatchNorm3d(6)
    assert {k: v.shape for k, v in norm.state_dict().items()} == {
        k: v.shape for k, v in plain.state_dict().items()
    }
    x = torch.randn(2, 6, 3, 4, 4)
    high, low = norm((x[:, :4], x[:, 4:]))
    torch.testing.assert_close(torch.cat((high, low), 1), plain(x))
    torch.testing.assert_close(norm.running_var, plain.running_var)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": (1, 2)}, "one or three whole numbers"),
        ({"stride": (1, 1, 2)}, r"stride of an octave layer must be 1 or 2, but got stride=\(1, 2\)"),
        ({"padding": (0, 0, 0)}, r"padding of an octave layer must be .*\(1, 1\), but got \(0, 0\)"),
    ],
)
def test_refuses_what_has_no_meaning_on_two_octaves(options: dict[str, object], message: str) -> None:
    options = {"padding": 1, **options}
    with pytest.raises(ArchitectureError, match=message):
        OctConv3d(8, 8, 3, alpha_in=0.5, alpha_out=0.5, **options)  # type: ignore[arg-type]
