"""The memory that a training needs on a GPU, told where there is none: counted in a pass over two images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from octnas.architecture import Architecture
from octnas.nn import build

__all__ = ["PROCESS_BYTES", "kept_bytes", "training_bytes"]

PROCESS_BYTES = 600 * 10**6
"""Of a process that uses a GPU, beside its tensors: its context, its kernels and cuDNN's workspace. A round
figure, not measured here."""
_IMAGES = 2
"""That are passed: batch-norm wants two. What is kept grows with their number, but for the parameters."""
_COPIES = 4
"""Of the parameters in float32: themselves, their gradients, and AdamW's two moments."""


def training_bytes(
    architecture: Architecture,
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    batch: int,
    in_bf16: bool,
) -> int:
    """Bytes of GPU memory that a process needs to train a network.

    Parameters, gradients, the optimiser's state, what is kept for the backward pass, and `PROCESS_BYTES`.

    Args:
        input_shape: (C, H, W), or (C, T, H, W) of clips.
        in_bf16: whether maps are kept in bfloat16, as autocast does on a GPU that has it.
    """
    kept, parameters = kept_bytes(architecture, input_shape=input_shape, num_classes=num_classes, batch=batch)
    return _COPIES * parameters + kept // (2 if in_bf16 else 1) + PROCESS_BYTES


def kept_bytes(
    architecture: Architecture, *, input_shape: tuple[int, ...], num_classes: int, batch: int
) -> tuple[int, int]:
    """Bytes in float32 of what a forward pass keeps for the backward one, and of the parameters.

    Args:
        input_shape: (C, H, W), or (C, T, H, W) of clips, which a 2D network takes frame by frame.
    """
    shape: tuple[int, ...] = (_IMAGES, *input_shape)
    if len(input_shape) == 4 and architecture.dims == 2:
        shape = (_IMAGES * input_shape[1], input_shape[0], *input_shape[2:])
    network = build(architecture, num_classes=num_classes, in_channels=input_shape[0]).train()
    kept = _Kept(network.parameters())
    with torch.autograd.graph.saved_tensors_hooks(kept, _same):
        network(torch.zeros(shape)).sum()
    parameters = sum(each.numel() * each.element_size() for each in network.parameters())
    return kept.bytes * batch // _IMAGES, parameters


def _same(tensor: Tensor) -> Tensor:
    return tensor


class _Kept:
    """Adds up the storages that are kept, each once, without the parameters."""

    def __init__(self, without: Iterable[Tensor]) -> None:
        self._known: dict[int, Any] = {each.untyped_storage()._cdata: each for each in without}
        self.bytes = 0

    def __call__(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            self._known[key] = storage  # held, so that its number is not given to another
            self.bytes += storage.nbytes()
        return tensor
