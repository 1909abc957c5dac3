"""Convolutions of clips that are shorter than the kernel: a fault of oneDNN, and the way round it.

In bfloat16 on a processor, oneDNN leaves parts of the kernel's gradient unwritten where the map has fewer
frames than the kernel, and writes past its end: 4 frames under a 5x3x3, or 2 under a 3x3x3, gave numbers from
1 to infinity times too large (PyTorch 2.14). With the zeros of the padding written out the map is long enough
and the gradient is right.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["conv3d", "is_short"]

Sides = tuple[int, ...]


def is_short(x: Tensor, weight: Tensor, dilation: Sides) -> bool:
    """Whether a kernel's gradient could come out wrong: (B, C, T, H, W) with fewer frames than it spans."""
    if x.dim() != 5 or x.device.type != "cpu" or x.shape[2] > dilation[0] * (weight.shape[2] - 1):
        return False
    return torch.is_grad_enabled() and (x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu"))


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sides,
    padding: Sides,
    dilation: Sides,
    groups: int,
) -> Tensor:
    """`torch.nn.functional.conv3d`, right for short clips too."""
    if is_short(x, weight, dilation):
        x = F.pad(x, (0, 0, 0, 0, padding[0], padding[0]))
        padding = (0, *padding[1:])
    return F.conv3d(x, weight, bias, stride, padding, dilation, groups)
