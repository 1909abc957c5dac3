"""Octave convolution ("Drop an Octave", arXiv 1904.05049) on one dense weight.

The four kernels of the paper are the blocks of one ordinary kernel W (C_out, C_in / groups, k, k) whose
channels are ordered [high | low], so that the parameters do not depend on alpha. With h and l the two
branches of the input, P the 2x2 average and U nearest upsampling, and [a, b] concatenation:

    stride 1    high = conv(h, W_hh) + U conv(l, W_lh)      low = conv([P h, l], W[ho:])
    stride 2    high = conv([P h, l], W[:ho])               low = conv(P [P h, l], W[ho:])

which is the paper's table of paths (stride 2 pools, it never strides) with the sums over input branches
done inside one convolution wherever both have the same size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from octnas.architecture import Alpha, Downsample, low_channels
from octnas.errors import ArchitectureError, unknown_name
from octnas.nn.autograd import Halving, Keeping, steps_apply, under_autocast
from octnas.nn.maps import Map, Size, by_group, concat, nominal_size, pool, upsample

__all__ = ["OctConv2d"]

Pair = tuple[int, int]


class OctConv2d(nn.Module):
    """A convolution whose last input and output channels may live one octave lower.

    `weight` is that of the ordinary convolution, (out_channels, in_channels / groups, k, k), and so is
    `bias`. With no low channels on either side it *is* the ordinary convolution: with stride 2 strided, or,
    with `downsample="pooled"`, 2x2 average-pooled and convolved with stride 1.

    Grouped, the low channels are the last `low / groups` of each group and every path is grouped. Depthwise
    (`groups == in_channels`, any multiplier) the low channels are the last ones, and no path crosses.

    Args:
        alpha_in, alpha_out: share of the channels that are low; `low_in`, `low_out` give the integer instead.
        padding: of an octave layer, "same": dilation * (k - 1) / 2, with k odd.
        downsample: what a layer with stride 2 and no low channels does.

    Raises:
        ArchitectureError: the layer cannot be computed on two octaves; the message names the remedy.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        alpha_in: Alpha = 0.0,
        alpha_out: Alpha = 0.0,
        low_in: int | None = None,
        low_out: int | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = False,
        downsample: Downsample = "strided",
    ) -> None:
        super().__init__()
        if downsample not in get_args(Downsample):
            raise unknown_name("downsample", str(downsample), get_args(Downsample))
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ArchitectureError(
                f"`in_channels` and `out_channels` must be positive multiples of `groups`, "
                f"but got {in_channels=}, {out_channels=}, {groups=}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair("kernel_size", kernel_size, 1)
        self.stride = _pair("stride", stride, 1)
        self.padding = _pair("padding", padding, 0)
        self.dilation = _pair("dilation", dilation, 1)
        self.groups = groups
        self.downsample: Downsample = downsample
        self.depthwise = 1 < groups == in_channels
        self.low_in = self._low("in", alpha_in, low_in, in_channels)
        self.low_out = self._low("out", alpha_out, low_out, out_channels)
        self._check()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    @property
    def octave(self) -> bool:
        """Whether any channel of the input or of the output is low."""
        return self.low_in > 0 or self.low_out > 0

    def reset_parameters(self) -> None:
        """Initialises as `nn.Conv2d` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor | Map, size: Size | None = None) -> Map:
        """(high, low) -> (high, low), each None where it has no channels.

        Args:
            x: (B, C_high, H, W) and (B, C_low, ceil(H/2), ceil(W/2)); a tensor is a map without low.
            size: nominal (H, W) of the input. Where there is a high branch, that one's size is taken; where
                there is none, the default is twice the low branch's, which is right for even sizes.
        """
        high, low = (x, None) if isinstance(x, Tensor) else x
        n_high = 0 if high is None else high.shape[1]
        n_low = 0 if low is None else low.shape[1]
        if n_low != self.low_in or n_high != self.in_channels - self.low_in:
            raise ArchitectureError(
                f"the input must have {self.in_channels - self.low_in} high and {self.low_in} low channels, "
                f"but got {n_high} and {n_low}"
            )
        if not self.octave:
            assert high is not None
            return self._ordinary(high), None
        if self.depthwise:
            return self._uncrossed(high, low)
        if high is not None and self._is_one_step(high):
            step = Halving if self.stride[0] == 2 else Keeping
            high, low = under_autocast(high, low)
            return cast(Map, step.apply(high, low, self.weight, self.low_out, self.padding, self.dilation))
        if self.stride[0] == 2:
            return self._halving(high, low)
        return self._keeping(high, low, size)

    def _is_one_step(self, high: Tensor) -> bool:
        """Whether `octnas.nn.autograd` has this layer."""
        if self.groups > 1 or self.bias is not None or not steps_apply(self.weight, high):
            return False
        height, width = high.shape[-2:]
        least = 4 if self.stride[0] == 2 and self.low_out else 2
        return height % least == 0 and width % least == 0

    def _ordinary(self, x: Tensor) -> Tensor:
        if self.downsample == "pooled" and self.stride[0] == 2:
            return self._conv(pool(x), self.weight, self.bias)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def _keeping(self, high: Tensor | None, low: Tensor | None, size: Size | None) -> Map:
        """Stride 1."""
        n_high = self.out_channels - self.low_out
        top, bottom = self._rows(self.weight)
        bias_high, bias_low = self._bias()
        out_high = out_low = None
        if self.low_out:
            merged = concat(None if high is None else pool(high), low, self.groups)
            out_low = self._conv(merged, bottom, bias_low)
        if not n_high:
            return None, out_low
        if low is None:
            assert high is not None
            return self._conv(high, top, bias_high), out_low
        if high is None:
            return upsample(self._conv(low, top, bias_high), nominal_size(high, low, size)), out_low
        within, across = self._columns(top)
        out_high = self._conv(high, within, bias_high)
        rise = upsample(self._conv(low, across, None), nominal_size(high, low, size))
        # In place on the upsampled map: no third map of full size.
        return rise.add_(out_high), out_low

    def _halving(self, high: Tensor | None, low: Tensor | None) -> Map:
        """Stride 2: the low input already has the size of the high output."""
        top, bottom = self._rows(self.weight)
        bias_high, bias_low = self._bias()
        merged = concat(None if high is None else pool(high), low, self.groups)
        out_high = self._conv(merged, top, bias_high) if self.low_out < self.out_channels else None
        out_low = self._conv(pool(merged), bottom, bias_low) if self.low_out else None
        return out_high, out_low

    def _uncrossed(self, high: Tensor | None, low: Tensor | None) -> Map:
        """Depthwise: each branch by itself."""
        weights, biases = self._rows(self.weight), self._bias()
        out: list[Tensor | None] = []
        for branch, weight, bias in zip((high, low), weights, biases, strict=True):
            if branch is None:
                out.append(None)
                continue
            source = pool(branch) if self.stride[0] == 2 else branch
            out.append(F.conv2d(source, weight, bias, 1, self.padding, self.dilation, source.shape[1]))
        return out[0], out[1]

    def _conv(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, 1, self.padding, self.dilation, self.groups)

    def _rows(self, dense: Tensor) -> tuple[Tensor, Tensor]:
        """A dense weight or bias cut into the output channels of the high and of the low branch."""
        if not self.low_out or self.low_out == self.out_channels:
            return dense, dense  # the other branch is not computed
        # Split, not sliced: the gradient is one concatenation, where a slice's is a dense map of zeros.
        sizes = [self.out_channels - self.low_out, self.low_out]
        if self.groups == 1 or self.depthwise:
            high, low = torch.split(dense, sizes)
            return high, low
        high, low = torch.split(by_group(dense, self.groups, 0), [n // self.groups for n in sizes], 1)
        return high.flatten(0, 1), low.flatten(0, 1)

    def _columns(self, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """A kernel cut into the input channels (of each group) of the high and of the low branch."""
        low = self.low_in // self.groups
        first, second = torch.split(kernel, [kernel.shape[1] - low, low], 1)
        return first, second

    def _bias(self) -> tuple[Tensor | None, Tensor | None]:
        return (None, None) if self.bias is None else self._rows(self.bias)

    def _low(self, side: Literal["in", "out"], alpha: Alpha, low: int | None, channels: int) -> int:
        if low is None:
            low = low_channels(alpha, channels)
        elif alpha != 0:
            raise ArchitectureError(
                f"give `alpha_{side}` or `low_{side}`, not both, but got {alpha} and {low}"
            )
        if not 0 <= low <= channels:
            raise ArchitectureError(f"`0 <= low_{side} <= {channels}` must hold, but got low_{side}={low}")
        if not self.depthwise and low % self.groups:
            each = channels // self.groups
            allowed = f"multiples of 1/{each}"
            if each <= 16:
                allowed = ", ".join(f"{n / each:g}" for n in range(each + 1))
            raise ArchitectureError(
                f"`low_{side}` must be a multiple of groups={self.groups}, but got {low} "
                f"of {channels} channels: the allowed alphas are {allowed}"
            )
        return low

    def _check(self) -> None:
        """Refuses what has no meaning on two octaves."""
        pooled = self.downsample == "pooled" and self.stride != (1, 1)
        if not self.octave and not pooled:
            return
        kind = "an octave layer" if self.octave else "a pooled layer"
        if self.stride not in ((1, 1), (2, 2)):
            raise ArchitectureError(f"the stride of {kind} must be 1 or 2, but got stride={self.stride}")
        same = tuple(d * (k - 1) // 2 for d, k in zip(self.dilation, self.kernel_size, strict=True))
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ArchitectureError(f"the kernel of {kind} must be odd, but got {self.kernel_size}")
        if self.padding != same:
            raise ArchitectureError(
                f"the padding of {kind} must be dilation * (k - 1) / 2 = {same}, but got {self.padding}"
            )
        if self.depthwise and self.low_out * self.in_channels != self.low_in * self.out_channels:
            wanted = self.low_in * self.out_channels // self.in_channels
            raise ArchitectureError(
                f"a depthwise layer has no cross paths, so `low_out` must be {wanted} "
                f"for low_in={self.low_in}, but got {self.low_out}: repartition its input or its output"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, "
            f"bias={self.bias is not None}, low_in={self.low_in}, low_out={self.low_out}, "
            f"downsample={self.downsample!r}"
        )


def _pair(name: str, value: int | Sequence[int], least: int) -> Pair:
    sides = (value, value) if isinstance(value, int) else tuple(value)
    if len(sides) != 2 or min(sides) < least:
        raise ArchitectureError(
            f"`{name}` must be one or two whole numbers of {least} or more, but got {value!r}"
        )
    return sides[0], sides[1]
