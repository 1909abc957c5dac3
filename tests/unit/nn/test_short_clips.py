"""Gradients of clips that are shorter than the kernel, in bfloat16, against float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from octnas.nn import OctConv3d


def gradients(conv: nn.Module, clip: torch.Tensor, *, bf16: bool) -> list[torch.Tensor]:
    clip = clip.clone().requires_grad_()
    conv.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        high, low = conv(clip)
    assert low is None
    high.float().square().sum().backward()
    assert clip.grad is not None
    return [clip.grad, *(p.grad.clone() for p in conv.parameters() if p.grad is not None)]


@pytest.mark.parametrize(("frames", "kernel"), [(2, 3), (2, 5), (3, 5), (4, 5), (5, 5), (1, 3)])
@pytest.mark.parametrize("alpha", [0, 0.5])
def test_gradients_of_short_clips_are_those_of_float32(frames: int, kernel: int, alpha: float) -> None:
    torch.manual_seed(0)
    conv = OctConv3d(8, 8, (kernel, 3, 3), padding=(kernel // 2, 1, 1), low_out=0)
    if alpha:
        conv = OctConv3d(8, 8, (kernel, 3, 3), padding=(kernel // 2, 1, 1), alpha_out=alpha)
        conv = nn.Sequential(conv, OctConv3d(8, 8, 1, alpha_in=alpha))  # the low channels come back
    conv = conv.to(memory_format=torch.channels_last_3d)
    clip = torch.randn(8, 8, frames, 10, 10).contiguous(memory_format=torch.channels_last_3d)
    for found, expected in zip(
        gradients(conv, clip, bf16=True), gradients(conv, clip, bf16=False), strict=True
    ):
        assert (found - expected).norm() < 0.02 * expected.norm()
