"""What a layer of a deployed network is made of: its dense kernel, cut by branches into convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from octnas.backbones import Activation
from octnas.export.convs import DeployedConv
from octnas.nn.maps import Size, upsample

__all__ = ["Folded", "present", "risen"]

_ALL = slice(None)


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
        space, time = [stride, stride], [self.stride_time] if weight.dim() == 5 else []
        return DeployedConv(
            weight,
            self.bias[rows] if bias and self.bias is not None else None,
            padding=[size // 2 for size in weight.shape[2:]],
            stride=[*time, *space],
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
