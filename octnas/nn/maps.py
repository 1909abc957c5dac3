"""Maps of two branches, and the few ways in which channels change their resolution.

Legend: B batch, C channels, H and W the *nominal* size of a map in px, which is the size of its high
branch. A map is a pair (high, low): high (B, C - low, H, W) and low (B, low, ceil(H/2), ceil(W/2)). A branch
with no channels is None. The low channels are the last ones of the map's layout: the last of all (dense,
`groups=1`), or the last `low / groups` of each group.

Maps of clips and volumes have T frames, (B, C, T, H, W), in both branches: an octave is one of space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from octnas.errors import ArchitectureError

__all__ = [
    "Map",
    "Size",
    "by_group",
    "concat",
    "framewise",
    "half",
    "nominal_size",
    "pool",
    "repartition",
    "upsample",
]

Map = tuple[Tensor | None, Tensor | None]
Size = tuple[int, int]


def half(size: Size) -> Size:
    """The size of the low map of a map of this size, and of the output of a layer with stride 2."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def framewise(x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """An operation on images (B, C, H, W), on each frame of (B, C, T, H, W) where `x` has frames.

    It must treat each channel of each image by itself. Frames become images or channels, whichever is a view:
    PyTorch's own pooling in 3D would copy maps that have their channels last.
    """
    if x.dim() == 4:
        return run(x)
    frames = x.shape[2]
    if x.stride(1) == 1:
        return torch.unflatten(run(x.transpose(1, 2).flatten(0, 1)), 0, (-1, frames)).transpose(1, 2)
    return torch.unflatten(run(x.flatten(1, 2)), 1, (-1, frames))


def pool(x: Tensor) -> Tensor:
    """2x2 average: (B, C, H, W) -> (B, C, ceil(H/2), ceil(W/2)). At odd borders the mean of what exists.

    Frame by frame where there are frames.
    """
    trains_here = x.requires_grad and torch.is_grad_enabled() and x.device.type == "cpu"
    if trains_here and not (torch.compiler.is_compiling() or torch.jit.is_tracing()):  # type: ignore[attr-defined,no-untyped-call]
        height, width = x.shape[-2:]
        if height % 2 == 0 and width % 2 == 0:
            return framewise(x, lambda images: cast(Tensor, _EvenPool.apply(images)))
    return framewise(x, lambda images: F.avg_pool2d(images, 2, ceil_mode=True, count_include_pad=False))


class _EvenPool(torch.autograd.Function):
    """The same for even sizes. Its gradient is an upsampling: on a CPU half the time of avg_pool2d's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return F.interpolate(grads[0] * 0.25, scale_factor=2.0, mode="nearest")


def upsample(x: Tensor, size: Size) -> Tensor:
    """Nearest upsampling by 2, cropped to `size`: (B, C, ceil(H/2), ceil(W/2)) -> (B, C, H, W).

    Frame by frame where there are frames.

    By a factor and not to a size: an exported graph whose batch is free would compute the size as it runs,
    and ONNX Runtime keeps its blocked layout through a resize only where the factor is a constant.
    """
    whole = framewise(x, lambda images: F.interpolate(images, scale_factor=2.0, mode="nearest"))
    return whole if whole.shape[-2:] == size else whole[..., : size[0], : size[1]]


def nominal_size(high: Tensor | None, low: Tensor | None, size: Size | None) -> Size:
    """The map's nominal (H, W): the high branch's, else `size`, else twice the low branch's.

    Raises:
        ArchitectureError: `size` is given for a map without a high branch, and its half is not the low map's.
    """
    if high is not None:
        return high.shape[-2], high.shape[-1]
    assert low is not None
    height, width = low.shape[-2:]
    if size is None:
        return 2 * height, 2 * width
    if half(size) != (height, width):
        raise ArchitectureError(
            f"`size` must be the nominal size, whose half (rounded up) is the low map's, "
            f"but got {tuple(size)} for a low map of {(height, width)}"
        )
    return size


def by_group(x: Tensor, groups: int, dim: int = 1) -> Tensor:
    """Views dimension `dim`, C channels, as (groups, C / groups)."""
    return x.view(*x.shape[:dim], groups, x.shape[dim] // groups, *x.shape[dim + 1 :])


def concat(first: Tensor | None, second: Tensor | None, groups: int = 1) -> Tensor:
    """Concatenates channels, group by group: (B, C1, H, W), (B, C2, H, W) -> (B, C1 + C2, H, W)."""
    if first is None or second is None:
        whole = second if first is None else first
        assert whole is not None
        return whole
    if groups == 1:
        return torch.cat((first, second), 1)
    joined = torch.cat((by_group(first, groups), by_group(second, groups)), 2).flatten(1, 2)
    last = torch.channels_last if first.dim() == 4 else torch.channels_last_3d
    return joined.contiguous(memory_format=last) if first.is_contiguous(memory_format=last) else joined


def repartition(x: Map, low_channels: int, size: Size | None = None, *, groups: int = 1) -> Map:
    """The same map with another number of low channels: what crosses the boundary is pooled or upsampled.

    The last channels of the high branch become the first of the low one, or the other way round, so that
    maps of different alpha can be summed without a projection.

    Args:
        x: (high, low).
        low_channels: low channels of the result.
        size: nominal (H, W); needed only where `x` has no high branch and an odd size.
        groups: layout of the map; the boundary moves in each group.

    Raises:
        ArchitectureError: the map has not that many channels, they do not divide into the groups, or `size`
            contradicts the low map.
    """
    high, low = x
    n_high = 0 if high is None else high.shape[1]
    n_low = 0 if low is None else low.shape[1]
    if low_channels == n_low:
        return x
    if not 0 <= low_channels <= n_high + n_low:
        raise ArchitectureError(
            f"`0 <= low_channels <= {n_high + n_low}` must hold for this map, but got {low_channels}"
        )
    if low_channels % groups or n_low % groups or n_high % groups:
        raise ArchitectureError(
            f"`low_channels` must be a multiple of groups={groups}, but got {low_channels} for a map of "
            f"{n_high} high and {n_low} low channels"
        )
    if low_channels > n_low:
        assert high is not None
        kept, moved = _cut(high, n_high + n_low - low_channels, groups)
        assert moved is not None
        return kept, concat(pool(moved), low, groups)
    assert low is not None
    moved, rest = _cut(low, n_low - low_channels, groups)
    assert moved is not None
    return concat(high, upsample(moved, nominal_size(high, low, size)), groups), rest


def _cut(x: Tensor, first: int, groups: int) -> Map:
    """Cuts each group's channels in two; `first` counts the first part's channels, over all groups."""
    second = x.shape[1] - first
    if first == 0 or second == 0:
        return (x, None) if second == 0 else (None, x)
    if groups == 1:
        return x[:, :first], x[:, first:]
    parts = torch.split(by_group(x, groups), [first // groups, second // groups], 2)
    return parts[0].flatten(1, 2), parts[1].flatten(1, 2)
