"""Nodes of a user's network in its deployed form: functions of maps, and the ways to plain values and back.

Maps are (high, low), as in `octnas.export.layers`; a plain value is whatever the user's code has there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from octnas.backbones import Activation
from octnas.export.called import Called
from octnas.export.convs import activated
from octnas.nn.maps import Map, Size
from octnas.nn.plain import gated, raised, squeezed

__all__ = ["DeployedGate", "DeployedSqueeze", "DeployedSum", "EachBranch", "PlainCall", "Raised", "as_map"]

Order = Sequence[int] | None
"""The channels of a map as its two branches have them, high ones first; None: in their own order."""


class EachBranch(nn.Module):
    """A function of each element, of both branches; None: the map as it is."""

    def __init__(self, call: Called | None) -> None:
        super().__init__()
        self.call = call

    def forward(self, high: Tensor | None, low: Tensor | None) -> Map:
        if self.call is None:
            return high, low
        return None if high is None else self.call(high), None if low is None else self.call(low)


class DeployedSum(nn.Module):
    """The sum of two maps of the same low channels, and its activation; neither map is written to."""

    def __init__(self, activation: Activation | None) -> None:
        super().__init__()
        self._activation: Activation | None = activation

    def forward(self, body: Map, shortcut: Map) -> Map:
        high, low = (
            None if x is None or y is None else activated(x + y, self._activation)
            for x, y in zip(body, shortcut, strict=True)
        )
        return high, low


class DeployedSqueeze(nn.Module):
    """Global averages of both branches, in channel order: (B, C), or (B, C, [1,] 1, 1) with `keeps`."""

    places: Tensor | None

    def __init__(self, order: Order, *, keeps: bool) -> None:
        super().__init__()
        self._keeps = keeps
        self.register_buffer("places", _places(order), persistent=False)

    def forward(self, high: Tensor | None, low: Tensor | None) -> Tensor:
        return squeezed((high, low), self.places, keeps=self._keeps)


class DeployedGate(nn.Module):
    """A map of `low` low channels times, or plus, one number a channel; see `octnas.nn.plain.gated`."""

    order: Tensor | None

    def __init__(self, what: Literal["times", "plus"], order: Order, low: int) -> None:
        super().__init__()
        self._what: Literal["times", "plus"] = what
        self._low = low
        self.register_buffer("order", None if order is None else torch.tensor(order), persistent=False)

    def forward(self, x: Map, vector: Tensor) -> Map:
        return gated(x, vector, self._what, self.order, self._low)


class Raised(nn.Module):
    """A map at full resolution, with its channels in their own order.

    Args:
        channels: of the map.
        sizes_only: whether only its shape is asked for, so that nothing is computed.
    """

    places: Tensor | None

    def __init__(self, order: Order, *, channels: int, sizes_only: bool) -> None:
        super().__init__()
        self._channels, self._sizes_only = channels, sizes_only
        self.register_buffer("places", _places(order), persistent=False)

    def forward(self, x: Map, size: Size) -> Tensor:
        """`size` is the map's nominal (H, W)."""
        low = x[1]
        if low is None or not self._sizes_only:
            return raised(x, self.places, size)
        return low.new_zeros(()).expand(low.shape[0], self._channels, *low.shape[2:-2], *size)


class PlainCall(nn.Module):
    """A call that reads maps at full resolution, and gives a plain value.

    Args:
        raised: for each value that it reads, how a map is put to full resolution; None: it is a plain value.
    """

    def __init__(self, call: Called, raised: Sequence[Raised | None]) -> None:
        super().__init__()
        self.call = call
        self.raised = nn.ModuleList(nn.Identity() if each is None else each for each in raised)
        self._maps = [each is not None for each in raised]

    def forward(self, *values: Any, sizes: Sequence[Size]) -> Any:
        """`sizes` are the nominal (H, W) of the maps that are read."""
        read = [
            lift(value, size) if is_map else value
            for value, size, lift, is_map in zip(values, sizes, self.raised, self._maps, strict=True)
        ]
        return self.call(*read)


def _places(order: Order) -> Tensor | None:
    """For each channel, where the branches have it."""
    return None if order is None else torch.tensor(sorted(range(len(order)), key=order.__getitem__))


def as_map(value: Any) -> Map:
    """What a layer reads: a map, or a plain value as one without low channels."""
    found: Map = (value, None) if isinstance(value, Tensor) else value
    return found
