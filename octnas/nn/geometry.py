"""The numbers of an octave layer, as users give them: what they mean, and which are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from octnas.architecture import Alpha, low_channels
from octnas.errors import ArchitectureError

__all__ = ["Sides", "check_depthwise", "check_octave", "low_of", "sides"]

Sides = tuple[int, ...]
"""(H, W), or (T, H, W)."""

_COUNTS = {2: "two", 3: "three"}


def sides(name: str, value: int | Sequence[int], least: int, dims: int) -> Sides:
    """One number for all dimensions, or one for each."""
    found = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(found) != dims or min(found) < least:
        raise ArchitectureError(
            f"`{name}` must be one or {_COUNTS[dims]} whole numbers of {least} or more, but got {value!r}"
        )
    return found


def low_of(
    side: Literal["in", "out"], alpha: Alpha, low: int | None, channels: int, groups: int, *, depthwise: bool
) -> int:
    """Low channels of a layer's input or output, of its alpha or as they are given."""
    if low is None:
        low = low_channels(alpha, channels)
    elif alpha != 0:
        raise ArchitectureError(f"give `alpha_{side}` or `low_{side}`, not both, but got {alpha} and {low}")
    if not 0 <= low <= channels:
        raise ArchitectureError(f"`0 <= low_{side} <= {channels}` must hold, but got low_{side}={low}")
    if not depthwise and low % groups:
        each = channels // groups
        allowed = f"multiples of 1/{each}"
        if each <= 16:
            allowed = ", ".join(f"{n / each:g}" for n in range(each + 1))
        raise ArchitectureError(
            f"`low_{side}` must be a multiple of groups={groups}, but got {low} "
            f"of {channels} channels: the allowed alphas are {allowed}"
        )
    return low


def check_octave(kind: str, *, kernel: Sides, stride: Sides, padding: Sides, dilation: Sides) -> None:
    """Refuses what has no meaning on two octaves, height and width alone: time has one."""
    kernel, stride, padding, dilation = kernel[-2:], stride[-2:], padding[-2:], dilation[-2:]
    if stride not in ((1, 1), (2, 2)):
        raise ArchitectureError(f"the stride of {kind} must be 1 or 2, but got stride={stride}")
    if any(k % 2 == 0 for k in kernel):
        raise ArchitectureError(f"the kernel of {kind} must be odd, but got {kernel}")
    same = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    if padding != same:
        raise ArchitectureError(
            f"the padding of {kind} must be dilation * (k - 1) / 2 = {same}, but got {padding}"
        )


def check_depthwise(in_channels: int, out_channels: int, low_in: int, low_out: int) -> None:
    """Refuses a depthwise layer whose input is not split as its output is."""
    if low_out * in_channels != low_in * out_channels:
        wanted = low_in * out_channels // in_channels
        raise ArchitectureError(
            f"a depthwise layer has no cross paths, so `low_out` must be {wanted} "
            f"for low_in={low_in}, but got {low_out}: repartition its input or its output"
        )
