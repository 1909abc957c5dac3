"""The forms of grouped and depthwise convolutions, with the signature of `octnas.export.layers`."""

from __future__ import annotations

from torch import Tensor, nn

from octnas.export.convs import DeployedConv, activated
from octnas.export.folded import Folded, risen
from octnas.nn.maps import Map, Size, pool

__all__ = ["Each", "Paths"]


class Paths(nn.Module):
    """Grouped: a convolution for each path, so that no channels are shuffled; stride 1 or 2."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self._halves = folded.stride == 2
        self._activation = folded.activation
        high, low = folded.rows
        # what rises alone is activated when it has risen, behind the sum
        self.high, self.rise = _inputs(folded, high, folded.high_out, lone=self._halves)
        self.down, self.low = _inputs(folded, low, folded.low_out, lone=True)

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        if self._halves:
            high = None if high is None else pool(high)
            fine = _met(self.high, high, self.rise, low, add[0])
            low = None if low is None or self.low is None else pool(low)
        elif self.rise is None:
            fine = _met(self.high, high, None, None, add[0])
        else:
            fine = risen(self.rise(low), size, add[0])
            fine = activated(fine, self._activation) if self.high is None else self.high(high, fine)
        coarse = None if high is None or self.down is None else pool(high)
        return fine, _met(self.down, coarse, self.low, low, add[1])


class Each(nn.Module):
    """Depthwise: each branch by itself; stride 1 or 2."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self._halves = folded.stride == 2
        high, low = folded.rows
        self.high = folded.conv(high, activates=True) if folded.high_out else None
        self.low = folded.conv(low, activates=True) if folded.low_out else None

    def forward(self, high: Tensor | None, low: Tensor | None, size: Size, add: Map) -> Map:
        if self._halves:
            high, low = None if high is None else pool(high), None if low is None else pool(low)
        return (
            None if self.high is None else self.high(high, add[0]),
            None if self.low is None else self.low(low, add[1]),
        )


def _inputs(
    folded: Folded, rows: slice, channels: int, *, lone: bool
) -> tuple[DeployedConv | None, DeployedConv | None]:
    """The convolutions of the high and of the low input for one output; the high one's comes last.

    `lone` says whether the low one's activates where it is the only one.
    """
    within, across = folded.columns
    if not channels:
        return None, None
    alone = not folded.high_in
    high = None if alone else folded.conv(rows, within, activates=True)
    low = folded.conv(rows, across, bias=alone, activates=alone and lone) if folded.low_in else None
    return high, low


def _met(
    last: DeployedConv | None,
    x: Tensor | None,
    first: DeployedConv | None,
    y: Tensor | None,
    add: Tensor | None,
) -> Tensor | None:
    """What two convolutions of maps of one size make together; None where neither exists."""
    if first is not None:
        add = first(y, add)
    return add if last is None else last(x, add)
