"""What a layer of a deployed network is made of: its dense kernel, cut by branches into convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from octnas.architecture import Architecture
from octnas.backbones import Activation, Conv, LayerTable
from octnas.costs.forms import conv_pools
from octnas.export.convs import DeployedConv
from octnas.nn.maps import Size, upsample

__all__ = ["Folded", "OctaveNet", "folded", "present", "risen", "scale_and_shift"]

_ALL = slice(None)


class OctaveNet(Protocol):
    """What `deploy` reads of a network: its architecture, its table, and modules at the table's paths."""

    @property
    def architecture(self) -> Architecture: ...

    @property
    def table(self) -> LayerTable: ...

    def get_submodule(self, target: str) -> nn.Module: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A dense kernel (C_out, C_in / groups, [t,] k, k) with its batch-norm folded in, and where it is cut."""

    weight: Tensor
    bias: Tensor | None
    low_in: int
    low_out: int
    stride: int
    """Over height and width."""
    stride_time: int
    groups: int
    depthwise: bool
    activation: Activation | None
    pools: bool
    """Whether a layer with stride 2 and no low channels pools before it convolves."""
    dilation: int = 1
    """Over height and width."""
    dilation_time: int = 1

    @property
    def high_in(self) -> int:
        """Input channels of the high branch."""
        return self.weight.shape[1] * self.groups - self.low_in

    @property
    def high_out(self) -> int:
        """Output channels of the high branch."""
        return self.weight.shape[0] - self.low_out

    @property
    def rows(self) -> tuple[slice, slice]:
        """Where the kernels of the high and of the low output are."""
        return slice(None, self.high_out), slice(self.high_out, None)

    @property
    def columns(self) -> tuple[slice, slice]:
        """Where, in each group, the weights of the high and of the low input are."""
        cut = self.high_in // self.groups
        return slice(None, cut), slice(cut, None)

    def conv(
        self,
        rows: slice = _ALL,
        columns: slice = _ALL,
        *,
        bias: bool = True,
        activates: bool = False,
        stride: int = 1,
    ) -> DeployedConv:
        """A convolution of some of the output and input channels; its stride over space is 1 by default."""
        weight = self.weight[rows, columns]
        over_time = weight.dim() == 5
        strides = [*([self.stride_time] if over_time else []), stride, stride]
        dilations = [*([self.dilation_time] if over_time else []), self.dilation, self.dilation]
        return DeployedConv(
            weight,
            self.bias[rows] if bias and self.bias is not None else None,
            padding=[each * (size // 2) for each, size in zip(dilations, weight.shape[2:], strict=True)],
            stride=strides,
            dilation=dilations,
            groups=weight.shape[0] if self.depthwise else self.groups,
            activation=self.activation if activates else None,
        )


def present(branch: Tensor | None) -> Tensor:
    """A branch that has channels."""
    assert branch is not None
    return branch


def risen(low: Tensor, size: Size, add: Tensor | None) -> Tensor:
    """What the low map gives to the high one, with the residual sum on it."""
    rise = upsample(low, size)
    return rise if add is None else rise + add


def folded(
    net: OctaveNet,
    node: Conv,
    lows: Mapping[str, int],
    order: tuple[int, ...] | None,
    activation: Activation | None,
) -> Folded:
    """The dense kernel and bias of a convolution and the batch-norm behind it, folded in float64.

    Its channels come as the maps have them: `order` for the output; the columns of a grouped kernel are in
    order within their group.
    """
    conv, table, low_channels = net.get_submodule(node.name), net.table, net.architecture.low_channels
    weight = cast(Tensor, conv.weight).detach()
    kernel = weight.double()
    bias: Tensor | None = None
    if isinstance(conv.bias, Tensor):
        bias = conv.bias.detach().double()
    if node.norm is not None:
        scale, shift = scale_and_shift(net, node.norm)
        kernel = kernel * scale.view(-1, *[1] * (kernel.dim() - 1))
        bias = shift if bias is None else shift + bias * scale
    if order is not None:
        kernel, bias = kernel[list(order)], None if bias is None else bias[list(order)]
    columns = table.channel_order(node.reads, low_channels) if node.groups == 1 else None
    if columns is not None:
        kernel = kernel[:, list(columns)]
    return Folded(
        weight=kernel.to(weight.dtype),
        bias=None if bias is None else bias.to(weight.dtype),
        low_in=table.low_in(node, lows),
        low_out=lows[node.name],
        stride=node.stride,
        stride_time=node.stride_time,
        groups=node.groups,
        depthwise=node.depthwise,
        activation=activation,
        pools=net.architecture.downsample == "pooled" and conv_pools(node),
        dilation=node.dilation,
        dilation_time=node.dilation_time,
    )


def scale_and_shift(net: OctaveNet, name: str) -> tuple[Tensor, Tensor]:
    """What a batch-norm multiplies each channel with and adds to it, (C,) each, in float64."""
    norm = net.get_submodule(name)
    mean, var = (norm.get_buffer(each).double() for each in ("running_mean", "running_var"))
    scale = torch.rsqrt(var + float(cast(float, norm.eps))) * cast(Tensor, norm.weight).detach().double()
    return scale, cast(Tensor, norm.bias).detach().double() - mean * scale
