"""Which convolutions, normalisations and poolings of a user's network can run on two octaves, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from octnas.backbones import Dims
from octnas.trace.symbolic import acts_too, computes_as

__all__ = ["conv_fault", "is_batch_norm", "pool_of"]

_CONVS: dict[Dims, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: dict[Dims, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOLS: dict[Dims, dict[Any, str]] = {
    2: {nn.MaxPool2d: "max", nn.AvgPool2d: "average", F.max_pool2d: "max", F.avg_pool2d: "average"},
    3: {nn.MaxPool3d: "max", nn.AvgPool3d: "average", F.max_pool3d: "max", F.avg_pool3d: "average"},
}
_ARGUMENTS = {
    "max": ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "average": (
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    ),
}


def conv_fault(module: nn.Module, dims: Dims) -> str | None:
    """Why a convolution has to stay plain; None where it can be an octave convolution."""
    assert isinstance(module, _ConvNd)
    if not isinstance(module, _CONVS[dims]) or not computes_as(module, _ConvNd):
        kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
        if isinstance(module, kinds):
            return "a transposed convolution"
        if isinstance(module, _CONVS[dims]):
            return f"{type(module).__name__} is a convolution with code of its own"
        return f"{type(module).__name__} is no convolution over {dims} dimensions"
    kernel, stride, dilation = tuple(module.kernel_size), tuple(module.stride), tuple(module.dilation)
    padding = _padding(module)
    if module.padding_mode != "zeros":
        return f"it pads with padding_mode={module.padding_mode!r}, and not with zeros"
    for what, value in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        if value[-1] != value[-2]:
            return f"its {what} is not square: {_by(value[-2:])}"
    if kernel[-1] % 2 == 0:
        return f"its kernel is even: {_by(kernel[-2:])}"
    if stride[-1] > 2:
        return f"its stride is {stride[-1]}, and not 1 or 2"
    same = tuple(d * (k // 2) for d, k in zip(dilation, kernel, strict=True))
    if padding != same:
        return f"its padding is {_by(padding)}, and not the {_by(same)} that keeps the size"
    if 1 < module.groups == module.in_channels != module.out_channels:
        return "a depthwise convolution with more outputs than inputs"
    return None


def _padding(module: _ConvNd) -> tuple[int, ...]:
    if module.padding == "valid":
        return (0,) * len(module.kernel_size)
    if module.padding == "same":
        return tuple(d * (k // 2) for d, k in zip(module.dilation, module.kernel_size, strict=True))
    return tuple(int(side) for side in module.padding)


def is_batch_norm(module: object, dims: Dims) -> bool:
    """Whether a module is a batch-norm with parameters and running statistics."""
    return (
        isinstance(module, _BatchNorm)
        and isinstance(module, _NORMS[dims])
        and (computes_as(module, _BatchNorm) or acts_too(module))
        and module.affine
        and module.track_running_stats
    )


def pool_of(node: fx.Node, what: Any, dims: Dims) -> tuple[dict[str, Any] | None, str | None]:
    """The fields of a `Pool` that a call is, or why it has to stay plain; two None: it is no pooling."""
    kinds = _POOLS[dims]
    how = kinds.get(type(what) if isinstance(what, nn.Module) else what)
    if how is None:
        return None, None
    names = _ARGUMENTS[how]
    if isinstance(what, nn.Module):
        given = {name: getattr(what, name) for name in names if hasattr(what, name)}
    else:
        given = {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
        given.pop("input", None)
    if any(isinstance(value, fx.Node) for value in given.values()):
        return None, "its window depends on the input"
    kernel = _sides(given["kernel_size"], dims)
    stride = kernel if given.get("stride") in (None, ()) else _sides(given["stride"], dims)
    padding = _sides(given.get("padding", 0), dims)
    for name, value in (("window", kernel), ("stride", stride), ("padding", padding)):
        if value[-1] != value[-2]:
            return None, f"its {name} is not square: {_by(value[-2:])}"
    if given.get("return_indices"):
        return None, "it returns indices"
    if set(_sides(given.get("dilation", 1), dims)) != {1}:
        return None, "its window is dilated"
    if given.get("divisor_override") is not None:
        return None, "it divides by a number of its own"
    return {
        "how": how,
        "kernel": kernel[-1],
        "stride": stride[-1],
        "padding": padding[-1],
        "kernel_time": kernel[0] if dims == 3 else 1,
        "stride_time": stride[0] if dims == 3 else 1,
        "padding_time": padding[0] if dims == 3 else 0,
        "ceil": bool(given.get("ceil_mode", False)),
        "counts_padding": bool(given.get("count_include_pad", True)),
    }, None


def _sides(value: int | Sequence[int], dims: Dims) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * dims
    found = tuple(value)
    return found * dims if len(found) == 1 else found


def _by(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
