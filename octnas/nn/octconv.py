"""Octave convolution ("Drop an Octave", arXiv 1904.05049) on one dense weight.

The four kernels of the paper are the blocks of one ordinary kernel W (C_out, C_in / groups, k, k) whose
channels are ordered [high | low], so that the parameters do not depend on alpha. With h and l the two
branches of the input, P the 2x2 average and U nearest upsampling, and [a, b] concatenation:

    stride 1    high = conv(h, W_hh) + U conv(l, W_lh)      low = conv([P h, l], W[ho:])
    stride 2    high = conv([P h, l], W[:ho])               low = conv(P [P h, l], W[ho:])

which is the paper's table of paths (stride 2 pools, it never strides) with the sums over input branches
done inside one convolution wherever both have the same size.

Where the branches do not hold the first and the last channels (a grouped layout, a concatenation), the
kernel's rows and columns are put into the branches' order before it is cut.

In 3D the octave is over space: kernels are (k_T, k, k), strides over time are those of the convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from octnas.architecture import Alpha, Downsample
from octnas.backbones.orders import branch_order
from octnas.errors import ArchitectureError, unknown_name
from octnas.nn.autograd import Halving, Keeping, steps_apply, under_autocast
from octnas.nn.geometry import check_depthwise, check_octave, low_of, sides
from octnas.nn.maps import Map, Size, concat, nominal_size, pool, upsample
from octnas.nn.short_clips import conv3d, is_short

__all__ = ["OctConv2d", "OctConv3d", "OctaveConv"]


class OctaveConv(nn.Module):
    """A convolution whose last input and output channels may live one octave lower.

    `weight` is that of the ordinary convolution, (out_channels, in_channels / groups, k, k), and so is
    `bias`. With no low channels on either side it *is* the ordinary convolution: with stride 2 strided, or,
    with `downsample="pooled"`, 2x2 average-pooled and convolved with stride 1.

    Grouped, the low channels are the last `low / groups` of each group and every path is grouped. Depthwise
    (`groups == in_channels`, any multiplier) the low channels are the last ones, and no path crosses.

    Args:
        alpha_in, alpha_out: share of the channels that are low; `low_in`, `low_out` give the integer instead.
        padding: of an octave layer, "same" over height and width: dilation * (k - 1) / 2, with k odd.
        downsample: what a layer with stride 2 and no low channels does.
        order_in, order_out: the channels of the input and of the output as the two branches have them, high
            ones first (`LayerTable.channel_order`); None: their own order, or that of the groups.

    Raises:
        ArchitectureError: the layer cannot be computed on two octaves; the message names the remedy.
    """

    dims: ClassVar[int]
    _convolve: ClassVar[Any]
    order_in: Tensor | None
    order_out: Tensor | None

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
        order_in: Sequence[int] | None = None,
        order_out: Sequence[int] | None = None,
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
        self.kernel_size = sides("kernel_size", kernel_size, 1, self.dims)
        self.stride = sides("stride", stride, 1, self.dims)
        self.padding = sides("padding", padding, 0, self.dims)
        self.dilation = sides("dilation", dilation, 1, self.dims)
        self.groups = groups
        self.downsample: Downsample = downsample
        self.depthwise = depthwise = 1 < groups == in_channels
        self.low_in = low_of("in", alpha_in, low_in, in_channels, groups, depthwise=depthwise)
        self.low_out = low_of("out", alpha_out, low_out, out_channels, groups, depthwise=depthwise)
        if self.octave or (self._halves and downsample == "pooled"):
            check_octave(
                "an octave layer" if self.octave else "a pooled layer",
                kernel=self.kernel_size,
                stride=self.stride,
                padding=self.padding,
                dilation=self.dilation,
            )
        if depthwise:
            check_depthwise(in_channels, out_channels, self.low_in, self.low_out)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.keep_orders(order_in, order_out)
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    @property
    def octave(self) -> bool:
        """Whether any channel of the input or of the output is low."""
        return self.low_in > 0 or self.low_out > 0

    @property
    def _halves(self) -> bool:
        return self.stride[-2:] != (1, 1)

    def reset_parameters(self) -> None:
        """Initialises as `nn.Conv2d` and `nn.Conv3d` do."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor | Map, size: Size | None = None) -> Map:
        """(high, low) -> (high, low), each None where it has no channels.

        Args:
            x: (B, C_high, H, W) and (B, C_low, ceil(H/2), ceil(W/2)), in 3D with T frames before H; a tensor
                is a map without low.
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
        weight, bias = self._ordered()
        if self.depthwise:
            return self._uncrossed(high, low, weight, bias)
        if high is not None and self._is_one_step(high, weight):
            step = Halving if self._halves else Keeping
            high, low = under_autocast(high, low)
            geometry = self._stride_time(), self.padding, self.dilation
            return cast(Map, step.apply(high, low, weight, self.low_out, geometry))
        if self._halves:
            return self._halving(high, low, weight, bias)
        return self._keeping(high, low, weight, bias, size)

    def _is_one_step(self, high: Tensor, weight: Tensor) -> bool:
        """Whether `octnas.nn.autograd` has this layer."""
        if self.groups > 1 or self.bias is not None or not steps_apply(weight, high):
            return False
        if is_short(high, weight, self.dilation):
            return False
        height, width = high.shape[-2:]
        least = 4 if self._halves and self.low_out else 2
        return height % least == 0 and width % least == 0

    def _ordinary(self, x: Tensor) -> Tensor:
        if self.downsample == "pooled" and self._halves:
            return self._conv(pool(x), self.weight, self.bias)
        out = self._convolve(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return cast(Tensor, out)

    def _keeping(
        self, high: Tensor | None, low: Tensor | None, weight: Tensor, bias: Tensor | None, size: Size | None
    ) -> Map:
        """Stride 1 over space."""
        top, bottom = self._rows(weight)
        bias_high, bias_low = self._biases(bias)
        out_high = out_low = None
        if self.low_out:
            merged = concat(None if high is None else pool(high), low, self.groups)
            out_low = self._conv(merged, bottom, bias_low)
        if self.low_out == self.out_channels:
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

    def _halving(self, high: Tensor | None, low: Tensor | None, weight: Tensor, bias: Tensor | None) -> Map:
        """Stride 2: the low input already has the size of the high output."""
        top, bottom = self._rows(weight)
        bias_high, bias_low = self._biases(bias)
        merged = concat(None if high is None else pool(high), low, self.groups)
        out_high = self._conv(merged, top, bias_high) if self.low_out < self.out_channels else None
        out_low = self._conv(pool(merged), bottom, bias_low) if self.low_out else None
        return out_high, out_low

    def _uncrossed(self, high: Tensor | None, low: Tensor | None, weight: Tensor, bias: Tensor | None) -> Map:
        """Depthwise: each branch by itself."""
        out: list[Tensor | None] = []
        for branch, kernel, offset in zip((high, low), self._rows(weight), self._biases(bias), strict=True):
            if branch is None:
                out.append(None)
                continue
            source = pool(branch) if self._halves else branch
            out.append(self._conv(source, kernel, offset, source.shape[1]))
        return out[0], out[1]

    def _conv(self, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int | None = None) -> Tensor:
        """The convolution of a path, which has a stride over time alone."""
        out = self._convolve(
            x, weight, bias, self._stride_time(), self.padding, self.dilation, groups or self.groups
        )
        return cast(Tensor, out)

    def _stride_time(self) -> tuple[int, ...]:
        return (*self.stride[:-2], 1, 1)

    def keep_orders(self, order_in: Sequence[int] | None, order_out: Sequence[int] | None) -> None:
        """Takes the orders of the branches' channels, which go with the numbers of low ones."""
        if self.groups > 1 and not self.depthwise and order_out is None:
            order_out = branch_order([(self.out_channels, self.low_out, self.groups)])
        for name, order in (("order_in", order_in), ("order_out", order_out)):
            # No part of the state dict, which does not depend on alpha; on the device of the weights.
            places = None if order is None else torch.tensor(order, device=self.weight.device)
            self.register_buffer(name, places, persistent=False)

    def _ordered(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with their channels in the order of the branches."""
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        if self.order_out is not None:
            weight = weight.index_select(0, self.order_out)
            bias = None if bias is None else bias.index_select(0, self.order_out)
        return weight if self.order_in is None else weight.index_select(1, self.order_in), bias

    def _rows(self, dense: Tensor) -> tuple[Tensor, Tensor]:
        """An ordered weight or bias cut into the output channels of the high and of the low branch."""
        if not self.low_out or self.low_out == self.out_channels:
            return dense, dense  # the other branch is not computed
        # Split, not sliced: the gradient is one concatenation, where a slice's is a dense map of zeros.
        high, low = torch.split(dense, [self.out_channels - self.low_out, self.low_out])
        return high, low

    def _biases(self, bias: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        return (None, None) if bias is None else self._rows(bias)

    def _columns(self, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """A kernel cut into the input channels (of each group) of the high and of the low branch."""
        low = self.low_in // self.groups
        first, second = torch.split(kernel, [kernel.shape[1] - low, low], 1)
        return first, second

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, "
            f"bias={self.bias is not None}, low_in={self.low_in}, low_out={self.low_out}, "
            f"downsample={self.downsample!r}"
        )


class OctConv2d(OctaveConv):
    """An octave convolution of images; see `OctaveConv`."""

    dims = 2
    _convolve = staticmethod(F.conv2d)


class OctConv3d(OctaveConv):
    """An octave convolution of clips and volumes, over space alone; see `OctaveConv`.

    Kernel, stride, padding and dilation are one number, or three: (time, height, width).
    """

    dims = 3
    _convolve = staticmethod(conv3d)
