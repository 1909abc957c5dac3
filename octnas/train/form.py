"""In which form a network is called while it trains: as it is, compiled, or packed.

All forms train the same parameters and give the same logits to rounding. Narrow 2D networks on a processor
run packed (`octnas.nn.packed`), on clips frame by frame; long trainings on a GPU are compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from octnas.nn import OctaveNetwork
from octnas.nn.packed import PackedForward, packs
from octnas.train.speed import Mode

__all__ = ["fastest_form", "frame_wise"]

Forward = Callable[[Tensor], Tensor]


def fastest_form(
    network: OctaveNetwork, *, size: tuple[int, int], clips: bool, mode: Mode, compiled: bool
) -> Forward:
    """The fastest way to call a network here.

    Args:
        size: height and width in px of its input.
        clips: whether its input is (B, C, T, H, W), which a 2D network takes frame by frame.
        compiled: whether it is worth compiling.
    """
    if compiled:
        return cast(Forward, torch.compile(network))
    if mode.channels_last and packs(network, size, device=mode.device.type, dtype=mode.dtype):
        packed = PackedForward(network)
        return frame_wise(packed) if clips else packed
    return network


def frame_wise(forward: Forward) -> Forward:
    """Clips (B, C, T, H, W) to logits (B, classes): the mean over frames of what `forward` makes of each.

    The same as one layer on the mean of the features, where the logits are an affine function of them.
    """

    def mean_logits(clips: Tensor) -> Tensor:
        frames = clips.transpose(1, 2).flatten(0, 1)  # a view, channels-last, of a clip that is so over time
        return forward(frames).view(clips.shape[0], clips.shape[2], -1).mean(1)

    return mean_logits
