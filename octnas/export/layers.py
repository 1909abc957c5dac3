"""The convolutions of a deployed network: one module for each form of `octnas.costs.forms`.

Each maps (high, low) to (high, low), None where a branch has no channels, with the residual sum (`add`, in
the layout of the output) and the activation of its block inside. Legend of shapes: B images, C channels, T
frames (of 3D networks), H and W the *nominal* size in px, that of the high map; a low map has ceil(H / 2) x
ceil(W / 2) px. Kernels are dense, with channels ordered [high | low], those of the input within each group.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from octnas.backbones import Activation
from octnas.costs.forms import Form
from octnas.export.convs import activated, channels_last
from octnas.export.folded import Folded, present, risen
from octnas.export.grouped import Each, Paths
from octnas.nn.maps import Map, Size, concat, pool, upsample

__all__ = ["deployed_layer"]


def deployed_layer(form: Form, folded: Folded) -> nn.Module:
    """The module of a form; `forward(high, low, size, add)` takes the nominal size of its output in px."""
    return _FORMS[form](folded)


class _ToAll(nn.Module):
    """Base of the forms with one convolution for both outputs."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self._split = [folded.high_out, folded.low_out]
        self._activation = folded.activation
        self.conv = folded.conv()


class _ToEach(nn.Module):
    """Base of the forms with one convolution, of all input channels, for each output that exists."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        high, low = folded.rows
        self.high = folded.conv(high, activates=True) if folded.high_out else None
        self.low = folded.conv(low, activates=True) if folded.low_out else None

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
        self.conv = folded.conv(activates=True, stride=1 if folded.pools else folded.stride)

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        high = present(high)
        return self.conv(pool(high) if self._pools else high, add[0]), None


class _Concat(nn.Module):
    """Stride 1 from a map with high channels, in the fewest multiply-adds: at most three convolutions."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        (high, low), (within, across) = folded.rows, folded.columns
        self._groups = folded.groups
        self.high = folded.conv(high, within, activates=True) if folded.high_out else None
        self.cross = folded.conv(high, across, bias=False) if folded.high_out and folded.low_in else None
        self.low = folded.conv(low, activates=True) if folded.low_out else None

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        high = present(high)
        coarse = None if self.low is None else self.low(concat(pool(high), low, self._groups), add[1])
        if self.high is None:
            return None, coarse
        rise = add[0] if self.cross is None else risen(self.cross(low), size, add[0])
        return self.high(high, rise), coarse


class _LowToAll(nn.Module):
    """All four paths at stride 1: one convolution of the low map for both outputs."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        (high, low), (within, across) = folded.rows, folded.columns
        self._split = [folded.high_out, folded.low_out]
        self.high = folded.conv(high, within, activates=True)
        self.down = folded.conv(low, within, activates=True)
        self.low = folded.conv(columns=across, bias=False)

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        high = present(high)
        rise, stay = torch.split(self.low(low), self._split, 1)
        stay = _dense(stay) if add[1] is None else stay + add[1]
        return self.high(high, risen(rise, size, add[0])), self.down(pool(high), stay)


class _HighToAll(nn.Module):
    """1x1 at stride 1: one convolution of the high map for both outputs, pooled after."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self._split = [folded.high_out, folded.low_out]
        self._activation = folded.activation
        within, across = folded.columns
        self.high = folded.conv(columns=within)
        self.low = folded.conv(columns=across, bias=False) if folded.low_in else None

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        fine, coarse = _cut(self.high(high), self._split)
        coarse = pool(present(coarse))
        if self.low is not None:
            rise, stay = _cut(self.low(low), self._split)
            fine = None if fine is None else fine + upsample(present(rise), size)
            coarse = coarse + present(stay)
        return _ended((fine, coarse), add, self._activation)


class _Lifted(_ToAll):
    """1x1 at stride 1: the plain layer, of the low map upsampled; its low output is pooled after."""

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        fine, coarse = _cut(self.conv(concat(high, upsample(present(low), size))), self._split)
        return _ended((fine, None if coarse is None else pool(coarse)), add, self._activation)


class _LiftedHigh(_ToEach):
    """1x1 at stride 1: both outputs of the low map upsampled, which pooled is what it was."""

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        return self._each(concat(high, upsample(present(low), size)), add)


class _Half(_ToEach):
    """Stride 2: one convolution for each output that exists, of the concatenated half-size map."""

    def __init__(self, folded: Folded) -> None:
        super().__init__(folded)
        self._groups = folded.groups

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        return self._each(concat(None if high is None else pool(high), low, self._groups), add)


class _HalfToAll(_ToAll):
    """1x1 at stride 2: one convolution of the half-size map; its low output is pooled after."""

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        half = concat(None if high is None else pool(high), low)
        fine, coarse = _cut(self.conv(half), self._split)
        return _ended((fine, pool(present(coarse))), add, self._activation)


class _FromLow(_ToAll):
    """Stride 1 from a map that is low throughout: one convolution, the high part of it upsampled."""

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        fine, coarse = _cut(self.conv(low), self._split)
        return _ended((None if fine is None else upsample(fine, size), coarse), add, self._activation)


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
    "paths": Paths,
    "each": Each,
}


def _cut(x: Tensor, split: list[int]) -> Map:
    if split[0] == 0:
        return None, x
    if split[1] == 0:
        return x, None
    high, low = torch.split(x, split, 1)
    return high, low


def _dense(x: Tensor) -> Tensor:
    """A part of a map's channels as a map of its own, in the layout that convolutions write."""
    return x.clone(memory_format=channels_last(x) if x.stride(1) == 1 else torch.contiguous_format)


def _ended(out: Map, add: Map, activation: Activation | None) -> Map:
    high, low = (
        None if branch is None else activated(branch if other is None else branch + other, activation)
        for branch, other in zip(out, add, strict=True)
    )
    return high, low
