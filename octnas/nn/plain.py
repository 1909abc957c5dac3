"""Between maps of two branches and plain values: full resolution, means of channels, factors of channels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from octnas.nn.layers import means
from octnas.nn.maps import Map, Size, upsample

__all__ = ["gated", "raised", "squeezed"]


def raised(x: Map, places: Tensor | None, size: Size) -> Tensor:
    """A map at full resolution: (B, C, [T,] H, W), its channels in their own order.

    Args:
        x: (high, low).
        places: for each channel, where the branches (high ones first) have it, (C,); None: in its own place.
        size: nominal (H, W).
    """
    high, low = x
    if low is None:
        assert high is not None
        return high
    whole = upsample(low, size)
    if high is not None:
        whole = torch.cat((high, whole), 1)
    # a user's code may view it as it would view a map of their network
    return (whole if places is None else whole.index_select(1, places)).contiguous()


def squeezed(x: Map, places: Tensor | None, *, keeps: bool) -> Tensor:
    """Global averages of all channels in their own order: (B, C), or (B, C, [1,] 1, 1) with `keeps`.

    Args:
        places: as for `raised`.
    """
    found = means(x)
    if places is not None:
        found = found.index_select(1, places)
    if not keeps:
        return found
    branch = x[0] if x[0] is not None else x[1]
    assert branch is not None
    return found[(...,) + (None,) * (branch.dim() - 2)]


def gated(x: Map, vector: Tensor, what: Literal["times", "plus"], order: Tensor | None, low: int) -> Map:
    """A map times, or plus, one number a channel.

    Args:
        x: (high, low), of which `low` channels are low.
        vector: (B or 1, C or 1, 1, 1), or the last dimensions of it, in channel order.
        order: the channels as the two branches have them, high ones first; None: in their own order.
    """
    high, low_map = x
    branch = high if high is not None else low_map
    assert branch is not None
    vector = vector[(None,) * (branch.dim() - vector.dim())]
    of_high = of_low = vector
    if vector.shape[1] > 1 and low:
        ordered = vector if order is None else vector.index_select(1, order)
        of_high, of_low = torch.split(ordered, [ordered.shape[1] - low, low], 1)
    if what == "times":
        return None if high is None else high * of_high, None if low_map is None else low_map * of_low
    return None if high is None else high + of_high, None if low_map is None else low_map + of_low
