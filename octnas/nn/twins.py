"""Modules that share their parameters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["on_same_parameters"]


def on_same_parameters(module: nn.Module) -> nn.Module:
    """A module of the same kind and settings, with all its parts, on the very parameters of `module`.

    It is in training mode and has no hooks. Batch-norm statistics are its own and fresh (mean 0, variance 1),
    other buffers are shared: none of them is written in place.
    """
    twin = type(module).__new__(type(module))
    nn.Module.__init__(twin)
    for name, value in module.__dict__.items():
        if name not in twin.__dict__:
            twin.__dict__[name] = value
    twin._parameters.update(module._parameters)
    twin._buffers.update(module._buffers)
    twin._non_persistent_buffers_set.update(module._non_persistent_buffers_set)
    if isinstance(module, _BatchNorm) and module.running_mean is not None:
        assert module.running_var is not None
        assert module.num_batches_tracked is not None
        twin._buffers["running_mean"] = torch.zeros_like(module.running_mean)
        twin._buffers["running_var"] = torch.ones_like(module.running_var)
        twin._buffers["num_batches_tracked"] = torch.zeros_like(module.num_batches_tracked)
    for name, child in module._modules.items():
        twin._modules[name] = None if child is None else on_same_parameters(child)
    return twin
