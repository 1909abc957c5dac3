"""What stands between convolutions, on maps of two branches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from octnas.backbones import Activation
from octnas.errors import ArchitectureError
from octnas.nn.maps import Map, Size, framewise, half, pool

__all__ = ["Excitation", "OctPool", "activated", "concatenated", "means", "summed"]


class OctPool(nn.Module):
    """Maximum or average over windows, of each branch by itself.

    Over space: a maximum over `kernel` x `kernel`, padded, or a 2x2 average; the side becomes
    ceil(side / stride), or floor of it with `floor`. Over time: the maximum over `kernel_time` frames,
    ceil(T / stride_time) of them.
    """

    def __init__(
        self,
        how: str,
        *,
        kernel: int,
        stride: int,
        padding: int = 0,
        kernel_time: int = 1,
        stride_time: int = 1,
        floor: bool = False,
    ) -> None:
        super().__init__()
        assert how == "max" or (kernel, stride, padding, kernel_time) == (2, 2, 0, 1)
        self.how, self.kernel, self.stride, self.padding = how, kernel, stride, padding
        self.kernel_time, self.stride_time, self.floor = kernel_time, stride_time, floor

    def forward(self, x: Tensor | Map, size: Size) -> Map:
        """(high, low) -> (high, low); `size` is the nominal (H, W) of the output."""
        high, low = (x, None) if isinstance(x, Tensor) else x
        return (
            None if high is None else self._pooled(high, size),
            None if low is None else self._pooled(low, half(size)),
        )

    def _pooled(self, x: Tensor, size: Size) -> Tensor:
        if self.how == "average":
            # Of a low map, too, the windows stay that the pooled map has room for.
            return pool(x)[..., : size[0], : size[1]]
        if self.kernel > 1:
            x = framewise(x, lambda images: F.max_pool2d(images, self.kernel, self.stride, self.padding))
        if self.kernel_time > 1:
            kernel, stride = (self.kernel_time, 1, 1), (self.stride_time, 1, 1)
            x = F.max_pool3d(x, kernel, stride, ceil_mode=True)
        return x

    def extra_repr(self) -> str:
        time = f", kernel_time={self.kernel_time}, stride_time={self.stride_time}"
        return (
            f"{self.how!r}, kernel={self.kernel}, stride={self.stride}, padding={self.padding}"
            f"{time if self.kernel_time > 1 else ''}{', floor=True' if self.floor else ''}"
        )


class Excitation(nn.Module):
    """Squeeze and excitation (Hu et al. 2018): both branches squeezed jointly, each excited by its factors.

    Args:
        channels: of the map, of which the last `low` live an octave lower.
        squeezed: channels between the two fully connected layers.
    """

    def __init__(self, channels: int, squeezed: int, low: int = 0) -> None:
        super().__init__()
        if not 0 <= low <= channels:
            raise ArchitectureError(f"`0 <= low <= {channels}` must hold, but got {low=}")
        self.channels, self.low = channels, low
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor | Map) -> Map:
        """(high, low) -> (high, low), each channel times its factor between 0 and 1."""
        high, low = (x, None) if isinstance(x, Tensor) else x
        factors = torch.sigmoid(self.fc2(F.relu(self.fc1(means((high, low))))))
        # One factor a channel of each image, for all of its pixels.
        factors = factors[(...,) + (None,) * ((high if high is not None else low).dim() - 2)]  # type: ignore[union-attr]
        of_high, of_low = torch.split(factors, [self.channels - self.low, self.low], 1)
        return None if high is None else high * of_high, None if low is None else low * of_low


def means(x: Map) -> Tensor:
    """Global averages of both branches, the high one's channels first: (B, C)."""
    found = [branch.mean(tuple(range(2, branch.dim()))) for branch in x if branch is not None]
    return found[0] if len(found) == 1 else torch.cat(found, 1)


def summed(body: Map, shortcut: Map) -> Map:
    """The sum of two maps of the same low channels, in place on the body, which nothing else may read."""
    (high, low), (high_too, low_too) = body, shortcut
    return (
        None if high is None or high_too is None else high.add_(high_too),
        None if low is None or low_too is None else low.add_(low_too),
    )


def concatenated(maps: list[Map]) -> Map:
    """The high branches one after the other, and the low ones."""
    highs = [high for high, _ in maps if high is not None]
    lows = [low for _, low in maps if low is not None]
    return torch.cat(highs, 1) if highs else None, torch.cat(lows, 1) if lows else None


def activated(x: Map, activation: Activation | None) -> Map:
    """ReLU, or ReLU up to 6, in place: nothing else may read the map."""
    if activation is None:
        return x
    high, low = x
    act = F.relu_ if activation == "relu" else _relu6_
    return None if high is None else act(high), None if low is None else act(low)


def _relu6_(x: Tensor) -> Tensor:
    return F.hardtanh_(x, 0.0, 6.0)
