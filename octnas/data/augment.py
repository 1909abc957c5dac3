"""Augmentation and normalisation of a batch at once, on the device where the batch is.

Shapes: B batch, C channels, T frames of a clip, H and W pixels. Batches come and go (B, C, H, W) with
channels-last strides, or (B, C, T, H, W) with channels-last-3d strides.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

__all__ = ["augment", "normalise"]


def augment(
    batch: torch.Tensor,
    generator: torch.Generator,
    *,
    flip: bool,
    shift: bool = True,
    share: tuple[int, int] | None = None,
) -> torch.Tensor:
    """Each image or clip shifted by up to an eighth of its side, black moving in; half mirrored where `flip`.

    `batch` is uint8 (B, C, H, W), channels-last, or clips (B, C, T, H, W), channels-last-3d, where all frames
    of a clip move alike; so is the result. `generator` is on the CPU wherever the batch is, so a GPU sees the
    augmentation that a CPU sees.

    Args:
        shift: whether images are shifted.
        share: where `batch` is a share of a larger batch: the images of that, and where the share begins.
            Each image is augmented as in the larger batch.
    """
    count, channels, height, width = *batch.shape[:2], *batch.shape[-2:]
    frames = batch.shape[2] if batch.dim() == 5 else 1
    reach_y, reach_x = (height // 8, width // 8) if shift else (0, 0)
    drawn, begin = share or (count, 0)
    mine = slice(begin, begin + count)
    dy = torch.randint(0, 2 * reach_y + 1, (drawn, 1, 1), generator=generator)[mine]
    dx = torch.randint(0, 2 * reach_x + 1, (drawn, 1, 1), generator=generator)[mine]
    columns = torch.arange(width).expand(count, 1, width)
    if flip:
        mirrored = torch.randint(0, 2, (drawn, 1, 1), generator=generator, dtype=torch.bool)[mine]
        columns = torch.where(mirrored, width - 1 - columns, columns)
    if frames > 1:
        dy, dx, columns = (each.repeat_interleave(frames, 0) for each in (dy, dx, columns))
    still = batch.movedim(1, -1).reshape(count * frames, height, width, channels)
    padded = functional.pad(still, (0, 0, reach_x, reach_x, reach_y, reach_y))
    # one flat index for shift and mirror: a single gather over pixels
    wide, high = width + 2 * reach_x, height + 2 * reach_y
    tops = high * torch.arange(count * frames).view(-1, 1, 1)
    rows = torch.arange(height).view(1, height, 1) + dy + tops
    flat = (rows * wide + columns + dx).view(-1).to(batch.device, non_blocking=True)
    picked = padded.reshape(-1, channels).index_select(0, flat)
    return picked.view(batch.movedim(1, -1).shape).movedim(-1, 1)


def normalise(
    batch: torch.Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """(pixel / 255 - mean) / std by channel, in float32, then as `dtype`; channels-last is kept.

    `batch` is uint8 (B, C, H, W) or (B, C, T, H, W); `mean` and `std` are those of an `ImageSet`, for
    pixels in 0..1.
    """
    shape = (1, len(mean), *(1,) * (batch.dim() - 2))
    centre = torch.tensor([255 * value for value in mean], device=batch.device).view(shape)
    factor = torch.tensor([1 / (255 * value) for value in std], device=batch.device).view(shape)
    return batch.to(torch.float32).sub_(centre).mul_(factor).to(dtype)
