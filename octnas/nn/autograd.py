"""Octave layers as single steps of automatic differentiation, for training outside a compiler.

Written as a chain of operations, a layer keeps the pooled and concatenated copies of its input for the
backward pass, upsamples gradients into maps of their own, and cuts the dense kernel into views whose
gradients are joined again. Here a layer keeps its input and its kernel alone: copies are made anew in the
backward pass (they cost a hundredth of the convolutions that read them), gradients are added where they
belong, and the kernel's gradient is written once, in the kernel's own number format. The numbers are those
of the chain.

Legend: B images, C channels, H and W px of the high input, both even. A kernel is dense,
(C_out, C_in, k, k), channels ordered [high | low]. Clips have T frames as well, kernels are
(C_out, C_in, k_T, k, k) and strides (s_T, 1, 1) there.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from octnas.nn.maps import framewise

__all__ = ["Geometry", "Halving", "Keeping", "steps_apply", "under_autocast"]

Sides = tuple[int, ...]
Geometry = tuple[Sides, Sides, Sides]
"""Stride (over time alone), padding and dilation of the convolutions of a layer."""
_WIDE = 64
"""Channels from which on adding by windows is faster on a CPU, in float32; measured with channels last."""
_convolution_backward = torch.ops.aten.convolution_backward


def steps_apply(weight: Tensor, x: Tensor) -> bool:
    """Whether gradients are recorded by an ordinary run: compilers and tracers see the plain operations."""
    device = x.device.type
    return (
        weight.requires_grad
        and torch.is_grad_enabled()
        and device in ("cpu", "cuda")
        and (weight.dtype == x.dtype or torch.is_autocast_enabled(device))
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    )


def under_autocast(high: Tensor, low: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A map in the number format in which autocast would convolve it; the kernel follows in each step."""
    device = high.device.type
    if not torch.is_autocast_enabled(device):
        return high, low
    dtype = torch.get_autocast_dtype(device)
    return high.to(dtype), None if low is None else low.to(dtype)


def _add_upsampled(high: Tensor, low: Tensor, factor: float = 1.0) -> Tensor:
    """high += factor * upsample(low), in place.

    Args:
        high: (B, C, H, W) or (B, C, T, H, W), H and W even.
        low: (B, C, H / 2, W / 2) or (B, C, T, H / 2, W / 2).
    """
    if high.device.type == "cpu" and (high.dtype != torch.float32 or high.shape[1] < _WIDE):
        return high.add_(_upsampled(low), alpha=factor)
    # Each window adds its pixel: no upsampled map is written and read again.
    *outer, height, width = low.shape
    windows = high.view(*outer, height, 2, width, 2)
    windows.add_(low[..., :, None, :, None], alpha=factor)
    return high


def _conv(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    conv = F.conv2d if x.dim() == 4 else F.conv3d
    return conv(x, weight, None, *geometry)


def _upsampled(x: Tensor) -> Tensor:
    return framewise(x, lambda images: F.interpolate(images, scale_factor=2.0, mode="nearest"))


def _pool(x: Tensor) -> Tensor:
    return framewise(x, lambda images: F.avg_pool2d(images, 2))


def _windows_summed(x: Tensor) -> Tensor:
    """The gradient of nearest upsampling."""
    return framewise(x, lambda images: F.avg_pool2d(images, 2, divisor_override=1))


def _spread(low: Tensor) -> Tensor:
    """The gradient of `_pool`."""
    return _upsampled(low * 0.25)


def _merged(high: Tensor, low: Tensor | None) -> Tensor:
    return _pool(high) if low is None else torch.cat((_pool(high), low), 1)


class _Kernel:
    """A dense kernel in a backward pass: its blocks, and their gradients as they come in."""

    def __init__(self, ctx: Any, weight: Tensor, dtype: torch.dtype) -> None:
        self._weight, self._geometry = weight.to(dtype), ctx.geometry
        self._asked = ctx.needs_input_grad[2]
        self.gradient = torch.empty_like(weight) if self._asked else None

    def backward(
        self, gradient: Tensor, x: Tensor, rows: slice, columns: slice, *, wanted: bool = True
    ) -> Tensor:
        """The gradient of `x`, from that of its convolution with one block; the block's is kept."""
        inputs: Tensor
        inputs, block, _ = _convolution_backward(
            gradient,
            x,
            self._weight[rows, columns],
            None,
            *self._geometry,
            False,
            (0,) * (x.dim() - 2),
            1,
            (wanted, self._asked, False),
        )
        if self.gradient is not None:
            self.gradient[rows, columns] = block
        return inputs


def _begun(
    ctx: Any,
    high: Tensor,
    low: Tensor | None,
    weight: Tensor,
    low_out: int,
    geometry: Geometry,
) -> Tensor:
    """Keeps what the backward pass needs; the kernel in the maps' number format."""
    ctx.save_for_backward(high, low, weight)
    ctx.geometry, ctx.low_out = geometry, low_out
    ctx.set_materialize_grads(False)
    return weight.to(high.dtype)


class Keeping(torch.autograd.Function):
    """A layer with stride 1 on a map that has high channels: (high, low, weight) -> (high, low).

    The arguments after them: low output channels, geometry. A branch without channels is None.
    """

    @staticmethod
    def forward(
        ctx: Any,
        high: Tensor,
        low: Tensor | None,
        weight: Tensor,
        low_out: int,
        geometry: Geometry,
    ) -> tuple[Tensor | None, Tensor | None]:
        """The concat form of `octnas.costs.plans`."""
        weight = _begun(ctx, high, low, weight, low_out, geometry)
        cut, within = weight.shape[0] - low_out, high.shape[1]
        out_high = out_low = None
        if cut:
            out_high = _conv(high, weight[:cut, :within], geometry)
            if low is not None:
                _add_upsampled(out_high, _conv(low, weight[:cut, within:], geometry))
        if low_out:
            out_low = _conv(_merged(high, low), weight[cut:], geometry)
        return out_high, out_low

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of high, low and weight."""
        from_high, from_low = gradients
        high, low, weight = ctx.saved_tensors
        kernel = _Kernel(ctx, weight, high.dtype)
        cut, within = weight.shape[0] - ctx.low_out, high.shape[1]
        of_high = of_low = None
        if from_high is not None:
            rows = slice(None, cut)
            of_high = kernel.backward(
                from_high, high, rows, slice(None, within), wanted=ctx.needs_input_grad[0]
            )
            if low is not None:
                of_low = kernel.backward(_windows_summed(from_high), low, rows, slice(within, None))
        elif kernel.gradient is not None:
            kernel.gradient[:cut].zero_()
        if from_low is not None:
            of_merged = kernel.backward(from_low, _merged(high, low), slice(cut, None), slice(None))
            across = of_merged[:, :within]
            of_high = _spread(across) if of_high is None else _add_upsampled(of_high, across, 0.25)
            if low is not None:
                rest = of_merged[:, within:]
                of_low = _copy(rest) if of_low is None else of_low.add_(rest)
        elif kernel.gradient is not None:
            kernel.gradient[cut:].zero_()
        return of_high, of_low, kernel.gradient, None, None


class Halving(torch.autograd.Function):
    """A layer with stride 2 on a map that has high channels: (high, low, weight) -> (high, low).

    As `Keeping`; where there is a low output, H and W are multiples of 4.
    """

    @staticmethod
    def forward(
        ctx: Any,
        high: Tensor,
        low: Tensor | None,
        weight: Tensor,
        low_out: int,
        geometry: Geometry,
    ) -> tuple[Tensor | None, Tensor | None]:
        """The half form of `octnas.costs.plans`."""
        weight = _begun(ctx, high, low, weight, low_out, geometry)
        cut = weight.shape[0] - low_out
        merged = _merged(high, low)
        return (
            _conv(merged, weight[:cut], geometry) if cut else None,
            _conv(_pool(merged), weight[cut:], geometry) if low_out else None,
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of high, low and weight."""
        from_high, from_low = gradients
        high, low, weight = ctx.saved_tensors
        kernel = _Kernel(ctx, weight, high.dtype)
        cut, within = weight.shape[0] - ctx.low_out, high.shape[1]
        merged = _merged(high, low)
        of_merged: Tensor | None = None
        if from_high is not None:
            of_merged = kernel.backward(from_high, merged, slice(None, cut), slice(None))
        elif kernel.gradient is not None:
            kernel.gradient[:cut].zero_()
        if from_low is not None:
            small = kernel.backward(from_low, _pool(merged), slice(cut, None), slice(None))
            of_merged = _spread(small) if of_merged is None else _add_upsampled(of_merged, small, 0.25)
        elif kernel.gradient is not None:
            kernel.gradient[cut:].zero_()
        if of_merged is None:
            return None, None, kernel.gradient, None, None
        of_low = None if low is None else _copy(of_merged[:, within:])
        return _spread(of_merged[:, :within]), of_low, kernel.gradient, None, None


def _copy(part: Tensor) -> Tensor:
    """Some channels of a map as a map of their own, in the layout that convolutions write."""
    last = torch.channels_last if part.dim() == 4 else torch.channels_last_3d
    return part.clone(memory_format=last if part.stride(1) == 1 else torch.contiguous_format)
