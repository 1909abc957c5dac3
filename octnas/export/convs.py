"""A convolution of a deployed network, with bias, sum and activation in its own kernel where that can be.

On a processor PyTorch's convolutions reorder the weights at every call or, with one thread, leave 1x1 and
small maps to slower kernels: of ResNet-50 `conv2d` makes 60 multiply-adds a ns where 120 are possible, and
`conv3d` a third of what is possible for clips. The operations that PyTorch's own compiler calls for frozen
networks take weights that were reordered once, and add and activate before they write. They are used here
when nothing is traced and no gradient is asked for; everywhere else this is the ordinary convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from octnas.backbones import Activation

__all__ = ["DeployedConv", "activated", "can_pack", "channels_last"]

_PACKED_TYPES = (torch.float32, torch.bfloat16)
_UNARY: dict[Activation, tuple[str, list[float]]] = {
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
    "silu": ("swish", []),
    "hardswish": ("hardswish", []),
}
"""An activation as the packed kernels call it."""


def can_pack() -> bool:
    """Whether this PyTorch has the packed convolutions of oneDNN."""
    return (
        bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
        and hasattr(torch._C._nn, "mkldnn_reorder_conv3d_weight")
    )


def activated(x: Tensor, activation: Activation | None) -> Tensor:
    """The activation of a map; the map itself where there is none."""
    match activation:
        case "relu":
            return F.relu(x)
        case "relu6":
            return F.relu6(x)
        case "silu":
            return F.silu(x)
        case "hardswish":
            return F.hardswish(x)
        case None:
            return x


def channels_last(x: Tensor) -> torch.memory_format:
    """The memory format of channels last for a map, or a kernel, of this many dimensions."""
    return torch.channels_last_3d if x.dim() == 5 else torch.channels_last


class DeployedConv(nn.Module):
    """activation(conv(x) + add): (B, C_in, [T,] H, W) -> (B, C_out, [T',] H', W'), for inference.

    Args:
        weight: (C_out, C_in / groups, k, k), or (C_out, C_in / groups, t, k, k), copied; with its bias
            (C_out,) or None.
        padding, stride: one number for each dimension of the kernel; `dilation` likewise, or None for 1.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        padding: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int] | None = None,
        groups: int = 1,
        activation: Activation | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone(memory_format=torch.contiguous_format), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)
        self.padding, self.stride, self.groups = tuple(padding), tuple(stride), groups
        self.dilation = (1,) * len(self.stride) if dilation is None else tuple(dilation)
        self.activation: Activation | None = activation
        self._conv: Callable[..., Tensor] = F.conv2d if weight.dim() == 4 else F.conv3d
        self._packed: tuple[tuple[Any, ...], Tensor] | None = None

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """`add` has the output's shape and belongs to the caller no more: it may be written to."""
        if self._packs(x):
            return self._packed_conv(x, add)
        out = self._conv(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return activated(out if add is None else out + add, self.activation)

    def _packs(self, x: Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and x.dtype in _PACKED_TYPES
            and x.dtype == self.weight.dtype
            and not (x.requires_grad and torch.is_grad_enabled())
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()  # type: ignore[no-untyped-call,attr-defined]
            and bool(torch.backends.mkldnn.enabled)
            and type(x) is Tensor
            # whoever watches the operations (a counter of multiply-adds) shall see ordinary ones
            and torch._C._len_torch_dispatch_stack() == 0
            and can_pack()
        )

    def _packed_conv(self, x: Tensor, add: Tensor | None) -> Tensor:
        options = (self.padding, self.stride, self.dilation, self.groups)
        weight = self._reordered(x, options)
        if add is None:
            unary = ("none", []) if self.activation is None else _UNARY[self.activation]
            out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, self.bias, *options, *unary, "")
            return out
        add = add.contiguous(memory_format=channels_last(add))
        # behind a sum the kernel knows no other activation
        relu = "relu" if self.activation == "relu" else None
        summed: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            add, x, weight, self.bias, *options, "add", 1.0, relu, [], ""
        )
        return summed if relu else activated(summed, self.activation)

    def _reordered(self, x: Tensor, options: tuple[Any, ...]) -> Tensor:
        """The weights as the kernel for maps of this shape reads them; kept for the next call."""
        weight = self.weight
        version = 0 if weight.is_inference() else weight._version  # made in inference mode: not counted
        key = (x.shape, x.dtype, version, weight.data_ptr(), torch.get_num_threads())
        if self._packed is None or self._packed[0] != key:
            of: Any = torch._C._nn
            reorder = (
                of.mkldnn_reorder_conv2d_weight if weight.dim() == 4 else of.mkldnn_reorder_conv3d_weight
            )
            packed: Tensor = reorder(weight.detach().to_mkldnn(), *options, list(x.shape))
            self._packed = key, packed
        return self._packed[1]

    def __getstate__(self) -> dict[str, Any]:
        # Copies and files hold the plain weights: reordered ones belong to one process and one machine.
        return {**self.__dict__, "_packed": None}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, fn: Any, recurse: bool = True) -> DeployedConv:
        self._packed = None
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call,no-any-return]

    def extra_repr(self) -> str:
        out_channels, in_channels, *kernel = self.weight.shape
        return (
            f"{in_channels * self.groups}, {out_channels}, kernel_size={tuple(kernel)}, "
            f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, groups={self.groups}, "
            f"bias={self.bias is not None}, activation={self.activation}"
        )
