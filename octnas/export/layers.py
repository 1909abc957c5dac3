"""The layers of a deployed network: one module for each form of `octnas.costs.plans`.

Each maps (high, low) to (high, low), None where a branch has no channels, with the residual sum (`add`, in
the layout of the output) and the ReLU of its block inside. Legend of shapes: B images, C channels, H and W
the *nominal* size in px, that of the high map; a low map has ceil(H / 2) x ceil(W / 2) px. Kernels are dense,
with channels ordered [high | low].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from octnas.costs.plans import Form
from octnas.export.convs import DeployedConv2d
from octnas.nn.maps import Map, Size, concat, pool, upsample

__all__ = ["Folded", "deployed_head", "deployed_layer", "deployed_maxpool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A dense kernel (C_out, C_in / groups, k, k) with its batch-norm folded in, and where it is cut."""

    weight: Tensor
    bias: Tensor
    low_in: int
    low_out: int
    padding: int
    stride: int
    groups: int
    relu: bool
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

    def conv(
        self,
        rows: slice = slice(None),
        columns: slice = slice(None),
        *,
        bias: bool = True,
        relu: bool = False,
    ) -> DeployedConv2d:
        """A convolution with stride 1 of some of the output and input channels."""
        return DeployedConv2d(
            self.weight[rows, columns],
            self.bias[rows] if bias else None,
            padding=self.padding,
            groups=self.groups,
            relu=relu,
        )


def deployed_layer(form: Form, folded: Folded) -> nn.Module:
    """The module of a form; `forward(high, low, size, add)` takes the nominal size of its output in px."""
    return _FORMS[form](folded)


def deployed_maxpool() -> nn.Module:
    """The stem's 3x3 max-pool with stride 2, with the signature of a layer."""
    return _MaxPool()


def deployed_head(linear: nn.Linear) -> nn.Module:
    """Global average and classifier with the signature of a layer: its high output is (B, classes)."""
    return _Head(linear)


class _MaxPool(nn.Module):
    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        return F.max_pool2d(_present(high), 3, 2, 1), None


class _Head(nn.Module):
    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        means = [branch.mean((2, 3)) for branch in (high, low) if branch is not None]
        return self.linear(means[0] if len(means) == 1 else torch.cat(means, 1)), None


class _ToAll(nn.Module):
    """Base of the forms with one convolution for both outputs."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self._split = [folded.high_out, folded.low_out]
        self._relu = folded.relu
        self.conv = folded.conv()


class _ToEach(nn.Module):
    """Base of the forms with one convolution, of all input channels, for each output that exists."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        high, low, relu = slice(None, folded.high_out), slice(folded.high_out, None), folded.relu
        self.high = folded.conv(high, relu=relu) if folded.high_out else None
        self.low = folded.conv(low, relu=relu) if folded.low_out else None

    def _each(self, fine: Tensor, add: Map) -> Map:
        """The outputs, of a map at the resolution of the high one."""
        return (
            None if self.high is None else self.high(fine, add[0]),
            None if self.low is None else self.low(pool(fine), add[1]),
        )


class _Plain(nn.Module):
    """No low channels on either side."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self._pools = folded.pools
        self.conv = DeployedConv2d(
            folded.weight,
            folded.bias,
            padding=folded.padding,
            stride=1 if folded.pools else folded.stride,
            groups=folded.groups,
            relu=folded.relu,
        )

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        high = _present(high)
        return self.conv(pool(high) if self._pools else high, add[0]), None


class _Concat(nn.Module):
    """Stride 1 from a map with high channels, in the fewest multiply-adds: at most three convolutions."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        high, low = slice(None, folded.high_out), slice(folded.high_out, None)
        within, across = slice(None, folded.high_in), slice(folded.high_in, None)
        relu = folded.relu
        self.high = folded.conv(high, within, relu=relu) if folded.high_out else None
        self.cross = folded.conv(high, across, bias=False) if folded.high_out and folded.low_in else None
        self.low = folded.conv(low, relu=relu) if folded.low_out else None

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        high = _present(high)
        coarse = None if self.low is None else self.low(concat(pool(high), low), add[1])
        if self.high is None:
            return None, coarse
        rise = add[0] if self.cross is None else _risen(self.cross(low), size, add[0])
        return self.high(high, rise), coarse


class _LowToAll(nn.Module):
    """All four paths at stride 1: one convolution of the low map for both outputs."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        high, low = slice(None, folded.high_out), slice(folded.high_out, None)
        within = slice(None, folded.high_in)
        self._split = [folded.high_out, folded.low_out]
        self.high = folded.conv(high, within, relu=folded.relu)
        self.down = folded.conv(low, within, relu=folded.relu)
        self.low = folded.conv(columns=slice(folded.high_in, None), bias=False)

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        high = _present(high)
        rise, stay = torch.split(self.low(low), self._split, 1)
        stay = _dense(stay) if add[1] is None else stay + add[1]
        return self.high(high, _risen(rise, size, add[0])), self.down(pool(high), stay)


class _HighToAll(nn.Module):
    """1x1 at stride 1: one convolution of the high map for both outputs, pooled after."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self._split = [folded.high_out, folded.low_out]
        self._relu = folded.relu
        self.high = folded.conv(columns=slice(None, folded.high_in))
        self.low = folded.conv(columns=slice(folded.high_in, None), bias=False) if folded.low_in else None

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        fine, coarse = _cut(self.high(high), self._split)
        coarse = pool(_present(coarse))
        if self.low is not None:
            rise, stay = _cut(self.low(low), self._split)
            fine = None if fine is None else fine + upsample(_present(rise), size)
            coarse = coarse + _present(stay)
        return _ended((fine, coarse), add, self._relu)


class _Lifted(_ToAll):
    """1x1 at stride 1: the plain layer, of the low map upsampled; its low output is pooled after."""

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        fine, coarse = _cut(self.conv(concat(high, upsample(_present(low), size))), self._split)
        return _ended((fine, None if coarse is None else pool(coarse)), add, self._relu)


class _LiftedHigh(_ToEach):
    """1x1 at stride 1: both outputs of the low map upsampled, which pooled is what it was."""

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        return self._each(concat(high, upsample(_present(low), size)), add)


class _Half(_ToEach):
    """Stride 2: one convolution for each output that exists, of the concatenated half-size map."""

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        return self._each(concat(None if high is None else pool(high), low), add)


class _HalfToAll(_ToAll):
    """1x1 at stride 2: one convolution of the half-size map; its low output is pooled after."""

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        half = concat(None if high is None else pool(high), low)
        fine, coarse = _cut(self.conv(half), self._split)
        return _ended((fine, pool(_present(coarse))), add, self._relu)


class _FromLow(_ToAll):
    """Stride 1 from a map that is low throughout: one convolution, the high part of it upsampled."""

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        fine, coarse = _cut(self.conv(low), self._split)
        return _ended((None if fine is None else upsample(fine, size), coarse), add, self._relu)


_FORMS: dict[Form, Callable[[Folded], nn.Module]] = {
    "plain": _Plain,
    "concat": _Concat,
    "low-to-all": _LowToAll,
    "high-to-all": _HighToAll,
    "lifted": _Lifted,
    "lifted-high": _LiftedHigh,
    "half": _Half,
    "half-to-all": _HalfToAll,
    "from-low": _FromLow,
}


def _present(branch: Tensor | None) -> Tensor:
    assert branch is not None
    return branch


def _risen(low: Tensor, size: Size, add: Tensor | None) -> Tensor:
    """What the low map gives to the high one, with the residual sum on it."""
    rise = upsample(low, size)
    return rise if add is None else rise + add


def _cut(x: Tensor, split: list[int]) -> Map:
    if split[0] == 0:
        return None, x
    if split[1] == 0:
        return x, None
    high, low = torch.split(x, split, 1)
    return high, low


def _dense(x: Tensor) -> Tensor:
    """A part of a map's channels as a map of its own, in the layout that convolutions write."""
    return x.clone(memory_format=torch.channels_last if x.stride(1) == 1 else torch.contiguous_format)


def _ended(out: Map, add: Map, relu: bool) -> Map:
    branches = [
        branch if branch is None or other is None else branch + other
        for branch, other in zip(out, add, strict=True)
    ]
    if relu:
        branches = [None if branch is None else F.relu(branch) for branch in branches]
    return branches[0], branches[1]
