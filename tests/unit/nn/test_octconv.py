"""OctConv2d against the paper's four paths, each computed by itself and group by group."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from octnas.errors import ArchitectureError
from octnas.nn import OctConv2d

Branch = Tensor | None


def naive_pool(x: Tensor) -> Tensor:
    """Mean of the pixels that exist in each 2x2 window."""
    height, width = x.shape[-2:]
    x = F.pad(x, (0, width % 2, 0, height % 2), value=float("nan"))
    windows = x.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))
    return windows.nanmean((-1, -3))


def naive_upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x.repeat_interleave(2, -1).repeat_interleave(2, -2)[..., : size[0], : size[1]]


def four_paths(conv: OctConv2d, high: Branch, low: Branch, size: tuple[int, int]) -> tuple[Branch, Branch]:
    """The paper's table for a dense or grouped layer; `size` is the nominal size of the input."""
    groups, halves = conv.groups, conv.stride == (2, 2)
    og, ig = conv.out_channels // groups, conv.in_channels // groups
    ho, hi = og - conv.low_out // groups, ig - conv.low_in // groups
    highs: list[Tensor] = []
    lows: list[Tensor] = []

    def path(x: Tensor, kernel: Tensor) -> Tensor:
        return F.conv2d(x, kernel, None, 1, conv.padding, conv.dilation)

    for g in range(groups):
        weight = conv.weight[g * og : (g + 1) * og]
        bias = torch.zeros(og) if conv.bias is None else conv.bias[g * og : (g + 1) * og]
        # The absent branch has no channels, and an empty convolution is no convolution.
        if ho:
            highs.append(bias[:ho, None, None])
        if ho < og:
            lows.append(bias[ho:, None, None])
        if hi:
            assert high is not None
            x = high[:, g * hi : (g + 1) * hi]
            x = naive_pool(x) if halves else x
            if ho:
                highs[-1] = highs[-1] + path(x, weight[:ho, :hi])
            if ho < og:
                lows[-1] = lows[-1] + path(naive_pool(x), weight[ho:, :hi])
        if hi < ig:
            assert low is not None
            x = low[:, g * (ig - hi) : (g + 1) * (ig - hi)]
            if ho:
                across = path(x, weight[:ho, hi:])
                highs[-1] = highs[-1] + (across if halves else naive_upsample(across, size))
            if ho < og:
                lows[-1] = lows[-1] + path(naive_pool(x) if halves else x, weight[ho:, hi:])
    return torch.cat(highs, 1) if ho else None, torch.cat(lows, 1) if ho < og else None


def branches(conv: OctConv2d, size: tuple[int, int], seed: int = 0) -> tuple[Branch, Branch]:
    rng = torch.Generator().manual_seed(seed)
    n_high, n_low = conv.in_channels - conv.low_in, conv.low_in
    low_size = (-(-size[0] // 2), -(-size[1] // 2))
    high = torch.randn(2, n_high, *size, generator=rng, requires_grad=True) if n_high else None
    low = torch.randn(2, n_low, *low_size, generator=rng, requires_grad=True) if n_low else None
    return high, low


def assert_same(ours: Branch, theirs: Branch) -> None:
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


ALPHAS = [(0.0, 0.5), (0.5, 0.0), (0.5, 0.5), (0.25, 0.75), (1.0, 0.5), (0.5, 1.0), (1.0, 0.0), (0.0, 1.0)]
ALPHAS += [(1.0, 1.0), (0.1, 0.29)]


@pytest.mark.parametrize(("alpha_in", "alpha_out"), ALPHAS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("size", "kernel", "dilation", "groups", "bias"),
    [
        ((12, 8), 3, 1, 1, False),
        ((13, 7), 3, 1, 1, True),
        ((9, 10), 1, 1, 1, True),
        ((11, 14), 3, 2, 1, True),
    ],
)
def test_outputs_and_gradients_equal_the_four_paths(
    alpha_in: float,
    alpha_out: float,
    stride: int,
    size: tuple[int, int],
    kernel: int,
    dilation: int,
    groups: int,
    bias: bool,
) -> None:
    torch.manual_seed(0)
    conv = OctConv2d(
        12,
        20,
        kernel,
        alpha_in=alpha_in,
        alpha_out=alpha_out,
        stride=stride,
        padding=dilation * (kernel - 1) // 2,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    check(conv, size)


@pytest.mark.parametrize(("alpha_in", "alpha_out"), [a for a in ALPHAS if a != (0.1, 0.29)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 12), (13, 9)])
def test_grouped_layers_cut_each_group(
    alpha_in: float, alpha_out: float, stride: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    conv = OctConv2d(
        16, 32, 3, alpha_in=alpha_in, alpha_out=alpha_out, stride=stride, padding=1, groups=4, bias=True
    )
    check(conv, size)


def check(conv: OctConv2d, size: tuple[int, int]) -> None:
    high, low = branches(conv, size)
    inputs = [x for x in (high, low, conv.weight, conv.bias) if x is not None]
    ours, theirs = conv((high, low), size), four_paths(conv, high, low, size)
    for our, their in zip(ours, theirs, strict=True):
        assert_same(our, their)
    weights = [None if x is None else torch.randn_like(x) for x in theirs]
    gradients = [
        torch.autograd.grad(
            sum((y * w).sum() for y, w in zip(out, weights, strict=True) if y is not None and w is not None),
            inputs,
        )
        for out in (ours, theirs)
    ]
    for our, their in zip(*gradients, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("low", [0, 3, 8])
def test_depthwise_has_no_cross_paths(stride: int, multiplier: int, low: int) -> None:
    torch.manual_seed(0)
    conv = OctConv2d(
        8,
        8 * multiplier,
        3,
        low_in=low,
        low_out=low * multiplier,
        stride=stride,
        padding=1,
        groups=8,
        bias=True,
        downsample="pooled",
    )
    high, low_map = branches(conv, (9, 12))
    assert conv.bias is not None
    got = conv((high, low_map))
    for branch, out, first in ((high, got[0], 0), (low_map, got[1], 8 - low)):
        assert (branch is None) == (out is None)
        if branch is None or out is None:
            continue
        source = naive_pool(branch) if stride == 2 else branch
        for channel in range(branch.shape[1]):
            for m in range(multiplier):
                row = (first + channel) * multiplier + m
                want = F.conv2d(source[:, channel : channel + 1], conv.weight[row : row + 1], padding=1)
                mine = out[:, channel * multiplier + m]
                torch.testing.assert_close(mine, want[:, 0] + conv.bias[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (3, 2, 2, 4), (2, 1, 1, 8)]
)
def test_without_low_channels_it_is_the_ordinary_convolution(
    stride: int, padding: int, dilation: int, groups: int
) -> None:
    plain = torch.nn.Conv2d(8, 16, 3, stride, padding, dilation, groups)
    conv = OctConv2d(8, 16, 3, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=True)
    conv.load_state_dict(plain.state_dict())
    x = torch.randn(2, 8, 13, 12)
    high, low = conv(x)
    assert low is None
    assert torch.equal(high, plain(x))


@pytest.mark.parametrize("size", [(12, 12), (13, 9)])
def test_pooled_downsampling_averages_and_then_convolves(size: tuple[int, int]) -> None:
    conv = OctConv2d(4, 6, 3, stride=2, padding=1, downsample="pooled")
    x = torch.randn(2, 4, *size)
    high, low = conv((x, None))
    assert low is None
    torch.testing.assert_close(high, F.conv2d(naive_pool(x), conv.weight, padding=1))


def test_a_map_without_high_branch_carries_its_nominal_size() -> None:
    conv = OctConv2d(4, 4, 1, alpha_in=1, alpha_out=0)
    low = torch.randn(1, 4, 7, 5)
    for size in ((13, 9), (14, 10), (13, 10)):
        high, _ = conv((None, low), size)
        torch.testing.assert_close(high, naive_upsample(F.conv2d(low, conv.weight), size))
    assert conv((None, low))[0].shape == (1, 4, 14, 10)
    with pytest.raises(ArchitectureError, match=r"nominal size.*\(12, 10\).*\(7, 5\)"):
        conv((None, low), (12, 10))


def test_low_channels_are_rounded_once_and_exactly() -> None:
    conv = OctConv2d(100, 10, 1, alpha_in=0.29, alpha_out=0.1)
    assert (conv.low_in, conv.low_out) == (29, 1)
    assert conv.weight.shape == (10, 100, 1, 1)
    same = OctConv2d(100, 10, 1, low_in=29, low_out=1)
    assert (same.low_in, same.low_out) == (29, 1)


def test_initialisation_is_that_of_the_ordinary_convolution() -> None:
    torch.manual_seed(3)
    plain = torch.nn.Conv2d(8, 16, 3, groups=2)
    torch.manual_seed(3)
    conv = OctConv2d(8, 16, 3, alpha_in=0.5, alpha_out=0.5, padding=1, groups=2, bias=True)
    assert torch.equal(plain.weight, conv.weight)
    assert plain.bias is not None
    assert conv.bias is not None
    assert torch.equal(plain.bias, conv.bias)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha_in": 0.5, "padding": 0}, r"padding of an octave layer must be .*\(1, 1\), but got \(0, 0\)"),
        ({"alpha_in": 0.5, "padding": 1, "dilation": 2}, r"\(2, 2\), but got \(1, 1\)"),
        ({"alpha_in": 0.5, "padding": 1, "stride": 3}, r"stride of an octave layer must be 1 or 2"),
        ({"alpha_in": 0.5, "padding": 1, "stride": (1, 2)}, r"stride of an octave layer must be 1 or 2"),
        ({"downsample": "pooled", "stride": 2}, "padding of a pooled layer"),
        ({"alpha_in": 0.125, "padding": 1, "groups": 4}, r"allowed alphas are 0, 0.5, 1"),
        ({"low_in": 3, "low_out": 4, "padding": 1, "groups": 8}, "depthwise.*must be 6 for low_in=3"),
        ({"low_in": 9, "padding": 1}, "0 <= low_in <= 8"),
        ({"low_in": 2, "alpha_in": 0.5, "padding": 1}, "not both"),
        ({"alpha_out": 1.5, "padding": 1}, "0 <= alpha <= 1"),
        ({"groups": 3}, "multiples of `groups`"),
        ({"downsample": "poled"}, "did you mean 'pooled'"),
        ({"stride": (1, 2, 3)}, "`stride` must be one or two"),
    ],
)
def test_refuses_what_has_no_meaning_on_two_octaves(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        OctConv2d(8, 16, 3, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_refuses_even_kernels_and_a_map_of_other_channels() -> None:
    with pytest.raises(ArchitectureError, match=r"kernel of an octave layer must be odd, but got \(2, 2\)"):
        OctConv2d(8, 8, 2, alpha_in=0.5)
    conv = OctConv2d(8, 8, 1, alpha_in=0.5)
    with pytest.raises(ArchitectureError, match="must have 4 high and 4 low channels, but got 8 and 0"):
        conv(torch.zeros(1, 8, 4, 4))
