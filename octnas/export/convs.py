"""A convolution of a deployed network, with bias, sum and activation in its own kernel where that can be.

On a processor PyTorch's `conv2d` reorders the weights at every call or, with one thread, leaves 1x1 and
small maps to slower kernels: of ResNet-50 it makes 60 multiply-adds a ns where 120 are possible. The
operations that PyTorch's own compiler calls for frozen networks take weights that were reordered once, and
add and activate before they write. They are used here when nothing is traced and no gradient is asked for;
everywhere else this is the ordinary convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DeployedConv2d", "can_pack"]

_PACKED_TYPES = (torch.float32, torch.bfloat16)


def can_pack() -> bool:
    """Whether this PyTorch has the packed convolutions of oneDNN."""
    return (
        bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
    )


class DeployedConv2d(nn.Conv2d):
    """relu(conv2d(x) + add): (B, C_in, H, W) -> (B, C_out, H', W'), for inference.

    Args:
        weight: (C_out, C_in / groups, k, k), copied; with its bias (C_out,) or None.
        relu: whether it ends in a ReLU.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        padding: int,
        stride: int = 1,
        groups: int = 1,
        relu: bool = False,
    ) -> None:
        out_channels, in_channels, *kernel = weight.shape
        super().__init__(
            in_channels * groups,
            out_channels,
            (kernel[0], kernel[1]),
            stride=stride,
            padding=padding,
            groups=groups,
            bias=bias is not None,
            device="meta",
        )
        self.weight = nn.Parameter(weight.clone(memory_format=torch.contiguous_format), requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias.clone(), requires_grad=False)
        self.relu = relu
        self._packed: tuple[tuple[Any, ...], Tensor] | None = None

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """`add` has the output's shape and belongs to the caller no more: it may be written to."""
        if self._packs(x):
            return self._packed_conv(x, add)
        out = self._conv_forward(x, self.weight, self.bias)
        if add is not None:
            out = out + add
        return F.relu(out) if self.relu else out

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
            unary = "relu" if self.relu else "none"
            out: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, weight, self.bias, *options, unary, [], ""
            )
            return out
        add = add.contiguous(memory_format=torch.channels_last)
        summed: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            add, x, weight, self.bias, *options, "add", 1.0, "relu" if self.relu else None, [], ""
        )
        return summed

    def _reordered(self, x: Tensor, options: tuple[Any, ...]) -> Tensor:
        """The weights as the kernel for maps of this shape reads them; kept for the next call."""
        weight = self.weight
        version = 0 if weight.is_inference() else weight._version  # made in inference mode: not counted
        key = (x.shape, x.dtype, version, weight.data_ptr(), torch.get_num_threads())
        if self._packed is None or self._packed[0] != key:
            reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
            packed: Tensor = reorder(weight.detach().to_mkldnn(), *options, list(x.shape))
            self._packed = key, packed
        return self._packed[1]

    def __getstate__(self) -> dict[str, Any]:
        # Copies and files hold the plain weights: reordered ones belong to one process and one machine.
        return {**self.__dict__, "_packed": None}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, fn: Any, recurse: bool = True) -> DeployedConv2d:
        self._packed = None
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call,no-any-return]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, relu={self.relu}"  # type: ignore[no-untyped-call]
