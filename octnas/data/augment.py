"""Augmentation and normalisation of a batch at once, on the device where the batch is.

Shapes: B batch, C channels, H and W pixels. Batches come and go (B, C, H, W) with channels-last strides.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

__all__ = ["augment", "normalise"]


def augment(batch: torch.Tensor, generator: torch.Generator, *, flip: bool) -> torch.Tensor:
    """Each image shifted by up to an eighth of its side, black moving in; half of them mirrored where `flip`.

    `batch` is uint8 (B, C, H, W), channels-last; so is the result. `generator` is on the CPU wherever the
    batch is, so a GPU sees the augmentation that a CPU sees.
    """
    count, channels, height, width = batch.shape
    reach_y, reach_x = height // 8, width // 8
    dy = torch.randint(0, 2 * reach_y + 1, (count, 1, 1), generator=generator)
    dx = torch.randint(0, 2 * reach_x + 1, (count, 1, 1), generator=generator)
    columns = torch.arange(width).expand(count, 1, width)
    if flip:
        mirrored = torch.randint(0, 2, (count, 1, 1), generator=generator, dtype=torch.bool)
        columns = torch.where(mirrored, width - 1 - columns, columns)
    padded = functional.pad(batch.permute(0, 2, 3, 1), (0, 0, reach_x, reach_x, reach_y, reach_y))
    # one flat index for shift and mirror: a single gather over pixels
    wide, high = width + 2 * reach_x, height + 2 * reach_y
    rows = torch.arange(height).view(1, height, 1) + dy + high * torch.arange(count).view(count, 1, 1)
    flat = (rows * wide + columns + dx).view(-1).to(batch.device, non_blocking=True)
    picked = padded.reshape(-1, channels).index_select(0, flat)
    return picked.view(count, height, width, channels).permute(0, 3, 1, 2)


def normalise(
    batch: torch.Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """(pixel / 255 - mean) / std by channel, in float32, then as `dtype`; channels-last is kept.

    `batch` is uint8 (B, C, H, W); `mean` and `std` are those of an `ImageSet`, for pixels in 0..1.
    """
    shape = (1, len(mean), 1, 1)
    centre = torch.tensor([255 * value for value in mean], device=batch.device).view(shape)
    factor = torch.tensor([1 / (255 * value) for value in std], device=batch.device).view(shape)
    return batch.to(torch.float32).sub_(centre).mul_(factor).to(dtype)
