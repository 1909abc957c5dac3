"""What stands between convolutions, on maps of two branches."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from octnas.backbones import Activation, Pool
from octnas.errors import ArchitectureError
from octnas.nn.maps import Map, Size, framewise, half, pool

__all__ = ["Excitation", "OctPool", "activated", "concatenated", "means", "summed"]


class OctPool(nn.Module):
    """Maximum or average over windows, of each branch by itself, as a `Pool` of the layer table says.

    The high branch is pooled as PyTorch pools it. The low one's output has half the nominal size of the
    output, rounded up: windows that hang over the right or the lower border see the border's pixels again,
    which a maximum does not notice, and what is beyond is cut off.

    Args:
        of: the node; see there what its numbers mean.
    """

    def __init__(self, of: Pool) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor | Map, size: Size) -> Map:
        """(high, low) -> (high, low); `size` is the nominal (H, W) of the output."""
        high, low = (x, None) if isinstance(x, Tensor) else x
        return (
            None if high is None else self._pooled(high, size),
            None if low is None else self._pooled(low, half(size)),
        )

    def _pooled(self, x: Tensor, size: Size) -> Tensor:
        if self.of.how == "average" and (self.of.kernel, self.of.stride, self.of.padding) == (2, 2, 0):
            # Of a low map, too, the windows stay that the pooled map has room for.
            x = pool(x)
            x = x if x.shape[-2:] == size else x[..., : size[0], : size[1]]
        elif self.of.kernel > 1 or self.of.stride > 1:
            x = framewise(x, lambda images: self._over_space(images, size))
        return self._over_time(x) if self.of.kernel_time > 1 or self.of.stride_time > 1 else x

    def _over_space(self, images: Tensor, size: Size) -> Tensor:
        kernel, stride, padding, ceil = self.of.kernel, self.of.stride, self.of.padding, bool(self.of.ceil)
        missing = [
            (side - 1) * stride + kernel - 2 * padding - have
            for side, have in zip(size, images.shape[-2:], strict=True)
        ]
        if not ceil and max(missing) > 0:
            images = F.pad(images, (0, max(0, missing[1]), 0, max(0, missing[0])), mode="replicate")
        if self.of.how == "max":
            out = F.max_pool2d(images, kernel, stride, padding, ceil_mode=ceil)
        else:
            out = F.avg_pool2d(images, kernel, stride, padding, ceil, self.of.counts_padding)
        if out.shape[-2] < size[0] or out.shape[-1] < size[1]:
            lacks = (0, size[1] - out.shape[-1], 0, size[0] - out.shape[-2])
            out = F.pad(out, lacks, mode="replicate")
        return out if out.shape[-2:] == size else out[..., : size[0], : size[1]]

    def _over_time(self, x: Tensor) -> Tensor:
        kernel, stride = (self.of.kernel_time, 1, 1), (self.of.stride_time, 1, 1)
        padding, ceil = (self.of.padding_time, 0, 0), self.of.ceil is None or self.of.ceil
        if self.of.how == "max":
            return F.max_pool3d(x, kernel, stride, padding, ceil_mode=ceil)
        return F.avg_pool3d(x, kernel, stride, padding, ceil, self.of.counts_padding)

    def extra_repr(self) -> str:
        of = self.of
        time = f", kernel_time={of.kernel_time}, stride_time={of.stride_time}"
        return (
            f"{of.how!r}, kernel={of.kernel}, stride={of.stride}, padding={of.padding}"
            f"{time if of.kernel_time > 1 else ''}{', floor=True' if of.floor else ''}"
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
    """The activation of a layer, in place: nothing else may read the map."""
    if activation is None:
        return x
    high, low = x
    act = _ACTIVATIONS[activation]
    return None if high is None else act(high), None if low is None else act(low)


def _relu6_(x: Tensor) -> Tensor:
    return F.hardtanh_(x, 0.0, 6.0)


def _silu_(x: Tensor) -> Tensor:
    return F.silu(x, inplace=True)


def _hardswish_(x: Tensor) -> Tensor:
    return F.hardswish(x, inplace=True)


_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu_,
    "relu6": _relu6_,
    "silu": _silu_,
    "hardswish": _hardswish_,
}
